"""Tuning: measure how a model is best run on this machine, and keep everything that was measured."""

from __future__ import annotations

import datetime
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from glia.core.errors import GliaError, InputError
from glia.core.session import Tensors
from glia.core.settings import Settings
from glia.core.task import Request
from glia.runtime.directory import Resolved
from glia.runtime.guard import LEAST_N, Outputs, before_softmax, judge, outputs_of
from glia.runtime.machine import cores
from glia.runtime.plan import Measured, Plan, Plans, folder, write_plans
from glia.runtime.quantise import quantise
from glia.runtime.service import Service, graph_paths, load
from glia.runtime.sessions import has_openvino, open_session
from glia.store.disk import locked, replace_file
from glia.store.store import Store

ROUNDS = 3
SLICE_S = 0.5
"""How long one plan is measured in one round [s]; rounds are interleaved, since a machine's speed drifts."""
CLOSE = 0.85
"""Formats at least this fast, as a share of the fastest, are also tried with other lanes, threads and batches."""
BATCH = 8
BATCH_DELAY_MS = 3.0

Progress = Callable[[int, int, str], None]
"""Steps done, steps in all, what is being done."""


@dataclass(frozen=True)
class Subject:
    """What tuning works with: the request that is measured, and samples on which candidates are compared."""

    request: Request
    words: str
    guard: Sequence[Request] = ()
    calibration: Sequence[Request] = ()


def tune(resolved: Resolved, subject: Subject, settings: Settings, progress: Progress) -> Plans:
    """Measure, and keep what was found; the next start of a replica uses it.

    Candidates in another precision, or on another runtime, than ONNX Runtime's fp32 must pass the guard first; without
    LEAST_N samples to compare on, only fp32 is tried. Takes seconds of all cores. Raises GliaError.
    """
    bench = _Bench(resolved, subject, Store(settings.home))
    formats = list(_formats())
    bench.total = len(formats) + 1 + ROUNDS * (len(formats) + 4)
    bench.progress = progress
    with tempfile.TemporaryDirectory(prefix="glia-tune-") as temporary:
        entries = bench.judged(formats, Path(temporary))
    entries = bench.measured(entries)
    plans = Plans(
        made=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        subject=f"{subject.words}; guard on {len(subject.guard)}",
        measured=tuple(sorted(entries, key=lambda one: -(one.per_second or 0.0))),
    )
    place = folder(settings.home, resolved.card)
    place.mkdir(parents=True, exist_ok=True)
    with locked(place / "lock"):
        write_plans(settings.home, resolved.card, plans)
    return plans


def _formats() -> Iterator[Plan]:
    """Runtime, device and precision of everything that can be tried here; the reference first."""
    from glia.runtime.onnx_session import has_cuda

    yield Plan(lanes=cores())
    if has_cuda():
        yield Plan(device="cuda", lanes=cores())
    if has_openvino():
        from glia.runtime.openvino_session import cpu_precisions

        for precision in cpu_precisions():
            yield Plan.model_validate({"runtime": "openvino", "precision": precision, "lanes": cores()})


