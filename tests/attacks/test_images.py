"""Whatever the bytes, the answer is a picture or a refusal of the 4xx kind, soon and in bounded memory."""

import importlib.util
import json
import resource
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from glia.core.errors import DamagedMedia, GliaError, InputError, MediaTooLarge, UnsupportedMedia
from glia.data.image import Image


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


drawn = _load("images")
HOSTILE: dict[str, bytes] = drawn.hostile_images()
VALID: dict[str, bytes] = drawn.valid_images()


def answer(data: bytes) -> np.ndarray | InputError:
    """The upright pixels, or the refusal; anything else fails the test."""
    try:
        image = Image(data)
        size = image.size()
        pixels = image.rgb()
        assert pixels.shape == (size[1], size[0], 3)
        del pixels
        return image.rgb(short_side=64)
    except GliaError as error:
        refusal = error
    assert isinstance(refusal, InputError)
    assert 400 <= refusal.status < 500
    assert "Expected" in refusal.message
    assert "received" in refusal.message
    return refusal


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_gives_a_picture_or_a_refusal_within_four_seconds(name: str) -> None:
    start = time.perf_counter()
    found = answer(HOSTILE[name])
    assert time.perf_counter() - start < 4
    if name.startswith("cut:"):
        assert isinstance(found, DamagedMedia | UnsupportedMedia)
    if name.startswith("other:"):
        assert isinstance(found, UnsupportedMedia)


def test_the_hostile_files_together_stay_within_a_gigabyte() -> None:
    """The largest honest picture within the limits takes 64 megapixels x (decoder's 4 + ours 3) bytes."""
    for data in HOSTILE.values():
        answer(data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 < 1_100


def test_files_that_promise_too_much_are_refused_without_decoding() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    refused = [name for name, data in HOSTILE.items() if isinstance(_size_or_error(data), MediaTooLarge)]
    assert len(refused) >= 15
    assert time.perf_counter() - start < 2
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 50


def _size_or_error(data: bytes) -> tuple[int, int] | GliaError:
    try:
        return Image(data).size()
    except GliaError as error:
        return error


@seed(20)
@settings(max_examples=600, deadline=None, database=None)
@given(name=st.sampled_from(sorted(VALID)), draw=st.data())
def test_bytes_changed_at_random_never_escape_as_another_error(name: str, draw: st.DataObject) -> None:
    data = bytearray(VALID[name])
    head = st.integers(0, min(len(data), 160) - 1) | st.integers(0, len(data) - 1)
    changes: list[tuple[int, int]] = draw.draw(st.lists(st.tuples(head, st.integers(0, 255)), min_size=1, max_size=8))
    for at, new in changes:
        data[at] = new
    cut = draw.draw(st.none() | st.integers(0, len(data)))
    answer(bytes(data[:cut]))


@seed(21)
@settings(max_examples=300, deadline=None, database=None)
@given(start=st.sampled_from([data[:n] for data in VALID.values() for n in (4, 12, 32)]), rest=st.binary(max_size=200))
def test_a_true_beginning_with_any_end_never_escapes_as_another_error(start: bytes, rest: bytes) -> None:
    answer(start + rest)


EDGES = Path(__file__).parents[3] / "shared" / "data" / "media-edge-cases"


def _edge_cases() -> list[dict[str, Any]]:
    manifest = EDGES / "manifest.json"
    cases = json.loads(manifest.read_text()) if manifest.exists() else []
    return [case for case in cases if not case["file"].startswith("audio/")]


@pytest.mark.skipif(not EDGES.exists(), reason="the shared edge cases are not beside this checkout")
@pytest.mark.parametrize("case", _edge_cases(), ids=lambda case: case["file"])
def test_a_collected_edge_case_behaves_as_its_manifest_says(case: dict[str, Any]) -> None:
    found = answer((EDGES / case["file"]).read_bytes())
    expect = case["expect"]
    if case["file"].endswith((".ico", ".tga", ".pbm")) or expect == "unsupported":
        assert isinstance(found, UnsupportedMedia)
    elif expect == "decode":
        assert isinstance(found, np.ndarray)
    elif expect == "refuse":
        assert isinstance(found, MediaTooLarge)
    elif expect in ("error", "error-or-empty"):
        assert isinstance(found, InputError)


@pytest.mark.skipif(not EDGES.exists(), reason="the shared edge cases are not beside this checkout")
@pytest.mark.parametrize(("shape", "size"), [("Landscape", (450, 300)), ("Portrait", (300, 450))])
@pytest.mark.parametrize("orientation", range(9))
def test_photos_of_every_orientation_look_like_the_upright_one(
    shape: str, size: tuple[int, int], orientation: int
) -> None:
    image = Image((EDGES / "exif" / f"{shape}_{orientation}.jpg").read_bytes())
    upright = Image((EDGES / "exif" / f"{shape}_1.jpg").read_bytes())
    assert image.size() == size
    # The numeral in the picture's middle says the orientation: the rest is the same photo, saved anew.
    difference = np.abs(image.rgb().astype(int) - upright.rgb()).mean()
    assert difference < 12
