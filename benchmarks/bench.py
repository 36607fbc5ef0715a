"""The benchmark: interleaved rounds over every system, then Glia's scenarios, then the report.

    python -m benchmarks.bench [--quick] [--only rounds|scenarios] [--rounds N] [--seconds S] [--systems NAME,...]

Every round visits every system, in an order that is rotated by one system a round and turned round every second one;
one server is up at a time. A system whose best answer is not what the picture shows is not timed.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import report, scenarios, venvs
from benchmarks.limit import Loops
from benchmarks.load import closed, opened
from benchmarks.process import NotReady, Tree, free_port, post
from benchmarks.rows import append, machine, measured
from benchmarks.run import DETAILED, HERE, NETWORKS, SHOWS, SMOOTH, Run, say
from benchmarks.systems import FASTAPI, FP32, GLIA, SYSTEMS, TWIN, TWIN_FP32, VENVS, System

KEPT = HERE / "results/bench.csv"
"""The rows that are committed, and of which the README's table is made."""
QUICK = (GLIA, TWIN, FASTAPI)
BROAD = {"glia", "glia-fp32", "twin", "twin-fp32", "fastapi", "litserve", "bentoml"}
"""Systems that are measured with every network; the others with the first alone."""
DEEP = {"glia", "glia-fp32", "twin", "fastapi", "litserve", "bentoml"}
"""Systems that are measured at other concurrencies and in the open loop too."""
SLOW_TO_START = {"mlserver", "ray"}
"""Systems that are visited in every second round only."""
OPEN_SHARE = 0.7
"""Open loop: requests arrive at this share of the machine's limit, measured just before."""


class Wrong(Exception):
    """A system whose answer is not what the picture shows."""


class Visit:
    """One system with one network in one round."""

    def __init__(self, run: Run, round: int, system: System, network: str, loops: Loops) -> None:
        self.run, self.round, self.system, self.network, self.loops = run, round, system, network, loops
        self.path = system.path.format(network=network)

    def write(self, kind: str, **more: Any) -> None:
        """A row of this visit."""
        self.run.write(self.round, kind, self.system.name, network=self.network, **more)

    def go(self) -> None:
        """Start, check, measure, stop; what goes wrong becomes a row."""
        system, port = self.system, free_port()
        work = self.run.work(system, self.network)
        log = self.run.folder / f"{system.name}.log"
        try:
            with Tree(system.command(port, work), system.environment(work), port, log) as tree:
                self.start(tree)
                for picture in (DETAILED, SMOOTH):
                    self.check(port, picture)
                    self.closed(port, picture, 16, self.run.seconds, with_limit=True)
                if system.name in DEEP and self.network == self.run.networks[0]:
                    self.deep(port)
                self.weigh(tree, "loaded")
        except (NotReady, Wrong) as error:
            say(f"  {system.name} is not measured: {error}")
            self.write("refused", note=str(error)[:300])

    def start(self, tree: Tree) -> None:
        """To the first answer, then a second of load that is not counted."""
        body = self.run.body(self.system.form, DETAILED)
        seconds, answer = tree.until_answered(self.path, body.kind, body.data)
        self.agree(answer, DETAILED)
        self.write("start", picture=DETAILED, value=seconds, unit="s", note="warm disk cache")
        self.weigh(tree, "after the first answer")
        closed(tree.port, [self.path], body.kind, body.file, 16, 1)

    def weigh(self, tree: Tree, state: str) -> None:
        """Three rows: RSS, PSS and the number of processes."""
        memory = tree.memory()
        for kind, value, unit in (
            ("rss", memory.rss, "MB"),
            ("pss", memory.pss, "MB"),
            ("processes", memory.processes, ""),
        ):
            self.write(kind, value=value, unit=unit, note=state)

    def check(self, port: int, picture: str) -> None:
        """Ask once. Raises Wrong."""
        body = self.run.body(self.system.form, picture)
        status, answer = post(port, self.path, body.kind, body.data)
        if status != 200:
            raise Wrong(f"status {status} for {picture}")
        self.agree(json.loads(answer), picture)

    def agree(self, answer: Any, picture: str) -> None:
        """Compare the best label with what the picture shows. Raises Wrong."""
        best = self.system.answer(answer)[0]["label"]
        if best != SHOWS[picture]:
            raise Wrong(f"answered {best!r} for {picture}, expected {SHOWS[picture]!r}")

    def limit(self, picture: str, seconds: float) -> float:
        """Measure the machine's limit here and now; its requests/s."""
        found = self.loops.measure(self.run.pictures[picture], seconds)
        shared = {"network": self.network, "picture": picture, "seconds": seconds, "note": self.system.name}
        self.run.write(self.round, "limit", "limit", rps=found.rps, **shared)
        self.run.write(self.round, "decode", "limit", value=found.decode_ms, unit="core-ms", **shared)
        self.run.write(self.round, "run", "limit", value=found.run_ms, unit="core-ms", **shared)
        return found.rps

    def closed(self, port: int, picture: str, clients: int, seconds: float, with_limit: bool = False) -> None:
        """A closed loop, with the limit measured just before."""
        if with_limit:
            self.limit(picture, 1)
        body = self.run.body(self.system.form, picture)
        load = closed(port, [self.path], body.kind, body.file, clients, seconds)
        self.write("closed", picture=picture, clients=clients, **measured(load))
        say(f"  {self.system.name} {picture} c{clients}: {load.rps:.1f}/s p99 {load.p99_ms:.0f} ms")

    def deep(self, port: int) -> None:
        """One client, 64 clients, and the open loop; a second shorter."""
        seconds = max(1, self.run.seconds - 1)
        self.closed(port, DETAILED, 1, seconds)
        self.closed(port, DETAILED, 64, seconds)
        rate = self.limit(DETAILED, 1) * OPEN_SHARE
        body = self.run.body(self.system.form, DETAILED)
        load = opened(port, self.path, body.kind, body.file, rate, seconds)
        self.write("open", picture=DETAILED, rate=rate, **measured(load))


