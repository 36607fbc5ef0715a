"""A replica: the process that holds one model, or the models of one service, and does decode to postprocess.

Started as `python -P -m glia.serve.replica FD`. Ends when its socket does: a front that was killed leaves none behind.
"""

from __future__ import annotations

import faulthandler
import itertools
import logging
import os
import queue
import signal
import socket
import sys
import threading
from dataclasses import asdict
from typing import Any

from glia.core.errors import GliaError, StoreError
from glia.core.log import start_log
from glia.core.parts import join, split
from glia.core.session import Session
from glia.core.settings import Settings
from glia.core.task import Request
from glia.core.timing import step, take_rows, timed
from glia.data.limits import apply_limits
from glia.runtime.directory import Directory, Resolved
from glia.runtime.plan import Plan
from glia.runtime.service import Service, example_request, load
from glia.serve.arrays import unpack, wanted
from glia.serve.frames import Frame, receive_frame, send_frame
from glia.serve.memory import give_back_free_memory, keep_large_buffers_apart, restart_peak
from glia.serve.tensors import describe, described
from glia.store.store import Store

log = logging.getLogger("glia.replica")

IDLE_S = 2.0
"""A lane without work for so long lets the process give free memory back to the system."""


class Replica:
    """Reads frames on the main thread, works on them in lanes."""

    def __init__(self, sock: socket.socket) -> None:
        """`sock`: one end of the front's socketpair."""
        self._sock = sock
        self._sending = threading.Lock()
        self._waiting: queue.SimpleQueue[Frame] = queue.SimpleQueue()
        self._canceled: dict[int, threading.Event] = {}
        """A flag for each request that waits or executes: whether its caller has left."""
        self._service: Service | None = None

    def serve(self) -> None:
        """Until the front is gone."""
        while True:
            try:
                frame = receive_frame(self._sock)
            except (EOFError, OSError):
                return
            if frame.kind == "load":
                self._load(frame)
            elif frame.kind == "cancel":
                flag = self._canceled.get(frame.id)
                if flag is not None:
                    flag.set()
            else:
                self._canceled[frame.id] = threading.Event()
                self._waiting.put(frame)

    def _load(self, frame: Frame) -> None:
        try:
            settings = Settings(frame.body["settings"], environ={})
            start_log(settings["log_level"], settings["log_format"])
            apply_limits(settings)
            directory = Directory(settings)
            resolved = directory.resolve_models(frame.body["service"], frame.body["models"])
            plan = Plan(**frame.body["plan"])
            self._service = load_as_planned(resolved, directory.store, plan)
            example = example_request(resolved, directory.store)
        except Exception as error:  # noqa: BLE001  the worker's edge: the front must hear of it
            self._send_error(frame.id, error)
            return
        warm = threading.Semaphore(0)
        for lane in range(max(1, plan.lanes)):
            threading.Thread(target=self._lane, args=(example, warm), name=f"lane-{lane}", daemon=True).start()
        for _ in range(max(1, plan.lanes)):
            warm.acquire()
        give_back_free_memory()  # what loading left behind, which is more than answering will ever need
        peak = restart_peak().peak
        facts = {role: _facts(session) for role, session in self._service.sessions.items()}
        self._send(Frame(frame.id, "ready", {"facts": facts, "peak_bytes": peak}))

    def _lane(self, example: Request | None, warm: threading.Semaphore) -> None:
        """Answer the example once, so that no client waits for what a runtime does at its first run; then requests."""
        assert self._service is not None
        try:
            if example is not None:
                self._service.predict(example)
        except Exception:
            log.exception("the example of %s fails", self._service.card.id)
        finally:
            warm.release()
        while True:
            try:
                frame = self._waiting.get(timeout=IDLE_S)
            except queue.Empty:
                give_back_free_memory()
                frame = self._waiting.get()
            try:
                self._answer(frame)
            except BaseException as error:  # noqa: BLE001  the worker's edge; even sys.exit() must not cost a lane
                self._send_error(frame.id, error)

    def _answer(self, frame: Frame) -> None:
        """Work on one request; the front frees the lane when it hears the end, or the error."""
        canceled = self._canceled[frame.id]
        try:
            with timed() as steps:
                answer = self._infer(frame, canceled) if frame.kind == "infer" else self._predict(frame, canceled)
        finally:
            self._canceled.pop(frame.id, None)
        answer.body["steps"] = steps
        answer.body["batch"] = take_rows()
        self._send(answer)

    def _predict(self, frame: Frame, canceled: threading.Event) -> Frame:
        """Sends the items; the end frame."""
        assert self._service is not None
        if canceled.is_set():
            return Frame(frame.id, "end")
        request = self._service.contract.known_request(join(frame.body["fields"], frame.buffers))
        stream = self._service.stream(request)
        while True:
            try:
                item = next(stream)
            except StopIteration as end:
                return _frame(frame.id, "end", end.value)
            if canceled.is_set():
                stream.close()
                return Frame(frame.id, "end")
            self._send(_frame(frame.id, "item", item))

    def _infer(self, frame: Frame, canceled: threading.Event) -> Frame:
        """The end frame."""
        assert self._service is not None
        body, service = frame.body, self._service
        tensors = described(body["tensors"], frame.buffers)
        service.check_outputs(body["role"], {*body["outputs"], *body["classes"]})
        if body["fields"] is None:
            with step("preprocess"):
                arrays = unpack(tensors)
            with step("run"):
                outputs = service.infer(body["role"], arrays)
        else:
            media = (bytes(element) for tensor in tensors for element in tensor.elements())
            requests = (service.contract.request({**body["fields"], service.contract.subject: one}) for one in media)
            outputs = service.infer_media(body["role"], itertools.takewhile(lambda _: not canceled.is_set(), requests))
            if canceled.is_set():
                return Frame(frame.id, "end", {"tensors": []})
        with step("postprocess"):
            specs, buffers = describe(wanted(outputs, body["outputs"], body["classes"], service.card.labels))
        return Frame(frame.id, "end", {"tensors": specs}, buffers)

    def _send(self, frame: Frame) -> None:
        with self._sending:
            try:
                send_frame(self._sock, frame)
            except OSError:
                os._exit(0)  # the front is gone, and with it everybody who would listen

    def _send_error(self, id: int, error: BaseException) -> None:
        if not isinstance(error, GliaError):
            log.error("a request failed", exc_info=error)
            # What an unknown exception says may hold what the request held: the log has it, the client its kind.
            error = GliaError(f"Glia failed on this request ({type(error).__name__}). This is a bug; the log has more.")
        self._send(Frame(id, "error", {"problem": error.problem()}))


