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

from glia.core.errors import GliaError
from glia.core.log import start_log
from glia.core.parts import join, split
from glia.core.session import Session
from glia.core.settings import Settings
from glia.core.timing import step, timed
from glia.data.header import Limits, set_limits
from glia.runtime.directory import Directory
from glia.runtime.service import Service, load
from glia.serve.arrays import unpack, wanted
from glia.serve.frames import Frame, receive_frame, send_frame
from glia.serve.tensors import describe, described

log = logging.getLogger("glia.replica")


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
            set_limits(Limits(settings["max_media_mb"] << 20, settings["max_megapixels"] * 1_000_000))
            directory = Directory(settings)
            resolved = directory.resolve_models(frame.body["service"], frame.body["models"])
            self._service = load(resolved, directory.store)
        except Exception as error:  # noqa: BLE001  the worker's edge: the front must hear of it
            self._send_error(frame.id, error)
            return
        for lane in range(frame.body["lanes"]):
            threading.Thread(target=self._lane, name=f"lane-{lane}", daemon=True).start()
        facts = {role: _facts(session) for role, session in self._service.sessions.items()}
        self._send(Frame(frame.id, "ready", {"facts": facts}))

    def _lane(self) -> None:
        while True:
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
        self._send(answer)

    def _predict(self, frame: Frame, canceled: threading.Event) -> Frame:
        """Sends the items; the end frame."""
        assert self._service is not None
        if canceled.is_set():
            return Frame(frame.id, "end")
        request = self._service.contract.request(join(frame.body["fields"], frame.buffers))
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


def _facts(session: Session) -> dict[str, Any]:
    """What runs the graph, and the tensors that it takes and gives."""
    tensors = {"inputs": session.inputs, "outputs": session.outputs}
    return {**session.facts(), **{side: [asdict(spec) for spec in specs] for side, specs in tensors.items()}}


def _frame(id: int, kind: str, value: Any) -> Frame:
    plain, buffers = split(value)
    return Frame(id, kind, {"value": plain}, buffers)


def main(descriptor: int) -> None:
    """Serve on an inherited socket."""
    faulthandler.enable()  # a crash in native code leaves its stack in the log
    for number in (signal.SIGTERM, signal.SIGINT):
        # Init systems signal every process of a service; the front drains, and ends its replicas when it is done.
        signal.signal(number, signal.SIG_IGN)
    Replica(socket.socket(fileno=descriptor)).serve()
    # Lanes may still be inside native code; nobody is left to answer, so do not wait for them.
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