class _Bench:
    """One tuning under way."""

    def __init__(self, resolved: Resolved, subject: Subject, store: Store) -> None:
        self.resolved, self.subject, self.store = resolved, subject, store
        self.done = 0
        self.total = 1
        self.progress: Progress = lambda done, total, words: None

    def say(self, words: str) -> None:
        """One more step begins."""
        self.progress(min(self.done, self.total), self.total, words)
        self.done += 1

    # -- the guard ---------------------------------------------------------------------------------------------------

    def judged(self, formats: Sequence[Plan], temporary: Path) -> list[Measured]:
        """Each format with the guard's verdict; those that must be compared and cannot be are not passed."""
        samples = self.samples()
        reference: Outputs | None = None
        graph = temporary / "graph.onnx"
        if len(samples) >= LEAST_N:
            (path,) = graph_paths(self.resolved, self.store).values()
            onnx.save(before_softmax(onnx.load(path)), graph)
            self.say("the answers in fp32")
            reference = self.outputs(graph, formats[0], samples)
        entries = [Measured(plan=formats[0], verdict="the reference")]
        for plan in formats[1:]:
            self.say(f"guard: {plan.runtime} {plan.provider}")
            entries.append(self.entry(plan, graph, samples, reference))
        if reference is not None and len(self.subject.calibration) >= LEAST_N:
            entries += self.in_8_bits(temporary, samples, reference)
        return entries

    def in_8_bits(self, temporary: Path, samples: Sequence[Tensors], reference: Outputs) -> list[Measured]:
        """An int8 graph made from the calibration pictures and judged on the guard's; kept where it passes."""
        ((role, path),) = graph_paths(self.resolved, self.store).items()
        made, cut = temporary / "int8.onnx", temporary / "int8-cut.onnx"
        plans = [Plan(precision="int8", lanes=cores())]
        if has_openvino():
            plans.append(plans[0].model_copy(update={"runtime": "openvino"}))
        self.say("int8: calibrating, takes minutes")
        task, card = self.resolved.task, self.resolved.card
        try:
            calibration = [task.preprocess(request, card) for request in self.subject.calibration]
            quantise(path, calibration, made, bool(card.labels), lambda words: self.say(f"int8: {words}"))
        except InputError as error:
            return [Measured(plan=plans[0], verdict=error.message, passed=False)]
        onnx.save(before_softmax(onnx.load(made)), cut)
        entries = []
        for plan in plans:
            self.say(f"guard: {plan.runtime} {plan.provider}")
            entries.append(self.entry(plan, cut, samples, reference))
        if any(one.passed for one in entries):
            place = folder(self.store.root, card)
            place.mkdir(parents=True, exist_ok=True)
            replace_file(place / f"int8-{role}.onnx", made.read_bytes())
        return entries

    def entry(self, plan: Plan, graph: Path, samples: Sequence[Tensors], reference: Outputs | None) -> Measured:
        """One format with its verdict."""
        if reference is None:
            exact = plan.precision == "fp32"
            words = f"not compared: {len(samples)} samples, {LEAST_N} needed"
            return Measured(plan=plan, verdict=words, passed=exact)
        try:
            verdict = judge(reference, self.outputs(graph, plan, samples), classes=bool(self.resolved.card.labels))
        except GliaError as error:
            return Measured(plan=plan, verdict=error.message, passed=False)
        return Measured(plan=plan, verdict=verdict.reason, passed=verdict.passed)

    def samples(self) -> list[Tensors]:
        """The guard's requests, preprocessed; none for a task in stages or of several graphs, which has no samples."""
        task, card = self.resolved.task, self.resolved.card
        if task.in_stages or len(card.graphs) != 1:
            return []
        self.say("the guard's samples")
        return [task.preprocess(request, card) for request in self.subject.guard]

    def outputs(self, graph: Path, plan: Plan, samples: Sequence[Tensors]) -> Outputs:
        """What a candidate answers, on all cores."""
        return outputs_of(open_session(graph, plan.model_copy(update={"lanes": 1, "threads": cores()})), samples)

    # -- speed -------------------------------------------------------------------------------------------------------

    def measured(self, entries: list[Measured]) -> list[Measured]:
        """The entries with their speed; those near the best also with other lanes, threads and batches."""
        first = [self.speed(one) for one in entries if one.passed]
        best = max((one.per_second or 0.0 for one in first), default=0.0)
        near = [one for one in first if (one.per_second or 0.0) >= CLOSE * best]
        more = [
            Measured(plan=plan, verdict=one.verdict) for one in near for plan in _variations(one.plan) if one.passed
        ]
        self.total = self.done + ROUNDS * (len(near) + len(more))
        speeds: dict[str, list[Measured]] = {}
        for _ in range(ROUNDS):
            for one in [*near, *more]:
                found = self.speed(one)
                speeds.setdefault(found.plan.name, []).append(found)
        settled = [_median(runs) for runs in speeds.values()]
        known = {one.plan.name for one in settled}
        return [
            *settled,
            *(one for one in first if one.plan.name not in known),
            *(one for one in entries if not one.passed),
        ]

    def speed(self, one: Measured) -> Measured:
        """Requests a second with every lane busy, and the time of one alone."""
        self.say(f"speed: {one.plan.name}")
        try:
            service = load(self.resolved, self.store, one.plan)
            service.predict(self.subject.request)
            alone = [_seconds(service, self.subject.request) for _ in range(3)]
            rate = _rate(service, self.subject.request, one.plan.lanes or cores())
        except GliaError as error:
            return one.model_copy(update={"verdict": error.message, "passed": False})
        return one.model_copy(update={"per_second": rate, "latency_ms": statistics.median(alone) * 1e3})


def _variations(plan: Plan) -> list[Plan]:
    """The same format with other lanes, threads and batches."""
    count = cores()
    shapes = [
        (count + -(-count // 2), 1),
        (2 * count, 1),
    ]  # a lane that waits for a runtime's thread leaves a core idle
    while count > 1:
        count = (count + 1) // 2
        shapes.append((count, -(-cores() // count)))
    found = [plan.model_copy(update={"lanes": lanes, "threads": threads}) for lanes, threads in shapes]
    batch = {"lanes": BATCH + cores(), "batch": BATCH, "delay_ms": BATCH_DELAY_MS}
    return [*found, plan.model_copy(update=batch)]


def _seconds(service: Service, request: Request) -> float:
    start = time.perf_counter()
    service.predict(request)
    return time.perf_counter() - start


def _rate(service: Service, request: Request, lanes: int) -> float:
    """Requests a second from `lanes` threads at once, the first tenth not counted."""
    counts = [0] * lanes
    begin = time.perf_counter() + SLICE_S / 10
    end = begin + SLICE_S
    failures: list[BaseException] = []

    def lane(number: int) -> None:
        try:
            while (now := time.perf_counter()) < end:
                service.predict(request)
                counts[number] += now >= begin
        except Exception as error:  # noqa: BLE001  carried to the caller's thread
            failures.append(error)

    threads = [threading.Thread(target=lane, args=(number,)) for number in range(lanes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return sum(counts) / (time.perf_counter() - begin)


def _median(runs: Sequence[Measured]) -> Measured:
    """The run of the median speed; one that failed once has failed."""
    failed = next((one for one in runs if not one.passed), None)
    if failed is not None:
        return failed
    return sorted(runs, key=lambda one: one.per_second or 0.0)[len(runs) // 2]