def load_as_planned(resolved: Resolved, store: Store, plan: Plan) -> Service:
    """Load as planned; where that cannot be done any more (a library is gone, a file), in fp32, and say so."""
    try:
        return load(resolved, store, plan)
    except StoreError as error:
        plain = Plan(lanes=plan.lanes)
        if plan == plain:
            raise
        log.warning("%s is loaded in fp32, not as tuned: %s", resolved.name, error.message)
        return load(resolved, store, plain)


def _facts(session: Session) -> dict[str, Any]:
    """What runs the graph, and the tensors that it takes and gives."""
    tensors = {"inputs": session.inputs, "outputs": session.outputs}
    return {**session.facts(), **{side: [asdict(spec) for spec in specs] for side, specs in tensors.items()}}


def _frame(id: int, kind: str, value: Any) -> Frame:
    plain, buffers = split(value)
    return Frame(id, kind, {"value": plain}, buffers)


def main(descriptor: int) -> None:
    """Serve on an inherited socket."""
    keep_large_buffers_apart(8 << 20)
    faulthandler.enable()  # a crash in native code leaves its stack in the log
    for number in (signal.SIGTERM, signal.SIGINT):
        # Init systems signal every process of a service; the front drains, and ends its replicas when it is done.
        signal.signal(number, signal.SIG_IGN)
    Replica(socket.socket(fileno=descriptor)).serve()
    # Lanes may still be inside native code; nobody is left to answer, so do not wait for them.
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
