"""Parity: the proof that an imported graph gives the numbers of the original."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped

from glia.core.errors import ImportFailed

Arrays = Mapping[str, Shaped[np.ndarray, "..."]]
Run = Callable[[Arrays], Arrays]


@dataclass(frozen=True)
class Parity:
    """How far the graph was from the `oracle` over so many probes, and how far it might have been.

    `max_abs` is the largest difference, `max_rel` the largest one relative to the largest value of its output.
    """

    oracle: str
    probes: int = 0
    max_abs: float | None = None
    max_rel: float | None = None
    tolerance: float | None = None


NO_ORACLE = Parity("none")


def compare(run_a: Run, run_b: Run, probes: Sequence[Arrays], tolerance: float, oracle: str) -> Parity:
    """Run the original (`run_a`) and the graph (`run_b`) on every probe.

    A difference may be `tolerance` times the largest value of the output, or `tolerance` where all values are below 1.
    Raises ImportFailed where one is larger, and where names, shapes or finiteness of the outputs differ.
    """
    if not probes:
        raise ImportFailed(f"Expected at least one probe to compare with {oracle}, received none.")
    max_abs = max_rel = 0.0
    for number, probe in enumerate(probes):
        expected, received = run_a(probe), run_b(probe)
        if set(expected) != set(received):
            raise ImportFailed(f"{oracle} gives the outputs {sorted(expected)}, the graph {sorted(received)}.")
        for name in expected:
            a, b = np.asarray(expected[name], np.float64), np.asarray(received[name], np.float64)
            if a.shape != b.shape:
                raise ImportFailed(f"{name}: {oracle} gives the shape {list(a.shape)}, the graph {list(b.shape)}.")
            if not (np.isfinite(a).all() and np.isfinite(b).all()):
                raise ImportFailed(
                    f"{name}: infinities or NaN on probe {number}. The weights or the graph are damaged."
                )
            difference = float(np.abs(a - b).max(initial=0.0))
            scale = float(np.abs(a).max(initial=0.0))
            if difference > tolerance * max(1.0, scale):
                raise ImportFailed(
                    f"{name}: the graph is {difference:.3g} off {oracle} on probe {number} (values up to {scale:.3g}); "
                    f"expected at most {tolerance:g}. Report the file: this is a fault of the importer."
                )
            max_abs = max(max_abs, difference)
            max_rel = max(max_rel, difference / scale if scale else 0.0)
    return Parity(oracle, len(probes), max_abs, max_rel, tolerance)
