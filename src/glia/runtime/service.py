"""A service in this process: a task and its sessions, request in, answer out."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glia.core.card import Card
from glia.core.errors import GliaError, InputError, StoreError
from glia.core.session import Session, Tensors
from glia.core.task import Request, Task
from glia.core.timing import step
from glia.runtime.batcher import Batcher
from glia.runtime.directory import Resolved
from glia.runtime.plan import Plan, folder
from glia.runtime.sessions import open_session
from glia.store.store import Store

log = logging.getLogger("glia.runtime")
LARGEST_ANSWER_BYTES = 256 << 20
"""Raw outputs that one request may collect over its media: they are all in memory before the first is sent."""


class Service:
    """A task bound to loaded graphs. Safe to call from several threads."""

    def __init__(self, task: Task, card: Card, sessions: Mapping[str, Session]) -> None:
        """`sessions`: role to session, one for each of the task's roles."""
        self.task = task
        self.card = card
        self.sessions = sessions
        self.contract = task.contract(card)
        self._batchers = [session for session in sessions.values() if isinstance(session, Batcher)]

    def predict(self, x: Request) -> Any:
        """The answer; items of a task that yields are dropped."""
        stream = self.stream(x)
        while True:
            try:
                next(stream)
            except StopIteration as end:
                return end.value

    def stream(self, x: Request) -> Generator[Any, None, Any]:
        """Items as they come; the generator returns the answer. Raises GliaError."""
        for batcher in self._batchers:
            batcher.enter()
        try:
            return (yield from self._stream(x))
        finally:
            for batcher in self._batchers:
                batcher.leave()

    def _stream(self, x: Request) -> Generator[Any, None, Any]:
        if not self.task.in_stages:
            return self.predict_batch([x])[0]
        with step("run"):
            answer = self.task.predict(x, self.sessions, self.card)
            if inspect.isgenerator(answer):
                answer = yield from answer
        return answer

    def predict_batch(self, xs: Sequence[Request]) -> list[Any]:
        """One answer each; samples of one shape share a run, so that a batch of n equals n single calls."""
        if self.task.in_stages:
            return [self.predict(x) for x in xs]
        with step("preprocess"):
            samples = [self.task.preprocess(x, self.card) for x in xs]
        groups: dict[tuple[Any, ...], list[int]] = {}
        for index, sample in enumerate(samples):
            groups.setdefault(tuple((name, value.shape) for name, value in sample.items()), []).append(index)
        answers: list[Any] = [None] * len(xs)
        for members in groups.values():
            batch = {name: np.stack([samples[i][name] for i in members]) for name in samples[members[0]]}
            with step("run"):
                outputs = self._run(batch)
            with step("postprocess"):
                for row, index in enumerate(members):
                    own = {name: value[row] for name, value in outputs.items()}
                    answers[index] = self.task.postprocess(own, xs[index], self.card)
        return answers

    def _run(self, batch: Tensors) -> Tensors:
        session = next(iter(self.sessions.values()), None)
        return session.run(batch) if session is not None else batch

    def infer(self, role: str, tensors: Tensors) -> Tensors:
        """Raw tensors through one graph (the first, where the role is empty), past the task. Raises InputError."""
        return self._session(role).run(tensors)

    def infer_media(self, role: str, xs: Iterable[Request]) -> Tensors:
        """Raw outputs of one graph for requests that were preprocessed as the task does, one by one, stacked on axis 0.

        Raises InputError, also where the rows cannot be stacked or are larger than an answer may be.
        """
        session, rows, size = self._session(role), list[Tensors](), 0
        for x in xs:
            with step("preprocess"):
                sample = self.task.preprocess(x, self.card)
            with step("run"):
                rows.append(session.run({name: value[np.newaxis] for name, value in sample.items()}))
            size += sum(value.nbytes for value in rows[-1].values())
            if size > LARGEST_ANSWER_BYTES:
                raise InputError(
                    f"Expected outputs of at most {LARGEST_ANSWER_BYTES >> 20} MB in all; "
                    f"the first {len(rows)} inputs gave more. Send fewer at once."
                )
        outputs: Tensors = {}
        for name in rows[0] if rows else ():
            values = [row[name] for row in rows]
            if len(rows) > 1 and any(value.shape[:1] != (1,) or value.shape != values[0].shape for value in values):
                raise InputError(
                    f"Output {name} has other sizes for other inputs, so that they cannot be stacked. "
                    "Send one at a time."
                )
            outputs[name] = np.concatenate(values) if len(rows) > 1 else values[0]
        return outputs

    def check_outputs(self, role: str, names: Collection[str]) -> None:
        """Whether a graph gives these outputs. Raises InputError."""
        given = [spec.name for spec in self._session(role).outputs]
        for name in names:
            if name not in given:
                raise InputError(f"No output is named {name!r}; there are {', '.join(given)}.")

    def _session(self, role: str) -> Session:
        """The session of a role, or the first one. Raises InputError."""
        role = role or next(iter(self.sessions), "model")
        if role not in self.sessions:
            raise InputError(f"No graph has the role {role!r}; there are {', '.join(self.sessions) or 'none'}.")
        return self.sessions[role]


def load(resolved: Resolved, store: Store, plan: Plan | None = None) -> Service:
    """Verify the stored graphs and load them as `plan` says, else in fp32 with one lane. Raises StoreError."""
    plan = plan or Plan(lanes=1)
    sessions: dict[str, Session] = {}
    cache = folder(store.root, resolved.card) if plan.runtime == "openvino" else None
    for role, path in graph_paths(resolved, store).items():
        made = folder(store.root, resolved.card) / f"int8-{role}.onnx"
        session = open_session(made if plan.precision == "int8" else path, plan, cache)
        sessions[role] = Batcher(session, plan.batch, plan.delay_ms) if plan.batch > 1 else session
    return Service(resolved.task, resolved.card, sessions)


def graph_paths(resolved: Resolved, store: Store) -> dict[str, Path]:
    """Role to verified graph file. Raises StoreError."""
    paths = {}
    for role, model in resolved.models.items():
        stored = store.get(model)
        graphs = stored.card.graphs
        if len(resolved.models) > 1:  # each role from its own model
            graphs = {role: next(iter(graphs.values()))}
        for name, graph in graphs.items():
            paths[name] = stored.path(graph.file)
            if paths[name].suffix != ".onnx":
                raise StoreError(f"{model}: expected an .onnx graph, found {graph.file}.")
    return paths


def example_request(resolved: Resolved, store: Store) -> Request | None:
    """The request on the card of a service's model; None where there is none, or it is over the limits."""
    example = resolved.card.example
    if example is None:
        return None
    contract, folder = resolved.contract, store.get(next(iter(resolved.models.values())), verify=False)
    fields: dict[str, Any] = dict(example.input)
    try:
        for name in contract.media_fields.keys() & fields.keys():
            value = fields[name]
            read = [folder.path(file).read_bytes() for file in (value if isinstance(value, list) else [value])]
            fields[name] = read if isinstance(value, list) else read[0]
        return contract.request(fields)
    except (GliaError, OSError, TypeError) as error:
        log.warning("the example of %s cannot be used: %s", resolved.card.id, error)
        return None
