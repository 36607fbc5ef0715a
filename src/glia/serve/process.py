"""The front's end of a replica: starts the process, sends frames, hands answers to those who wait for them."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from glia.core.errors import DeadlineExceeded, Draining, GliaError, Overloaded, ReplicaDied, from_problem
from glia.core.parts import Buffer
from glia.core.settings import Settings
from glia.runtime.directory import Resolved
from glia.serve.frames import SOCKET_BUFFER, Frame, read_frame, write_frame

log = logging.getLogger("glia.serve")

LOAD_LIMIT_S = 120.0
HUNG_AFTER_S = 30.0
"""How long past its deadline a request may keep a lane before its replica is killed."""


class ReplicaProcess:
    """One replica, seen from the event loop. The queue is here: a crash costs only what was executing."""

    def __init__(self, resolved: Resolved, settings: Settings) -> None:
        """Starts nothing yet."""
        self.resolved = resolved
        self.key = resolved.key
        self.lanes = settings["lanes"] or os.cpu_count() or 1
        self.facts: dict[str, Any] = {}
        self.last_used = time.monotonic()
        self.alive = False
        self._settings = settings
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Queue[Frame]] = {}
        self._executing: set[int] = set()
        self._lanes = asyncio.Semaphore(self.lanes)
        self.waiting = 0

    async def start(self) -> None:
        """Start the process and load the model. Raises the replica's error, or ReplicaDied."""
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
        ours.setblocking(False)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "glia.serve.replica", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr.fileno() if _has_descriptor() else subprocess.DEVNULL,
                env=_environment(),
                # Ctrl-C in the terminal is for the front, which drains; the replica ends with its socket.
                start_new_session=True,
            )
        self._reader, self._writer = await asyncio.open_connection(sock=ours, limit=SOCKET_BUFFER)
        self.alive = True
        self._listening = asyncio.create_task(self._listen(), name=f"replica {self.key}")
        body = {
            "service": self.resolved.name,
            "models": dict(self.resolved.models),
            "settings": {**dict(self._settings), "home": str(self._settings.home), "api_key": ""},
            "lanes": self.lanes,
        }
        try:
            async with asyncio.timeout(LOAD_LIMIT_S):
                async for frame in self._exchange("load", body, ()):
                    self.facts = frame.body["facts"]
        except TimeoutError as error:
            await self.stop()
            raise ReplicaDied(f"{self.key} did not load within {LOAD_LIMIT_S:.0f} s.") from error
        except GliaError:
            await self.stop()
            raise
        log.info("replica up", extra={"fields": {"replica": self.key, "pid": self.pid, "lanes": self.lanes}})

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def busy(self) -> bool:
        """Whether anything waits for it or runs in it."""
        return bool(self.waiting or self._executing)

    async def call(
        self, kind: str, body: Mapping[str, Any], buffers: Sequence[Buffer], deadline_s: float
    ) -> AsyncIterator[Frame]:
        """Item frames, then the end frame. Leaving the iterator early cancels. Raises GliaError."""
        if not self.alive:
            raise Draining("The model's replica is stopping; try again.")
        if self.waiting >= self._settings["queue"]:
            raise Overloaded(
                f"{self.waiting} requests wait for {self.resolved.name} already, the most that may. Try again later."
            )
        start = time.perf_counter()
        try:
            async with asyncio.timeout(deadline_s):
                self.waiting += 1
                try:
                    await self._lanes.acquire()
                finally:
                    self.waiting -= 1
                queued_ms = (time.perf_counter() - start) * 1e3
                async for frame in self._exchange(kind, body, buffers):
                    if frame.kind == "end":
                        frame.body["steps"] = {"queue": queued_ms, **frame.body.get("steps", {})}
                    yield frame
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"No answer from {self.resolved.name} within {deadline_s:g} s. "
                "Ask for a longer deadline, or try again when the server is less busy."
            ) from error

    async def _exchange(self, kind: str, body: Mapping[str, Any], buffers: Sequence[Buffer]) -> AsyncIterator[Frame]:
        id = next(self._ids)
        answers = self._answers[id] = asyncio.Queue()
        if kind != "load":
            self._executing.add(id)
        self.last_used = time.monotonic()
        try:
            if not self.alive:
                self._finish(id)
                raise _died(self)
            write_frame(self._writer, Frame(id, kind, dict(body), buffers))
            while True:
                frame = await answers.get()
                if frame.kind == "error":
                    raise from_problem(frame.body["problem"])
                yield frame
                if frame.kind in ("end", "ready"):
                    return
        finally:
            del self._answers[id]
            if id in self._executing and self.alive:
                write_frame(self._writer, Frame(id, "cancel"))
                asyncio.get_running_loop().call_later(HUNG_AFTER_S, self._kill_if_hung, id)

    async def _listen(self) -> None:
        try:
            while True:
                frame = await read_frame(self._reader)
                if frame.kind in ("end", "error"):
                    self._finish(frame.id)
                if frame.id in self._answers:
                    self._answers[frame.id].put_nowait(frame)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self.alive = False
            self._writer.close()
            for answers in self._answers.values():
                answers.put_nowait(Frame(0, "error", {"problem": _died(self).problem()}))
            for id in list(self._executing):
                self._finish(id)

    def _finish(self, id: int) -> None:
        # The lane is free when the replica says so, not when the one who asked has left.
        if id in self._executing:
            self._executing.remove(id)
            self._lanes.release()
        self.last_used = time.monotonic()

    def _kill_if_hung(self, id: int) -> None:
        if id in self._executing and self.alive:
            log.error("replica hangs and is killed", extra={"fields": {"replica": self.key, "pid": self.pid}})
            self._process.kill()

    async def stop(self) -> None:
        """End the process and wait until its memory is back. What executes is lost: drain first."""
        self.alive = False
        self._writer.close()
        self._listening.cancel()
        try:
            async with asyncio.timeout(2):
                await asyncio.to_thread(self._process.wait)
        except TimeoutError:
            self._process.send_signal(signal.SIGKILL)
            await asyncio.to_thread(self._process.wait)
        log.info("replica down", extra={"fields": {"replica": self.key, "pid": self.pid}})

    def reap(self) -> int | None:
        """The exit status of a process that ended by itself."""
        return self._process.poll()


def _died(replica: ReplicaProcess) -> ReplicaDied:
    return ReplicaDied(
        f"The process that held {replica.resolved.name} ended while this request was in it. "
        "The next request starts a new one; if the same input ends it again, report that input.",
        replica=replica.key,
    )


def _has_descriptor() -> bool:
    try:
        sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):
        return False
    return True


def _environment() -> dict[str, str]:
    # The package must be found even when the front was started from a folder on PYTHONPATH; secrets stay here.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GLIA_")}
    return {**kept, "PYTHONUNBUFFERED": "1"}
