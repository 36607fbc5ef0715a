"""The decode path beside Pillow's: core-milliseconds from a JPEG to pixels of at least 256 a side.

Glia decodes scaled by itself; Pillow does so too where `draft` is asked for, and decodes everything where it is not, as
every example of the peers does.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable

import PIL.Image

from benchmarks.run import Run
from glia.data.image import Image

SHORT_SIDE = 256
N = 15


def glia(data: bytes) -> None:
    """As served: header and limits checked, orientation undone."""
    Image(data).rgb(SHORT_SIDE)


def pillow(data: bytes) -> None:
    """Whole."""
    PIL.Image.open(io.BytesIO(data)).convert("RGB")


def pillow_draft(data: bytes) -> None:
    """Scaled in the decoder."""
    picture = PIL.Image.open(io.BytesIO(data))
    picture.draft("RGB", (SHORT_SIDE, SHORT_SIDE))
    picture.convert("RGB")


WAYS: dict[str, Callable[[bytes], None]] = {"glia": glia, "pillow": pillow, "pillow, draft": pillow_draft}


def decoders(run: Run, round: int) -> None:
    """Medians of N, the three ways in turn."""
    for picture, path in run.pictures.items():
        data = path.read_bytes()
        times: dict[str, list[float]] = {name: [] for name in WAYS}
        for _ in range(N):
            for name, way in WAYS.items():
                start = time.thread_time()
                way(data)
                times[name].append((time.thread_time() - start) * 1e3)
        for name, found in times.items():
            run.write(round, "decoder", name, picture=picture, value=sorted(found)[N // 2], unit="core-ms")
