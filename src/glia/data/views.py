"""Views of a photo: many pictures made of one, always the same ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt8

LEAST_SHARE = 0.5
"""Side of the smallest view, as a share of the photo's short side."""

STEPS = (0.7548776662466927, 0.5698402909980532)
"""Strides of the R2 sequence, which spreads any number of points evenly over the unit square.

Source: M. Roberts, "The unreasonable effectiveness of quasirandom sequences" (2018); 1/p and 1/p^2 for p^3 = p + 1.
"""


def views(photo: UInt8[np.ndarray, "h w 3"], count: int) -> Iterator[UInt8[np.ndarray, "side side 3"]]:
    """`count` squares of a photo, the same at every call: the whole first, then ever smaller ones.

    Their side falls evenly from the photo's short side to LEAST_SHARE of it, their places follow a fixed sequence
    that covers the photo, every second one is mirrored. The first is central.
    """
    height, width = photo.shape[:2]
    for index in range(count):
        share = 1 - (1 - LEAST_SHARE) * index / max(1, count - 1)
        side = round(min(height, width) * share)
        left, top = (
            round((length - side) * ((0.5 + index * step) % 1))
            for length, step in zip((width, height), STEPS, strict=True)
        )
        square = photo[top : top + side, left : left + side]
        yield np.ascontiguousarray(square[:, ::-1] if index % 2 else square)
