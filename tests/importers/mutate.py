"""Damaged copies of a file: cut short, with bytes flipped, taken out, doubled, and put in from elsewhere in it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def mutations(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """`count` damaged copies, the same ones for the same seed."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        copy = bytearray(data)
        if number % 5 == 0:
            del copy[int(rng.integers(0, len(copy))) :]
        for _ in range(int(rng.integers(1, 5))):
            if not copy:
                break
            at, size = int(rng.integers(0, len(copy))), int(rng.integers(1, 9))
            kind = int(rng.integers(0, 5))
            if kind == 0:
                copy[at] ^= 1 << int(rng.integers(0, 8))
            elif kind == 1:
                copy[at : at + size] = rng.bytes(size)
            elif kind == 2:
                del copy[at : at + size]
            elif kind == 3:
                other = int(rng.integers(0, len(copy)))
                copy[at:at] = copy[other : other + size]
            else:
                copy[at : at + size] = b"\xff" * size
        yield bytes(copy)
