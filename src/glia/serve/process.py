"""The front's end of a replica: starts the process, sends frames, hands answers to those who wait for them."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Any

from glia.core.errors import Draining, GliaError, ReplicaDied, Unavailable, from_problem
from glia.core.parts import Buffer
from glia.core.settings import Settings
from glia.runtime.directory import Resolved
from glia.runtime.plan import plan_for
from glia.serve.frames import SOCKET_BUFFER, BadFrame, Frame, read_frame, write_frame
from glia.serve.lanes import Lanes
from glia.serve.memory import Memory

log = logging.getLogger("glia.serve")

LOAD_LIMIT_S = 120.0
HUNG_AFTER_S = 30.0
"""How long past its deadline a request may keep a lane before its replica is killed."""
STOP_LIMIT_S = 2.0
"""How long a replica may take to end by itself."""


class Gone(Exception):
    """The replica ended before it was given the request: another one can take it. Never leaves the pool."""


class ReplicaProcess:
    """One replica, seen from the event loop. The queue is here: a crash costs only what was executing."""

    def __init__(
        self, resolved: Resolved, settings: Settings, ended: Callable[[ReplicaProcess, int], None] = lambda *_: None
    ) -> None:
        """Starts nothing yet. `ended`: told, with its exit status, when it ends without being asked to."""
        self.resolved = resolved
        self.key = resolved.key
        self.plan = plan_for(resolved.card, settings)
        self.lanes = self.plan.lanes
        self.facts: dict[str, Any] = {}
        self.last_used = time.monotonic()
        self.alive = False
        self.memory = Memory()
        self.load_peak = 0
        """The most memory that it used while it loaded [bytes]; `memory.peak` is counted from then on."""
        self._ended = ended
        self._settings = settings
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Queue[Frame]] = {}
        self._executing: dict[int, asyncio.TimerHandle | None] = {}
        """Requests that were sent, in that order, with the timer of those whose caller has left."""
        self._lanes = Lanes(self.lanes)
        self._retiring = False
        self._quiet = asyncio.Event()
        self._quiet.set()

    async def start(self) -> None:
        """Start the process and load the model. Raises the replica's error, or ReplicaDied; then no process is left."""
        # In a thread: to start a process takes milliseconds that other replicas' answers need not wait for.
        spawning = asyncio.ensure_future(asyncio.to_thread(self._spawn))
        try:
            ours = await asyncio.shield(spawning)
        except asyncio.CancelledError:
            (await spawning).close()  # canceled halfway: the process ends with its socket
            await asyncio.to_thread(self._wait)
            raise
        try:
            self._reader, self._writer = await asyncio.open_connection(sock=ours, limit=SOCKET_BUFFER)
            self.alive = True
            self._listening = asyncio.create_task(self._listen(), name=f"replica {self.key}")
            await self._load()
        except BaseException as error:
            if not self.alive and not hasattr(self, "_listening"):
                ours.close()
            await self.stop()
            if isinstance(error, TimeoutError):
                raise ReplicaDied(f"{self.key} did not load within {LOAD_LIMIT_S:.0f} s.") from error
            raise
        log.info("replica up", extra={"fields": {"replica": self.key, "pid": self.pid, "lanes": self.lanes}})

    def _spawn(self) -> socket.socket:
        """Start the process; our end of its socket."""
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
        ours.setblocking(False)
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "glia.serve.replica", str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=sys.stderr.fileno() if _has_descriptor() else subprocess.DEVNULL,
                    env=_environment(),
                    # Ctrl-C in the terminal is for the front, which drains; the replica ends with its socket.
                    start_new_session=True,
                )
            except OSError as error:
                ours.close()
                raise Unavailable(
                    f"The machine refuses a process for {self.resolved.name} ({error.strerror}). "
                    "Free memory or raise the limit on processes, then try again."
                ) from error
        return ours

    async def _load(self) -> None:
        body = {
            "service": self.resolved.name,
            "models": dict(self.resolved.models),
            "settings": {**dict(self._settings), "home": str(self._settings.home), "api_key": ""},
            "plan": self.plan.model_dump(),
        }
        deadline = asyncio.get_running_loop().time() + LOAD_LIMIT_S
        async with aclosing(self._exchange(next(self._ids), "load", body, (), deadline)) as frames:
            async for frame in frames:
                self.facts = frame.body["facts"]
                self.load_peak = int(frame.body["peak_bytes"])

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def busy(self) -> bool:
        """Whether anything waits for it or runs in it."""
        return bool(self.waiting or self._executing)

    @property
    def waiting(self) -> int:
        """Requests that wait for a lane, here or in the replica."""
        asked = sum(left is None for left in self._executing.values())
        return self._lanes.waiting + max(0, asked - self.lanes)

    @property
    def executing(self) -> int:
        """Requests that hold a lane."""
        return min(len(self._executing), self.lanes)

    @property
    def serves(self) -> bool:
        """Whether it may be given requests."""
        return self.alive and not self._retiring

    async def call(
        self,
        kind: str,
        body: Mapping[str, Any],
        buffers: Sequence[Buffer],
        deadline: float,
        background: bool = False,
    ) -> AsyncGenerator[Frame, None]:
        """Item frames, then the end frame. Closing the iterator early cancels; `deadline` is on the loop's clock.

        `background`: requests that are not wait before it does.

        Raises GliaError; TimeoutError past the deadline; Gone where the replica ended while the request was queued.
        """
        if not self._lanes.take_at_once(background):
            async with asyncio.timeout_at(deadline):
                await self._lanes.take(background)
        id = next(self._ids)
        self._executing[id] = None
        self._quiet.clear()
        if len(self._executing) == 1 and self._process.poll() is not None:
            # It ended while it was idle, and the listener is about to hear of it: nothing was begun.
            await asyncio.wait([self._listening])
        if not self.serves:
            self._finish(id)
            raise Gone
        async with aclosing(self._exchange(id, kind, body, buffers, deadline)) as frames:
            async for frame in frames:
                yield frame

    async def _exchange(
        self, id: int, kind: str, body: Mapping[str, Any], buffers: Sequence[Buffer], deadline: float
    ) -> AsyncGenerator[Frame, None]:
        answers = self._answers[id] = asyncio.Queue()
        self.last_used = time.monotonic()
        try:
            try:
                write_frame(self._writer, Frame(id, kind, dict(body), buffers))
            except BaseException:
                self._finish(id)  # not a byte of it was sent, so the replica will never answer
                raise
            # No timeout is open across a yield: it would cancel whatever the caller does meanwhile.
            if self._writer.transport.get_write_buffer_size():
                async with asyncio.timeout_at(deadline):
                    with suppress(OSError):  # the listener hears of it too, and says what it means
                        await self._writer.drain()
            while True:
                async with asyncio.timeout_at(deadline):
                    frame = await answers.get()
                if frame.kind == "gone":
                    raise Gone
                if frame.kind == "error":
                    raise from_problem(frame.body["problem"])
                yield frame
                if frame.kind in ("end", "ready"):
                    return
        finally:
            del self._answers[id]
            if id in self._executing and self.alive:
                write_frame(self._writer, Frame(id, "cancel"))
                loop = asyncio.get_running_loop()
                self._executing[id] = loop.call_at(deadline + HUNG_AFTER_S, self._kill_hung)

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
        except BadFrame:
            log.exception("replica sent what is no frame", extra={"fields": {"replica": self.key, "pid": self.pid}})
        self._end(self._died())
        self._process.kill()  # no more than a reminder: whoever closes its socket is about to end
        status = await asyncio.to_thread(self._process.wait)
        log.error("replica ended", extra={"fields": {"replica": self.key, "pid": self.pid, "status": status}})
        self._ended(self, status)

    def _end(self, why: GliaError) -> None:
        """Nothing more will come: tell those who wait for an answer, and wake those who wait for a lane."""
        self.alive = False
        self._writer.close()
        # Lanes take requests in the order in which they were sent, so what comes after the first few was not begun.
        unbegun = set(list(self._executing)[self.lanes :])
        for id, answers in self._answers.items():
            answers.put_nowait(Frame(0, "gone") if id in unbegun else Frame(0, "error", {"problem": why.problem()}))
        for id in list(self._executing):
            self._finish(id)

    def _finish(self, id: int) -> None:
        # The lane is free when the replica says so, not when the one who asked has left.
        if id in self._executing:
            timer = self._executing.pop(id)
            if timer is not None:
                timer.cancel()
            self._lanes.free()
            if not self._executing:
                self._quiet.set()
        self.last_used = time.monotonic()

    def _kill_hung(self) -> None:
        log.error("replica hangs and is killed", extra={"fields": {"replica": self.key, "pid": self.pid}})
        self._process.kill()

    async def retire(self) -> None:
        """Take no more requests, answer those that execute, then stop; those that wait go to the next replica."""
        self._retiring = True
        await self._quiet.wait()
        await self.stop()

    async def stop(self) -> None:
        """End the process and wait until its memory is back. What executes is lost: drain first. May be repeated."""
        was_alive = self.alive
        if hasattr(self, "_listening"):
            if was_alive:
                self._end(Draining(f"The server is stopping {self.resolved.name}; ask again in a moment."))
                self._listening.cancel()
            # One that ended by itself is about to be logged and counted: that must not be cut short.
            await asyncio.gather(self._listening, return_exceptions=True)
        await asyncio.to_thread(self._wait)
        if was_alive:
            log.info("replica down", extra={"fields": {"replica": self.key, "pid": self.pid}})

    def _wait(self) -> None:
        try:
            self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _died(self) -> ReplicaDied:
        if not self.facts and not self._executing:
            return ReplicaDied(
                f"The process that loads {self.resolved.name} ended before it was ready; the log has more.",
                replica=self.key,
            )
        return ReplicaDied(
            f"The process that held {self.resolved.name} ended while this request was in it. "
            "The next request starts a new one; if the same input ends it again, report that input.",
            replica=self.key,
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
