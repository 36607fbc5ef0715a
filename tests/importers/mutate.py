"""Damaged copies of a file: cut short, bytes changed, parts moved."""

from __future__ import annotations

import random
from collections.abc import Iterator


def mutations(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """`count` damaged copies; the same for the same seed."""
    rng = random.Random(seed)
    for number in range(count):
        copy = bytearray(data)
        kind = number % 4
        if kind == 0:
            del copy[rng.randrange(len(copy) + 1) :]
        elif kind == 1:
            for _ in range(rng.randint(1, 8)):
                copy[rng.randrange(len(copy))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif kind == 2:
            start, size = rng.randrange(len(copy)), rng.randint(1, 64)
            copy[start:start] = copy[rng.randrange(len(copy)) :][:size]
        else:
            at = rng.randrange(max(1, len(copy) - 4))
            copy[at : at + 4] = rng.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1, rng.randrange(2**32))).to_bytes(
                4, "little"
            )
        yield bytes(copy)