def rounds(run: Run, systems: list[System], count: int) -> None:
    """Every system, `count` times."""
    for round in range(1, count + 1):
        for network in run.networks:
            here = [s for s in systems if s.name in BROAD or network == run.networks[0]]
            here = [s for s in here if round % 2 or s.name not in SLOW_TO_START]
            here = [s for s in here if s not in (FP32, TWIN_FP32) or run.choices[network] != run.fp32[network]]
            turn = (round - 1) % len(here)
            order = here[turn:] + here[:turn]
            say(f"round {round} of {count}: {network}")
            with ExitStack() as stack:
                chosen = stack.enter_context(Loops(run.work(GLIA, network)))
                plain = stack.enter_context(Loops(run.work(FP32, network))) if FP32 in here else chosen
                for system in order if round % 2 else order[::-1]:
                    Visit(run, round, system, network, plain if system in (FP32, TWIN_FP32) else chosen).go()


def present(systems: tuple[System, ...]) -> list[System]:
    """Those whose environment can be made here."""
    wrong = {venv: venvs.make(venv) for venv in {system.venv for system in systems if system.venv}}
    for words in filter(None, wrong.values()):
        say(words)
    return [system for system in systems if not wrong.get(system.venv)]


def sizes(run: Run, systems: list[System]) -> None:
    """Disk that each environment takes, its pip included; Glia's is made for this, without what tests need."""
    for venv in dict.fromkeys(system.venv or "glia" for system in systems):
        words = venvs.make(venv)
        if words:
            say(words)
        else:
            run.write(0, "install", venv, value=venvs.installed_mb(VENVS / venv), unit="MB")


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 1 s: Glia, the twin, FastAPI; one network")
    parser.add_argument("--only", choices=("rounds", "scenarios"))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=int, help="of one measurement")
    parser.add_argument("--systems", default="", help="names, by comma")
    parser.add_argument("--csv", type=Path)
    given = parser.parse_args()
    given.rounds = given.rounds or (2 if given.quick else 5)
    given.seconds = given.seconds or (1 if given.quick else 3)
    given.csv = given.csv or (KEPT.with_name("quick.csv") if given.quick else KEPT)
    return given


def main() -> None:
    """Everything."""
    given = arguments()
    chosen = QUICK if given.quick else SYSTEMS
    if given.systems:
        chosen = tuple(system for system in SYSTEMS if system.name in given.systems.split(","))
    systems = present(chosen)
    report.make_plotter()
    run = Run(given.csv, given.seconds, NETWORKS[:1] if given.quick else NETWORKS, not given.quick)
    told = [f"{network}: {choice}" for network, choice in run.choices.items()]
    facts = machine(told, given.seconds, given.rounds, versions_of(systems))
    run.id, run.date = facts.run, facts.date
    append(runs_file(given.csv), facts)
    say(f"run {run.id}; Glia chose {'; '.join(told)}")
    sizes(run, systems)
    if given.only != "scenarios":
        rounds(run, systems, given.rounds)
    if given.only != "rounds":
        scenarios.all_of_them(run, repeats=2 if given.quick else 3, has_twin=TWIN in systems)
    report.write(given.csv, readme=given.csv == KEPT)


def runs_file(csv: Path) -> Path:
    """Beside the rows: one row a run."""
    return csv.with_name(csv.stem + "-runs.csv")


def versions_of(systems: list[System]) -> list[str]:
    """The packages that matter, of each environment."""
    named = ("fastapi", "uvicorn", "litserve", "bentoml", "mlserver", "ray", "onnxruntime", "openvino", "pillow")
    named += ("simplejpeg", "numpy", "starlette", "glia")
    pythons = {system.venv or "glia": str(VENVS / system.venv / "bin/python") for system in systems if system.venv}
    told = []
    for name, python in {"glia": sys.executable, **pythons}.items():
        found = venvs.versions(python)
        told.append(f"{name}: " + " ".join(f"{package} {found[package]}" for package in named if package in found))
    return told


if __name__ == "__main__":
    main()
