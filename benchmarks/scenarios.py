"""What only Glia is asked: many models, sizes of pictures, batches beside clients, crowds, starts, memory."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.decode import decoders
from benchmarks.limit import Loops
from benchmarks.load import closed
from benchmarks.process import NotReady, Tree, ask, free_port, post
from benchmarks.rows import measured
from benchmarks.run import DETAILED, Run, copies, say
from benchmarks.systems import FP32, GLIA, TWIN, System, form_of

SIZES = ("small-10kB", "medium-100kB", "large-1000kB")
MODELS = (1, 2, 4, 8)
BATCH, FOLDER = 100, 300
"""Pictures of one batch by HTTP; of one folder for the shell, whose start counts."""
CROWD = 200


def all_of_them(run: Run, repeats: int, has_twin: bool) -> None:
    """One after the other, each `repeats` times."""
    for round in range(1, repeats + 1):
        say(f"scenarios {round} of {repeats}")
        for scenario in (decoders, starts, empty, unloading, crowd, many_models, batches):
            _tried(scenario, run, round)
        for system in (GLIA, FP32, *((TWIN,) if has_twin else ())):
            _tried(lambda run, round, system=system: sizes(run, round, system), run, round)


def _tried(scenario: Callable[[Run, int], None], run: Run, round: int) -> None:
    try:
        scenario(run, round)
    except NotReady as error:
        say(f"  not measured: {error}")
        run.write(round, "refused", "glia", note=str(error)[:300])


@contextmanager
def serving(run: Run, system: System, home: Path | None = None) -> Iterator[tuple[Tree, str]]:
    """A system with the first network, after its first answer, warmed for a second; and its path."""
    network = run.networks[0]
    work, port = run.work(system, network), free_port()
    if home:
        work = replace(work, home=home)
    path, body = system.path.format(network=network), run.body(system.form, DETAILED)
    with Tree(system.command(port, work), system.environment(work), port, run.folder / "scenario.log") as tree:
        tree.until_answered(path, body.kind, body.data)
        closed(port, [path], body.kind, body.file, 16, 1)
        yield tree, path


def weigh(run: Run, round: int, tree: Tree, state: str) -> None:
    """RSS, PSS, processes."""
    memory = tree.memory()
    run.write(round, "rss", "glia", value=memory.rss, unit="MB", note=state)
    run.write(round, "pss", "glia", value=memory.pss, unit="MB", note=state)
    run.write(round, "processes", "glia", value=memory.processes, note=state)


def starts(run: Run, round: int) -> None:
    """From the command to the first answer, with the disk cache warm, then dropped where that is allowed."""
    network = run.networks[0]
    body = run.body("raw", DETAILED)
    for state in ("warm disk cache", "cold disk cache"):
        if state.startswith("cold") and not (run.cold and drop_disk_cache()):
            say("  the disk cache is not dropped: no cold start")
            return
        work, port = run.work(GLIA, network), free_port()
        with Tree(GLIA.command(port, work), GLIA.environment(work), port, run.folder / "scenario.log") as tree:
            seconds, _ = tree.until_answered(GLIA.path.format(network=network), body.kind, body.data)
        run.write(round, "start", "glia", network=network, value=seconds, unit="s", note=state)


def drop_disk_cache() -> bool:
    """Let the kernel forget every file it holds in memory; whether it may be asked to."""
    subprocess.run(["sync"], check=False)
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3\n")
    except OSError:
        return False
    return True


def empty(run: Run, round: int) -> None:
    """A server with nothing to load."""
    home, port = run.folder / "empty", free_port()
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    work = replace(run.work(GLIA, run.networks[0]), home=home)
    with Tree(GLIA.command(port, work), GLIA.environment(work), port, run.folder / "scenario.log") as tree:
        wait_for_health(tree)
        time.sleep(1)
        weigh(run, round, tree, "nothing loaded")


def wait_for_health(tree: Tree) -> None:
    """Until GET /health is 200. Raises NotReady."""
    for _ in range(3000):
        try:
            if ask("GET", tree.port, "/health", "", b"", 5)[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.01)
    raise NotReady("no answer from /health within 30 s")


def unloading(run: Run, round: int) -> None:
    """Memory before a load, loaded and used, and after the unload."""
    network = run.networks[0]
    with serving(run, GLIA) as (tree, path):
        if not repository(tree, network, "unload"):
            raise NotReady("no route to unload a model")
        time.sleep(1)
        before = tree.memory()
        weigh(run, round, tree, "before load")
        repository(tree, network, "load")
        body = run.body("raw", DETAILED)
        closed(tree.port, [path], body.kind, body.file, 16, run.seconds)
        weigh(run, round, tree, "loaded, used")
        repository(tree, network, "unload")
        time.sleep(1)
        weigh(run, round, tree, "after unload")
        kept = tree.memory().rss - before.rss
        run.write(round, "unload", "glia", network=network, value=kept, unit="MB", note="RSS after less before")


def repository(tree: Tree, model: str, verb: str) -> bool:
    """Load or unload a model; whether the server knows how."""
    status, _ = post(tree.port, f"/v2/repository/models/{model}/{verb}", "application/json", b"{}", 60)
    return status == 200


def crowd(run: Run, round: int) -> None:
    """Many clients at once: which answers they get."""
    with serving(run, GLIA) as (tree, path):
        body = run.body("raw", DETAILED)
        load = closed(tree.port, [path], body.kind, body.file, CROWD, run.seconds + 2)
        note = " ".join(f"{status}:{count}" for status, count in sorted(load.statuses.items())) + f" none:{load.broken}"
        run.write(round, "crowd", "glia", picture=DETAILED, clients=CROWD, note=note, **measured(load))


def many_models(run: Run, round: int) -> None:
    """The same network under 1, 2, 4, 8 names, asked in turn."""
    network = run.networks[0]
    body = run.body("raw", DETAILED)
    for count in MODELS:
        names = [network, *(f"copy-{number}" for number in range(1, count))]
        home = copies(run.homes[network], network, names, run.folder / "copies")
        with serving(run, GLIA, home) as (tree, _):
            paths = [GLIA.path.format(network=name) for name in names]
            for path in paths:
                tree.until_answered(path, body.kind, body.data)
            load = closed(tree.port, paths, body.kind, body.file, 16, run.seconds)
            note = "1 model" if count == 1 else f"{count} models"
            run.write(round, "models", "glia", picture=DETAILED, clients=16, note=note, **measured(load))
            weigh(run, round, tree, note)


def sizes(run: Run, round: int, system: System) -> None:
    """How cost grows with the picture; the limit beside each."""
    network = run.networks[0]
    if system is FP32 and run.choices[network] == run.fp32[network]:
        return
    with Loops(run.work(system, network)) as loops, serving(run, system) as (tree, path):
        for picture in SIZES:
            body = run.body(system.form, picture)
            limit = loops.measure(run.pictures[picture], 1)
            shared: dict[str, Any] = {"network": network, "picture": picture}
            run.write(round, "size-limit", "limit", rps=limit.rps, note=system.name, **shared)
            load = closed(tree.port, [path], body.kind, body.file, 16, run.seconds)
            run.write(round, "size", system.name, clients=16, **shared, **measured(load))


def batches(run: Run, round: int) -> None:
    """Interactive latency alone and beside a batch, and the batch alone and beside clients; two kinds of batch."""
    body = run.body("raw", DETAILED)
    folder = run.folder / "batch"
    folder.mkdir(exist_ok=True)
    for number in range(FOLDER):
        (folder / f"{number}.jpg").write_bytes(body.data)
    with serving(run, GLIA) as (tree, path):
        for clients in (1, 4):
            for kind, job in (("none", None), ("route", _route), ("shell", _shell)):
                with background(run, tree, path, job) as done:
                    load = closed(tree.port, [path], body.kind, body.file, clients, run.seconds)
                run.write(round, "beside", "glia", clients=clients, note=f"batch: {kind}", **measured(load))
                _write_batch(run, round, done, f"{kind}, beside {clients} clients")
        for kind, job in (("route", _route), ("shell", _shell)):
            with background(run, tree, path, job) as done:
                time.sleep(run.seconds)
            _write_batch(run, round, done, f"{kind}, alone")


def _write_batch(run: Run, round: int, done: list[float], note: str) -> None:
    if done:
        run.write(round, "batch", "glia", rps=statistics.median(done), unit="pictures/s", note=note)


Job = Callable[[Run, Tree, str], float]


@contextmanager
def background(run: Run, tree: Tree, path: str, job: Job | None) -> Iterator[list[float]]:
    """Batches one after the other while the block runs, and to the end of the last; pictures a second of each."""
    done: list[float] = []
    over = threading.Event()

    def work() -> None:
        while job and not over.is_set():
            done.append(job(run, tree, path))

    worker = threading.Thread(target=work)
    worker.start()
    time.sleep(0.5 if job else 0)
    try:
        yield done
    finally:
        over.set()
        worker.join()


def _route(run: Run, tree: Tree, path: str) -> float:
    """One batch by HTTP; pictures a second."""
    files = [file.read_bytes() for file in sorted((run.folder / "batch").iterdir())[:BATCH]]
    kind, body = form_of(files, "image")
    start = time.perf_counter()
    status, answer = post(tree.port, f"{path}/batch", kind, body, 120)
    if status != 200:
        say(f"  batch: {status} {answer[:200]!r}")
        return 0.0
    return len(files) / (time.perf_counter() - start)


def _shell(run: Run, tree: Tree, path: str) -> float:
    """One `glia predict NAME folder/ --json`, its start included; pictures a second."""
    network = run.networks[0]
    work = run.work(GLIA, network)
    command = [sys.executable, "-m", "glia", "predict", network, str(run.folder / "batch"), "--json"]
    start = time.perf_counter()
    done = subprocess.run(command, env=GLIA.environment(work), capture_output=True, check=False)
    return done.stdout.count(b"\n") / (time.perf_counter() - start)
