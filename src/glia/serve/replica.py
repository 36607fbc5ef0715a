"""A replica: the process that holds one model, or the models of one service, and does decode to postprocess.

Started as `python -P -m glia.serve.replica FD`. Ends when its socket does: a front that was killed leaves none behind.
"""

from __future__ import annotations

import logging
import os
import queue
import socket
import sys
import threading
from typing import Any

from glia.core.errors import GliaError
from glia.core.log import start_log
from glia.core.parts import join, split
from glia.core.settings import Settings
from glia.core.timing import timed
from glia.data.header import Limits, set_limits
from glia.runtime.directory import Directory
from glia.runtime.service import Service, load
from glia.serve.frames import Frame, receive_frame, send_frame

log = logging.getLogger("glia.replica")


class Replica:
    """Reads frames on the main thread, works on them in lanes."""

    def __init__(self, sock: socket.socket) -> None:
        """`sock`: one end of the front's socketpair."""
        self._sock = sock
        self._sending = threading.Lock()
        self._waiting: queue.SimpleQueue[Frame] = queue.SimpleQueue()
        self._canceled: set[int] = set()
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
                self._canceled.add(frame.id)
            else:
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
        facts = {role: session.facts() for role, session in self._service.sessions.items()}
        self._send(Frame(frame.id, "ready", {"facts": facts}))

    def _lane(self) -> None:
        while True:
            frame = self._waiting.get()
            try:
                self._answer(frame)
            except Exception as error:  # noqa: BLE001  the worker's edge
                self._send_error(frame.id, error)
            finally:
                self._canceled.discard(frame.id)

    def _answer(self, frame: Frame) -> None:
        assert self._service is not None
        if frame.id in self._canceled:
            self._send(Frame(frame.id, "end"))  # the front frees the lane by it
            return
        with timed() as steps:
            request = self._service.contract.request(join(frame.body["fields"], frame.buffers))
            stream = self._service.stream(request)
            while True:
                try:
                    item = next(stream)
                except StopIteration as end:
                    answer = end.value
                    break
                if frame.id in self._canceled:
                    stream.close()
                    answer = None
                    break
                self._send(_frame(frame.id, "item", item, {}))
        self._send(_frame(frame.id, "end", answer, {"steps": steps}))

    def _send(self, frame: Frame) -> None:
        with self._sending:
            try:
                send_frame(self._sock, frame)
            except OSError:
                os._exit(0)  # the front is gone, and with it everybody who would listen

    def _send_error(self, id: int, error: Exception) -> None:
        if not isinstance(error, GliaError):
            log.error("a request failed", exc_info=error)
            error = GliaError(
                f"Glia failed on this request ({type(error).__name__}: {error}). This is a bug; the log has more."
            )
        self._send(Frame(id, "error", {"problem": error.problem()}))


def _frame(id: int, kind: str, value: Any, body: dict[str, Any]) -> Frame:
    plain, buffers = split(value)
    return Frame(id, kind, {"value": plain, **body}, buffers)


def main(descriptor: int) -> None:
    """Serve on an inherited socket."""
    Replica(socket.socket(fileno=descriptor)).serve()
    # Lanes may still be inside native code; nobody is left to answer, so do not wait for them.
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
