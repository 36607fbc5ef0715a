"""The guard's pictures ship with the package and are always the same."""

from __future__ import annotations

import hashlib
import json
import socket
from importlib.resources import files
from itertools import islice

import numpy as np
import pytest

from glia.runtime.guard import LEAST_N
from glia.store.guard import VIEWS, guard_photos, guard_pictures


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: object, **named: object) -> None:
        raise AssertionError("the guard's pictures are made without a network")

    monkeypatch.setattr(socket.socket, "connect", refused)


def test_there_are_enough_and_all_differ() -> None:
    pictures = [picture.data for picture in guard_pictures()]
    assert len(pictures) == VIEWS * len(guard_photos()) == 300
    assert len(pictures) >= LEAST_N
    assert len(set(pictures)) == len(pictures)


def test_they_are_the_same_at_every_call_and_made_one_by_one() -> None:
    first, again = (list(islice(guard_pictures(), 25)) for _ in range(2))
    assert first == again
    pixels = first[0].rgb()
    assert pixels.shape[0] == pixels.shape[1] >= 128
    assert np.ptp(pixels) > 100


def test_the_photos_are_those_that_were_looked_at_and_small() -> None:
    folder = files("glia.store") / "guard"
    sheet = json.loads((folder / "guard.json").read_text("utf-8"))
    assert sheet["licence"] == "Apache-2.0"
    assert sheet["commit"] in (folder / "NOTICE").read_text("utf-8")
    kept = {entry.name for entry in folder.iterdir() if entry.name.endswith(".jpg")}
    assert kept == {photo["file"] for photo in sheet["photos"]}
    assert not any("person" in photo["shows"] for photo in sheet["photos"])
    for photo, listed in zip(guard_photos(), sheet["photos"], strict=True):
        assert hashlib.sha256(photo.data).hexdigest() == listed["sha256"]
    assert sum(len(photo.data) for photo in guard_photos()) < 800_000
