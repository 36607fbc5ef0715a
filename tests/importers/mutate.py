"""Damaged copies of a file: cut short, with bytes flipped, taken out, doubled, and put in from elsewhere in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

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


STRANGE = (None, True, -1, 0, 1 << 40, -(1 << 70), 1.5, float("nan"), float("inf"), "", "relu", "x" * 300, [], {}, [[]])


def json_mutations(value: object, count: int, seed: int) -> Iterator[object]:
    """Copies of a JSON value in which some entries are strange ones, are gone, or are others of it."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        copy = json.loads(json.dumps(value))
        for _ in range(int(rng.integers(1, 4))):
            places = list(_places(copy))
            holder, key = places[int(rng.integers(0, len(places)))]
            choice = int(rng.integers(0, 10))
            if choice == 0:
                del holder[key]
            elif choice == 1:
                other, name = places[int(rng.integers(0, len(places)))]
                if name in other or isinstance(other, list):
                    holder[key] = json.loads(json.dumps(other[name]))
            else:
                holder[key] = STRANGE[int(rng.integers(0, len(STRANGE)))]
            if not list(_places(copy)):
                break
        yield copy


def _places(value: object) -> Iterator[tuple[Any, Any]]:
    """Every entry of every list and object in a value: what holds it, and under which key."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield value, key
        yield from _places(inner)
