"""The pool: which replicas are up, under a memory budget."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from glia.core.errors import DeadlineExceeded, Draining, GliaError, Overloaded
from glia.core.parts import Buffer, split
from glia.core.session import Tensors
from glia.core.settings import Settings
from glia.core.task import Request
from glia.runtime.directory import Resolved
from glia.serve.frames import Frame
from glia.serve.process import Gone, ReplicaProcess, lane_count
from glia.serve.tensors import pack, unpack
from glia.serve.watch import Watch

log = logging.getLogger("glia.serve")


class Pool:
    """Replicas by what they hold, started when first asked for. All methods belong to one event loop."""

    def __init__(self, settings: Settings) -> None:
        """Starts nothing."""
        self.settings = settings
        self.budget_bytes = (settings["memory"] << 20) or _machine_bytes() * 3 // 4
        self.failures: dict[str, str] = {}
        """Replica key to why its last start failed."""
        self.watch = Watch()
        self._replicas: dict[str, ReplicaProcess] = {}
        self._starting: dict[str, asyncio.Task[ReplicaProcess]] = {}
        self._asked: Counter[str] = Counter()
        """Replica key to the requests that wait for it or run in it."""
        self._stopping = False

    async def predict(self, resolved: Resolved, request: Request, deadline_s: float) -> AsyncGenerator[Frame, None]:
        """Item frames, then the end frame with `value`, `steps` [ms]. Raises GliaError."""
        fields, buffers = split(request)
        asked = self._ask(resolved, "predict", {"fields": fields}, buffers, deadline_s)
        async with aclosing(self.watch.watched(resolved.name, asked)) as frames:
            async for frame in frames:
                yield frame

    async def infer(self, resolved: Resolved, role: str, tensors: Tensors, deadline_s: float) -> Tensors:
        """Tensors through the graph of one role, past the task. Raises GliaError."""
        specs, buffers = pack(tensors)
        body = {"role": role, "tensors": specs}
        asked = self._ask(resolved, "infer", body, buffers, deadline_s)
        async with aclosing(self.watch.watched(resolved.name, asked)) as frames:
            async for frame in frames:
                return unpack(frame.body["tensors"], frame.buffers)
        raise AssertionError("an answer without its end")

    async def _ask(
        self, resolved: Resolved, kind: str, body: Mapping[str, Any], buffers: Sequence[Buffer], deadline_s: float
    ) -> AsyncGenerator[Frame, None]:
        """Frames of one request; a request that was only queued when its replica ended goes to the next one."""
        key, start = resolved.key, time.perf_counter()
        deadline = asyncio.get_running_loop().time() + deadline_s
        waiting = self._asked[key] - lane_count(self.settings)
        if waiting >= self.settings["queue"]:
            raise Overloaded(
                f"{max(waiting, 0)} requests wait for {resolved.name} already, the most that may. Try again later."
            )
        self._asked[key] += 1
        try:
            while True:
                async with asyncio.timeout_at(deadline):
                    replica = await self.replica(resolved)
                try:
                    async with aclosing(replica.call(kind, body, buffers, deadline)) as frames:
                        async for frame in frames:
                            if frame.kind == "end":
                                _count_queue(frame, start)
                            yield frame
                    return
                except Gone:
                    continue
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"No answer from {resolved.name} within {deadline_s:g} s. "
                "Ask for a longer deadline, or try again when the server is less busy."
            ) from error
        finally:
            self._asked[key] -= 1
            if not self._asked[key]:
                del self._asked[key]

    async def replica(self, resolved: Resolved) -> ReplicaProcess:
        """The replica that holds these models, started if need be; those who ask together wait for one start."""
        if self._stopping:
            raise Draining("The server is stopping; ask another, or try again in a moment.")
        key = resolved.key
        replica = self._replicas.get(key)
        if replica is not None and replica.alive:
            return replica
        if key not in self._starting:
            starting = asyncio.create_task(self._start(resolved), name=f"start {key}")
            # Its failure is noted in `failures`, even where everyone who waited for it has left.
            starting.add_done_callback(lambda task: task.cancelled() or task.exception())
            self._starting[key] = starting
        # Shielded: a client that leaves must not take the start away from the others.
        return await asyncio.shield(self._starting[key])

    async def _start(self, resolved: Resolved) -> ReplicaProcess:
        key = resolved.key
        try:
            dead = self._replicas.get(key)
            if dead is not None:
                await dead.stop()
                del self._replicas[key]
            await self._make_room()
            replica = ReplicaProcess(resolved, self.settings, self.watch.died)
            began = time.perf_counter()
            await replica.start()
            self.watch.started(key, time.perf_counter() - began)
            self.failures.pop(key, None)
            self._replicas[key] = replica
        except GliaError as error:
            self.failures[key] = error.message
            self.watch.start_failed(key)
            raise
        finally:
            # Here, not in a callback: whoever asks next must not be handed a start that is over.
            self._starting.pop(key, None)
        await self._make_room(keep=key)
        return replica

    async def _make_room(self, keep: str = "") -> None:
        """Stop the replicas that were idle longest until those that stay use no more than the budget."""
        while self.used_bytes() > self.budget_bytes:
            idle = [r for r in self._replicas.values() if r.alive and r.key != keep and not self._asked[r.key]]
            idle = [replica for replica in idle if not replica.busy]
            if not idle:
                return
            oldest = min(idle, key=lambda replica: replica.last_used)
            log.info("replica evicted", extra={"fields": {"replica": oldest.key, "budget_mb": self.budget_bytes >> 20}})
            self.watch.evicted(oldest.key)
            # It stays on the list until it is gone, so that stopping the pool halfway through forgets no process.
            await oldest.stop()
            if self._replicas.get(oldest.key) is oldest:
                del self._replicas[oldest.key]

    def used_bytes(self) -> int:
        """Memory of all replicas: proportional set size where the system tells it, resident elsewhere."""
        return sum(memory_bytes(replica.pid) for replica in self._replicas.values() if replica.alive)

    def state(self, resolved: Resolved) -> str:
        """ready, loading, failed, or idle (not started yet)."""
        replica = self._replicas.get(resolved.key)
        if replica is not None and replica.alive:
            return "ready"
        if resolved.key in self._starting:
            return "loading"
        return "failed" if resolved.key in self.failures else "idle"

    def facts(self) -> list[dict[str, Any]]:
        """What each replica is, holds and uses."""
        return [
            {
                "replica": replica.key,
                "pid": replica.pid,
                "lanes": replica.lanes,
                "waiting": replica.waiting,
                "executing": replica.executing,
                "idle_s": round(time.monotonic() - replica.last_used, 1),
                "memory_bytes": memory_bytes(replica.pid),
                "sessions": replica.facts,
            }
            for replica in list(self._replicas.values())
            if replica.alive
        ]

    async def stop(self) -> None:
        """Stop every replica, and start no more; what executes is lost."""
        self._stopping = True
        starting = list(self._starting.values())
        for start in starting:
            start.cancel()
        await asyncio.gather(*starting, return_exceptions=True)
        await asyncio.gather(*(replica.stop() for replica in list(self._replicas.values())))
        self._starting.clear()
        self._replicas.clear()


def _count_queue(frame: Frame, start: float) -> None:
    """Add what the request waited, for its replica's start or a lane: what its steps do not account for."""
    steps = frame.body.get("steps", {})
    waited_ms = (time.perf_counter() - start) * 1e3 - sum(steps.values())
    frame.body["steps"] = {"queue": max(0.0, waited_ms), **steps}


def memory_bytes(pid: int) -> int:
    """Proportional set size on Linux, resident set size elsewhere; 0 for a process that is gone."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    except OSError:
        pass
    if os.path.isdir("/proc/self"):
        return 0
    shown = subprocess.run(
        ["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    return int(shown) << 10 if shown else 0


def _machine_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
