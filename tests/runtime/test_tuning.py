"""Tuning: what answers differently is out, the fastest that is left wins, and the table is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from glia.core.card import Card
from glia.core.errors import StoreError
from glia.core.session import Session, Tensors
from glia.core.settings import Settings
from glia.runtime import tuning
from glia.runtime.directory import Directory, Resolved
from glia.runtime.plan import Plan, Plans, plan_for, read_plans
from glia.runtime.service import Service
from glia.runtime.sessions import open_session
from glia.runtime.tuning import Subject, tune
from house import picture

FORMATS = (Plan(lanes=2), Plan(runtime="openvino", precision="bf16", lanes=2), Plan(precision="int8", lanes=2))


class Wrong:
    """A session that answers a little, or quite, differently: as a bad quantisation does."""

    def __init__(self, session: Session, error: float) -> None:
        self._session, self._error = session, error
        self.inputs, self.outputs = session.inputs, session.outputs

    def run(self, tensors: Mapping[str, np.ndarray]) -> Tensors:
        found = self._session.run(tensors)
        return {name: (value + self._error * value[..., ::-1]).astype(np.float32) for name, value in found.items()}

    def facts(self) -> dict[str, Any]:
        return self._session.facts()


@pytest.fixture
def errors(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """How far each precision is off; every format runs on ONNX Runtime, quickly."""
    off = {"fp32": 0.0, "bf16": 0.0, "int8": 0.0}

    def open_as_told(path: Any, plan: Plan, cache: Any = None) -> Session:
        if off[plan.precision] == float("inf"):
            raise StoreError("no such precision here")
        return Wrong(open_session(path, Plan()), off[plan.precision])

    monkeypatch.setattr(tuning, "open_session", open_as_told)
    monkeypatch.setattr(tuning, "_formats", lambda: iter(FORMATS))
    monkeypatch.setattr(tuning, "SLICE_S", 0.02)
    monkeypatch.setattr(tuning, "load", lambda resolved, store, plan: Speed(resolved, plan))
    return off


class Speed(Service):
    """Stands for a loaded service: bf16 answers at once, the rest takes longer."""

    def __init__(self, resolved: Resolved, plan: Plan) -> None:
        super().__init__(resolved.task, resolved.card, {})
        self.rounds = {"fp32": 20_000, "bf16": 100, "int8": 10}[plan.precision] * (3 if plan.lanes != 2 else 1)

    def predict(self, request: Any) -> None:
        sum(range(self.rounds))


def measured(settings: Settings, pictures: int = 256) -> tuple[Plans, Card]:
    """Tune the colours on pictures of many shades."""
    resolved = Directory(settings).resolve("objects")
    shades = np.random.default_rng(1).integers(0, 255, (pictures, 3))
    guard = [resolved.contract.request({"image": picture(tuple(map(int, shade)), (8, 8))}) for shade in shades]
    said: list[tuple[int, int]] = []
    plans = tune(resolved, Subject(guard[0], "a shade", guard), settings, lambda done, of, _: said.append((done, of)))
    assert all(done <= of for done, of in said)
    assert [done for done, _ in said] == sorted(done for done, _ in said)
    return plans, resolved.card


def by_precision(plans: Plans) -> dict[str, bool]:
    return {one.plan.precision: one.passed for one in plans.measured}


def test_a_broken_int8_candidate_is_rejected_though_it_is_the_fastest(
    settings: Settings, colours: Card, errors: dict[str, float]
) -> None:
    errors["int8"] = 0.6
    plans, card = measured(settings)
    assert by_precision(plans) == {"fp32": True, "bf16": True, "int8": False}
    (rejected,) = (one for one in plans.measured if not one.passed)
    assert "change their top-1" in rejected.verdict or "cosine" in rejected.verdict
    assert rejected.per_second is None
    best = plans.best()
    assert best is not None
    assert best.plan.precision == "bf16"
    assert best.per_second == max(one.per_second or 0 for one in plans.measured)
    assert plan_for(card, Settings({**settings, "lanes": 0})) == best.plan
    assert read_plans(settings.home, card) == plans


def test_small_differences_pass(settings: Settings, colours: Card, errors: dict[str, float]) -> None:
    errors["bf16"], errors["int8"] = 1e-3, 1e-4
    assert by_precision(measured(settings)[0]) == {"fp32": True, "bf16": True, "int8": True}


def test_without_enough_pictures_only_fp32_is_tried(
    settings: Settings, colours: Card, errors: dict[str, float]
) -> None:
    plans, _ = measured(settings, pictures=255)
    assert by_precision(plans) == {"fp32": True, "bf16": False, "int8": False}
    assert any("255 samples, 256 needed" in one.verdict for one in plans.measured)


def test_what_cannot_be_loaded_is_out_and_the_rest_goes_on(
    settings: Settings, colours: Card, errors: dict[str, float]
) -> None:
    errors["bf16"] = float("inf")
    plans, _ = measured(settings)
    assert by_precision(plans) == {"fp32": True, "bf16": False, "int8": True}


def test_other_lanes_and_batches_are_tried_for_what_is_near_the_best(
    settings: Settings, colours: Card, errors: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "CLOSE", 0.0)
    monkeypatch.setattr(tuning, "cores", lambda: 4)
    plans, _ = measured(settings)
    shapes = {(one.plan.lanes, one.plan.threads, one.plan.batch) for one in plans.measured}
    assert {(2, 1, 1), (6, 1, 1), (2, 2, 1), (1, 4, 1), (12, 1, 8)} <= shapes
