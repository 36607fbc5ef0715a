"""Weights for the browser: groups of shards, quantised or not, and manifests that lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glia.core.errors import ImportFailed
from glia.importers.web_weights import read_json, read_weights


def shard(folder: Path, name: str, data: bytes) -> dict[str, Path]:
    (folder / name).write_bytes(data)
    return {path.name: path for path in folder.iterdir()}


def group(*weights: dict[str, Any], paths: tuple[str, ...] = ("w",)) -> list[dict[str, Any]]:
    return [{"paths": list(paths), "weights": list(weights)}]


def spec(name: str = "a", shape: object = (2,), dtype: object = "float32", **more: Any) -> dict[str, Any]:
    return {"name": name, "shape": list(shape) if isinstance(shape, tuple) else shape, "dtype": dtype, **more}


def test_weights_lie_one_after_another_across_shards(tmp_path: Path) -> None:
    data = np.array([1, 2, 3], "<f4").tobytes() + np.array([7], "<i4").tobytes()
    shard(tmp_path, "w1", data[:5])
    files = shard(tmp_path, "w2", data[5:])
    found = read_weights(group(spec("a", (3, 1)), spec("b", (), "int32"), paths=("w1", "sub/w2")), files)
    np.testing.assert_array_equal(found["a"], [[1], [2], [3]])
    assert (found["b"].shape, int(found["b"])) == ((), 7)


@pytest.mark.parametrize(
    ("kind", "numbers", "expected"),
    [("uint8", [0, 255], [1, 511]), ("uint16", [0, 1000], [1, 2001]), ("float16", [0.5, -2], [0.5, -2])],
)
def test_quantised_weights_become_floats(
    tmp_path: Path, kind: str, numbers: list[float], expected: list[float]
) -> None:
    files = shard(tmp_path, "w", np.array(numbers, kind).tobytes())
    found = read_weights(group(spec(quantization={"dtype": kind, "scale": 2, "min": 1})), files)
    assert found["a"].dtype == np.float32
    np.testing.assert_array_equal(found["a"], expected)


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (None, "Expected a list"),
        ([3], "Expected an object with `paths`"),
        (group(spec(), paths=("other",)), "were not given"),
        (group(spec(shape=(3,))), "needs 12 bytes, 8 are left"),
        (group(spec(shape=(1,))), "4 bytes of w belong to no weight"),
        (group(spec(shape=(1,)), spec(shape=(1,))), "twice"),
        (group(spec(shape=(-1,))), "cannot be"),
        (group(spec(shape=(1 << 20, 1 << 20, 0))), "cannot be"),
        (group(spec(shape="2")), "Expected a list as a shape"),
        (group(spec(dtype="complex64")), "is of the type"),
        (group(spec(name=3)), "Expected a name"),  # type: ignore[arg-type]
        (group(spec(quantization={"dtype": "uint8", "scale": "x", "min": 0}, shape=(8,))), "Expected a number"),
        (group(spec(quantization=[])), "Expected an object with `dtype`"),
    ],
)
def test_manifests_that_lie_are_refused(tmp_path: Path, manifest: object, words: str) -> None:
    files = shard(tmp_path, "w", bytes(8))
    with pytest.raises(ImportFailed, match=words):
        read_weights(manifest, files)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_json_that_is_none_is_said(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "model.json").write_bytes(text)
    with pytest.raises(ImportFailed, match=r"model.json is no JSON"):
        read_json(tmp_path / "model.json")
