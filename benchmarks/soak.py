"""The soak: half an hour of changing load on a server that cannot hold all its models; does its memory grow?

    python -m benchmarks.soak [--minutes 30] [--memory 1200]

Four models under a budget that three of them fill once they have seen large pictures; two at a time are asked for, in
turn, so that the least recently used is evicted now and then. Clients ask with pictures of 100 to 4000 px in three
formats, not as fast as they could; some leave in the middle of a request; batches come; models are bound and unbound,
loaded and unloaded. Every 2 s each process of the server is weighed. What has to hold stands in `soak_verdict`; the
exit status is 1 where it does not. Writes results/soak.csv (one row a process and sample), soak-answers.csv, soak.svg.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarks import report
from benchmarks.process import Tree, free_port, get, weigh
from benchmarks.rows import append
from benchmarks.run import HERE, NETWORKS, copies, home_of, say
from benchmarks.scenarios import wait_for_health
from benchmarks.soak_clients import Answers, Asker, Batcher, Leaver, pictures
from benchmarks.soak_operator import Operator
from benchmarks.soak_verdict import Answered, Sample, verdict
from benchmarks.systems import ROOT, tool
from glia.store.store import Store

EVERY_S = 2.0
SMALL, LARGE = NETWORKS
COPIES = ("soak-a", "soak-b", "soak-c")


class Sampler:
    """Weighs every process of a server."""

    def __init__(self, tree: Tree, answers: Answers, csv: Path) -> None:
        self.tree, self.answers, self.csv = tree, answers, csv
        self.samples: list[Sample] = []
        self.answered: list[Answered] = []
        self._born: dict[int, float] = {}
        self._begun = time.monotonic()

    def run(self, until: float) -> None:
        """Every two seconds."""
        while time.monotonic() < until:
            self.sample()
            time.sleep(EVERY_S)

    def sample(self) -> None:
        """One row a process, one with the answers so far."""
        now = time.monotonic() - self._begun
        held = {replica["pid"]: str(replica["replica"]) for replica in get(self.tree.port, "/info")["replicas"]}
        for pid in self.tree.pids():
            rss, pss = weigh(pid)
            name = "front" if pid == self.tree.process.pid else held.get(pid, "starting or stopping")
            age = now - self._born.setdefault(pid, now)
            self._keep(Sample(round(now, 1), pid, name, round(age, 1), round(rss, 2), round(pss, 2)))
        counts = self.answers.counts()
        self.answered.append(Answered(round(now, 1), counts["ok"], counts["busy"], counts["failed"], counts["left"]))
        append(self.csv.with_name("soak-answers.csv"), self.answered[-1])

    def _keep(self, sample: Sample) -> None:
        self.samples.append(sample)
        append(self.csv, sample)


def make_home(into: Path) -> Path:
    """Three copies of the small network and one of the large; all answer the service objects."""
    copies(home_of(SMALL), SMALL, list(COPIES), into)
    large = home_of(LARGE)
    stored = Store(large).get(LARGE)
    files = {str(file.relative_to(stored.folder)): file for file in stored.folder.rglob("*") if file.is_file()}
    files.pop("card.json")
    Store(into).put(stored.card, files)
    return into


def soak(minutes: float, memory_mb: int, csv: Path, home: Path) -> tuple[Sampler, Answers]:
    """Run the server, its clients and its operator for so long."""
    for file in (csv, csv.with_name("soak-answers.csv")):
        file.unlink(missing_ok=True)
    port = free_port()
    command = [sys.executable, "-m", "glia", "serve", "--port", str(port), "--memory", str(memory_mb)]
    environ = {**os.environ, "GLIA_HOME": str(home)}
    files = pictures(HERE / ".work/soak")
    with Tree(command, environ, port, HERE / ".work/soak.log") as tree:
        wait_for_health(tree)
        until = time.monotonic() + minutes * 60
        answers, draw = Answers(), random.Random(1)
        operator = Operator(tree, home, list(COPIES), LARGE, answers, random.Random(2))
        workers = [Asker(tree, operator, files, answers, random.Random(10 + number)) for number in range(3)]
        workers += [Batcher(tree, operator, files, answers, draw), Leaver(tree, operator, files, answers, draw)]
        sampler = Sampler(tree, answers, csv)
        threads = [threading.Thread(target=each.run, args=(until,)) for each in (*workers, operator, sampler)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return sampler, answers


def main() -> int:
    """The exit status: 0 where everything holds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--memory", type=int, default=1200, help="budget of all replicas [MB]")
    parser.add_argument("--csv", type=Path, default=HERE / "results/soak.csv")
    given = parser.parse_args()
    report.make_plotter()
    with tempfile.TemporaryDirectory() as folder:
        sampler, answers = soak(given.minutes, given.memory, given.csv, make_home(Path(folder) / "home"))
    found = verdict(sampler.samples, sampler.answered)
    for line in [*answers.told(), *found.lines]:
        say(line)
    python = Path(tool("plot", "python"))
    if python.exists():
        command = [str(python), "-m", "benchmarks.soak_plot", str(given.csv), str(given.csv.with_suffix(".svg"))]
        subprocess.run(command, cwd=ROOT, check=True)
    say("the soak passed" if found.passed else "the soak FAILED")
    return 0 if found.passed else 1


if __name__ == "__main__":
    sys.exit(main())
