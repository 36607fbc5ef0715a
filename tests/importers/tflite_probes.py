"""Seeded inputs for published networks: pictures that are smooth, as photographs are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np


def published(shared: Path) -> Iterator[tuple[str, Path]]:
    """Name and file of each published network."""
    for folder in ("interop/tflite", "weights"):
        for path in sorted((shared / folder).glob("*/*.tflite")):
            yield f"{path.parent.name}--{path.stem}", path


def pictured(shapes: list[tuple[tuple[int, ...], str]], name: str, number: int = 0) -> list[np.ndarray]:
    """Inputs of these shapes and types: coarse squares of random colours with a little noise, over the whole range."""
    rng = np.random.default_rng([number, *name.encode()])
    found = []
    for shape, kind in shapes:
        values = rng.random(shape)
        if len(shape) == 4:
            coarse = rng.random((shape[0], 5, 5, shape[3]))
            rows, columns = (np.arange(size) * 5 // size for size in shape[1:3])
            values = 0.8 * coarse[:, rows][:, :, columns] + 0.2 * values
        if kind == "uint8":
            found.append((values * 255).astype(np.uint8))
        elif kind == "int8":
            found.append((values * 255 - 128).astype(np.int64).astype(np.int8))
        else:
            found.append(np.asarray(values * 2 - 1).astype(kind))
    return found
