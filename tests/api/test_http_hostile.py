"""Every hostile picture over HTTP: an answer or a clean refusal, and the same replica goes on answering."""

from __future__ import annotations

import base64
import importlib.util
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from house import picture


def _hostile() -> dict[str, bytes]:
    place = Path(__file__).parent.parent / "attacks" / "images.py"
    spec = importlib.util.spec_from_file_location("hostile_images", place)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, bytes] = module.hostile_images()
    return found


HOSTILE = _hostile()
OBJECTS = "/v1/services/objects"
GOOD = picture((0, 255, 0))


def replica_of(http: TestClient, model: str) -> int:
    rows = http.get("/info").json()["replicas"]
    return next(int(row["pid"]) for row in rows if model in row["replica"])


def check(answer: Any, name: str) -> None:
    if answer.status_code == 200:
        assert not name.startswith(("cut:", "other:"))
        assert [set(row) for row in answer.json()] == [{"label", "score"}] * 3
        return
    assert answer.status_code in (413, 415, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] in (
        "body-too-large",
        "media-too-large",
        "unsupported-media",
        "damaged-media",
        "invalid-input",
    )
    assert problem["detail"].startswith("Expected")
    assert len(problem["detail"]) < 400


@pytest.fixture(scope="module")
def pid(http: TestClient) -> int:
    assert http.post(OBJECTS, content=GOOD).json()[0]["label"] == "green"
    return replica_of(http, "colours@1")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_picture_costs_its_sender_an_answer_and_nobody_else(http: TestClient, pid: int, name: str) -> None:
    check(http.post(OBJECTS, content=HOSTILE[name]), name)
    assert http.post(OBJECTS, content=GOOD).json()[0]["label"] == "green"
    assert replica_of(http, "colours@1") == pid


def test_hostile_pictures_in_one_batch_have_each_their_own_refusal(http: TestClient, pid: int) -> None:
    some = {name: data for name, data in HOSTILE.items() if data and len(data) < 20_000 and not name.startswith("cut:")}
    answers = http.post(f"{OBJECTS}/batch", files=[("image", data) for data in [*some.values(), GOOD]]).json()
    assert len(answers) == len(some) + 1
    assert answers[-1][0]["label"] == "green"
    for name, answer in zip(some, answers, strict=False):
        assert isinstance(answer, list) or answer["status"] in (413, 415, 422), name
    assert replica_of(http, "colours@1") == pid


@pytest.mark.parametrize("name", ["other: SVG", "other: HTML", "lie: PNG header of 200,000 x 200,000"])
def test_base64_is_no_way_around(http: TestClient, pid: int, name: str) -> None:
    check(http.post(OBJECTS, json={"inputs": base64.b64encode(HOSTILE[name]).decode()}), name)
    check(http.post(OBJECTS, files={"file": ("photo.jpg", HOSTILE[name], "image/jpeg")}), name)
