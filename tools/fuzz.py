"""Feed importers with damaged copies of real networks for as long as asked; only clean errors may come out.

    python tools/fuzz.py [--minutes 10] [--seed 0] [FORMAT ...]

Each format's smallest networks are damaged, one file at a time, and read in a process of its own that may take 2 GB and
5 s a network. What ends it, hangs, or raises anything but ImportFailed is kept in build/fuzz/, with the words.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]

from foreign.case import Case, all_cases  # noqa: E402
from glia.core.errors import ImportFailed  # noqa: E402
from glia.importers.sniff import importers  # noqa: E402
from importers.mutate import mutations  # noqa: E402

KEPT = ROOT / "build/fuzz"
MOST_BYTES, MOST_S, LARGEST, NETWORKS = 2 << 30, 5, 5 << 20, 12


def smallest(format: str) -> list[Case]:
    """The smallest networks of a format that are imported."""

    def size(case: Case) -> int:
        return sum(path.stat().st_size for path in case.files.values())

    found = [case for case in all_cases() if case.format == format and not case.refused and size(case) <= LARGEST]
    return sorted(found, key=size)[:NETWORKS]


def damaged(case: Case, seed: int) -> Iterator[tuple[str, bytes]]:
    """Damaged copies of one of its files, for ever."""
    chosen = random.Random(seed)
    while True:
        key = chosen.choice(sorted(case.files))
        yield key, next(mutations(case.files[key].read_bytes(), 1 + chosen.randrange(8), chosen.randrange(1 << 30)))


def read_one(format: str, files: Mapping[str, Path], options: Mapping[str, object]) -> str:
    """Read a network with every limit; what is wrong with how it went, or nothing."""
    signal.setitimer(signal.ITIMER_REAL, MOST_S)
    try:
        importers()[format].read(files, dict(options))
    except ImportFailed:
        pass
    except BaseException:  # noqa: BLE001  this is what is looked for
        return traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return ""


def work(pipe: Connection, format: str) -> None:
    """Read what the parent lays down, and answer."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES * 2, MOST_BYTES * 2))  # libraries map much that they never use
    signal.signal(signal.SIGALRM, _too_long)
    while True:
        files, options = pipe.recv()
        pipe.send(read_one(format, files, options))


def _too_long(*_: object) -> None:
    raise TimeoutError(f"longer than {MOST_S} s")


class Worker:
    """A process that reads; a new one after each that ended."""

    def __init__(self, format: str) -> None:
        self.format = format
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs, self.format), daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, files: Mapping[str, Path], options: Mapping[str, object]) -> str:
        """What went wrong with these files, or nothing."""
        self.pipe.send((files, options))
        if not self.pipe.poll(MOST_S * 6):  # deaf to its alarm: inside a library
            self.process.kill()
            self._start()
            return f"hangs for more than {MOST_S * 6} s"
        try:
            words: str = self.pipe.recv()
        except EOFError:
            self.process.join()
            code = self.process.exitcode
            self._start()
            return f"the process ended with {code}"
        return words


def fuzz(format: str, minutes: float, seed: int) -> tuple[int, int]:
    """How many networks were read, and how many of them went wrong."""
    cases, worker, count, wrong = smallest(format), Worker(format), 0, 0
    streams = [damaged(case, seed + place) for place, case in enumerate(cases)]
    end = time.monotonic() + minutes * 60
    while cases and time.monotonic() < end:
        place = count % len(cases)
        key, data = next(streams[place])
        with tempfile.TemporaryDirectory() as folder:
            changed = Path(folder) / cases[place].files[key].name
            changed.write_bytes(data)
            words = worker.ask({**cases[place].files, key: changed}, cases[place].options)
            count += 1
            if words:
                wrong += 1
                keep = KEPT / f"{format}-{seed}-{count}"
                keep.mkdir(parents=True, exist_ok=True)
                shutil.copy(changed, keep / changed.name)
                (keep / "words.txt").write_text(f"{cases[place].name} {key}\n{words}")
                sys.stdout.write(f"{format}: {cases[place].name}: {words.strip().splitlines()[-1]}\n")
    worker.process.kill()
    return count, wrong


def main() -> int:
    """By arguments; the exit status says whether anything went wrong."""
    parser = argparse.ArgumentParser(prog="python tools/fuzz.py")
    parser.add_argument("formats", nargs="*")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    there = defaultdict(int)
    for case in all_cases():
        there[case.format] += 1
    failed = 0
    for format in given.formats or sorted(there):
        count, wrong = fuzz(format, given.minutes, given.seed)
        failed += wrong
        sys.stdout.write(f"{format}: {count} damaged networks in {given.minutes:g} minutes, {wrong} went wrong\n")
        sys.stdout.flush()
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
