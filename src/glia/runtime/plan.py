"""The plan: with which runtime, precision, lanes, threads and batch a model is run on this machine.

    GLIA_HOME/tuning/GRAPH/MACHINE/plans.json     every plan that was measured, with its figures and the guard's verdict
    GLIA_HOME/tuning/GRAPH/MACHINE/int8-ROLE.onnx a graph that tuning made

GRAPH is the sha256 of the graph (of all of them, where a service runs several), MACHINE what `machine_id` says. A plan
of another machine, or of other libraries, is never used. Nothing here loads a runtime.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from glia.core.card import Card
from glia.core.settings import Settings
from glia.runtime.machine import cores, machine_id
from glia.store.disk import replace_file

FILE = "plans.json"


class Plan(BaseModel):
    """How to run a model. The default needs no measuring: ONNX Runtime in fp32, a lane a core, no batches."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    runtime: Literal["onnxruntime", "openvino"] = "onnxruntime"
    device: Literal["cpu", "cuda"] = "cpu"
    precision: Literal["fp32", "bf16", "fp16", "int8"] = "fp32"
    lanes: int = 0
    """Requests worked on at once; 0: one per core."""
    threads: int = 1
    """Cores that one run uses; 0: all."""
    batch: int = 1
    """Most rows of different requests that share a run; 1: off."""
    delay_ms: float = 0.0
    """How long a row may wait for others [ms]."""

    @property
    def provider(self) -> str:
        """Where and how it runs: cpu-fp32, cpu-bf16, cuda-fp32 ..."""
        return f"{self.device}-{self.precision}"

    @property
    def name(self) -> str:
        """In words, as the table of `glia tune` shows it."""
        batch = f", batch {self.batch}" if self.batch > 1 else ""
        return f"{self.runtime} {self.provider}, {self.lanes or cores()} lanes x {self.threads} threads{batch}"


class Measured(BaseModel):
    """A plan with what was measured of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    plan: Plan
    per_second: float | None = None
    """Answers a second with every lane busy, decode to postprocess. None: the guard or an error came first."""
    latency_ms: float | None = None
    """Median of a request alone [ms]."""
    verdict: str = ""
    """What the guard said, in words."""
    passed: bool = True


class Plans(BaseModel):
    """Everything that one tuning measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    made: str = ""
    subject: str = ""
    """What the requests of the measurement were."""
    measured: tuple[Measured, ...] = ()

    def best(self, *, fp32: bool = False) -> Measured | None:
        """The fastest that the guard let pass; among those in fp32 alone, if asked."""
        fitting = [
            one
            for one in self.measured
            if one.passed and one.per_second is not None and (not fp32 or one.plan.precision == "fp32")
        ]
        return max(fitting, key=lambda one: one.per_second or 0.0, default=None)


def folder(home: Path, card: Card) -> Path:
    """Where the plans for a card's graphs lie on this machine."""
    return _folder_of_all_machines(home, card) / machine_id()


def _folder_of_all_machines(home: Path, card: Card) -> Path:
    hashes = sorted(graph.sha256 for graph in card.graphs.values())
    key = hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
    return home / "tuning" / key


def forget_plans(home: Path, deleted: Card, remaining: Iterable[Card]) -> None:
    """Remove what was measured of a deleted model, unless one that remains has the same graphs."""
    place = _folder_of_all_machines(home, deleted)
    if deleted.graphs and all(_folder_of_all_machines(home, card) != place for card in remaining if card.graphs):
        shutil.rmtree(place, ignore_errors=True)


def read_plans(home: Path, card: Card) -> Plans | None:
    """What was measured of these graphs on this machine; None where nothing was, or the file cannot be read."""
    if not card.graphs:
        return None
    try:
        return Plans.model_validate_json((folder(home, card) / FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def write_plans(home: Path, card: Card, plans: Plans) -> None:
    """Keep what was measured, in place of what was there."""
    place = folder(home, card)
    place.mkdir(parents=True, exist_ok=True)
    replace_file(place / FILE, plans.model_dump_json(indent=1).encode())


def plan_for(card: Card, settings: Settings) -> Plan:
    """The plan that a card's graphs are run with: the best measured one that the settings allow, else the default."""
    plans = read_plans(settings.home, card)
    best = plans.best(fp32=settings["precision"] == "fp32") if plans else None
    plan = best.plan if best else Plan()
    lanes = settings["lanes"] or plan.lanes or cores()
    return plan.model_copy(update={"lanes": lanes})
