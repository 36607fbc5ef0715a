"""The machine's limit for one network and picture: as many processes as cores, each decoding, resizing and running.

No HTTP, no queue, no copies: what a server could reach at most that does the same work in the same way. The processes
are started once and wait without using the machine, so that the limit can be measured beside every other figure.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.systems import CORES, ROOT, Work


@dataclass(frozen=True)
class Limit:
    """Pictures a second of the whole machine, and what one costs a core."""

    rps: float
    decode_ms: float
    """Decode, crop, resize, normalise."""
    run_ms: float


class Loops:
    """The waiting processes of one network."""

    def __init__(self, work: Work) -> None:
        """Start and load them."""
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        environ = {**os.environ, "BENCH_SPEC": str(work.spec), "PYTHONPATH": path}
        command = [sys.executable, "-m", "benchmarks.limit"]
        pipe = subprocess.PIPE
        self._loops = [subprocess.Popen(command, env=environ, stdin=pipe, stdout=pipe, text=True) for _ in range(CORES)]

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        """End them."""
        for loop in self._loops:
            loop.stdin.close()  # type: ignore[union-attr]
            loop.wait(10)

    def measure(self, picture: Path, seconds: float) -> Limit:
        """All of them at once."""
        for loop in self._loops:
            print(f"{seconds} {picture}", file=loop.stdin, flush=True)
        found = [json.loads(loop.stdout.readline()) for loop in self._loops]  # type: ignore[union-attr]
        count = sum(each["count"] for each in found)
        return Limit(
            rps=sum(each["count"] / each["seconds"] for each in found),
            decode_ms=sum(each["decode_s"] for each in found) / count * 1e3,
            run_ms=sum(each["run_s"] for each in found) / count * 1e3,
        )


def loop() -> None:
    """One process: a line `SECONDS PICTURE` in, a line of JSON out, until the input ends."""
    from benchmarks.peers import fast

    network = fast.Network(1, 1)
    for line in sys.stdin:
        wanted, _, name = line.strip().partition(" ")
        data = Path(name).read_bytes()
        network.run(fast.planes(data))
        count, decode_s, run_s = 0, 0.0, 0.0
        begun = time.perf_counter()
        while (start := time.perf_counter()) < begun + float(wanted):
            sample = fast.planes(data)
            decoded = time.perf_counter()
            network.run(sample)
            decode_s += decoded - start
            run_s += time.perf_counter() - decoded
            count += 1
        found = {"count": count, "seconds": start - begun, "decode_s": decode_s, "run_s": run_s}
        print(json.dumps(found), flush=True)  # noqa: T201


if __name__ == "__main__":
    loop()
