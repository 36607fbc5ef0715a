"""The pool: which replicas are up, under a memory budget."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

from glia.core.errors import DeadlineExceeded, Draining, GliaError, Overloaded
from glia.core.parts import Buffer, split
from glia.core.settings import Settings
from glia.core.task import Request
from glia.runtime.directory import Resolved
from glia.runtime.machine import cores
from glia.runtime.plan import plan_for
from glia.serve.backoff import Backoff
from glia.serve.frames import Frame
from glia.serve.memory import machine_bytes, read_memory
from glia.serve.process import Gone, ReplicaProcess
from glia.serve.statistics import Statistics
from glia.serve.tensors import Inference, Packed, describe, described
from glia.serve.watch import Watch

log = logging.getLogger("glia.serve")

TEND_S = 2.0
"""How often idle replicas are looked for, and the memory of those that were used since is measured (some ms each)."""
ROOM_LIMIT_S = 20.0
"""How long a start waits for busy replicas to leave room."""


class Pool:
    """Replicas by what they hold, started when first asked for. All methods belong to one event loop."""

    def __init__(self, settings: Settings) -> None:
        """Starts nothing."""
        self.settings = settings
        self.budget_bytes = (settings["memory"] << 20) or machine_bytes() * 3 // 4
        self.statistics = Statistics()
        self.failures: dict[str, str] = {}
        """Replica key to why its last start failed, or why it last ended."""
        self.watch = Watch()
        self._replicas: dict[str, ReplicaProcess] = {}
        self._starting: dict[str, asyncio.Task[ReplicaProcess]] = {}
        self._leaving: dict[str, asyncio.Task[None]] = {}
        self._reserved: dict[str, int] = {}
        """Replica key to the bytes kept for one that is starting."""
        self._peaks: dict[str, int] = {}
        """Replica key to the most memory that it was ever seen to use, over all its lives [bytes]."""
        self._asked: Counter[str] = Counter()
        """Replica key to the requests that wait for it or run in it."""
        self._pace_s: dict[str, float] = {}
        """Replica key to how long a request holds a lane, a moving average [s]."""
        self._backoff = Backoff()
        self._tending: asyncio.Task[None] | None = None
        self._stopping = False

    def predict(
        self,
        resolved: Resolved,
        request: Request,
        deadline_s: float,
        background: bool = False,
        spent_s: float = 0.0,
    ) -> AsyncGenerator[Frame, None]:
        """Item frames, then the end frame with `value`, `steps` [ms]. Raises GliaError.

        `background`: the request gives way to those that are not; `spent_s`: how much of the deadline is over already.
        """
        fields, buffers = split(request)
        asked = self._ask(resolved, "predict", {"fields": fields}, buffers, (deadline_s, spent_s), background)
        return self.watch.watched(resolved.name, asked, 1, partial(self.statistics.ended, resolved.key, 1))

    async def infer(
        self,
        resolved: Resolved,
        inference: Inference,
        deadline_s: float,
        *,
        background: bool = False,
        spent_s: float = 0.0,
    ) -> tuple[list[Packed], dict[str, float]]:
        """Tensors through one graph, past the task's answer; the outputs, and `steps` [ms]. Raises GliaError.

        `background`: whether requests of people go first; `spent_s`: how much of the deadline is over already.
        """
        specs, buffers = describe(inference.tensors)
        body = {
            "role": inference.role,
            "tensors": specs,
            "outputs": inference.outputs,
            "classes": inference.classes,
            "fields": inference.fields,
        }
        asked = self._ask(resolved, "infer", body, buffers, (deadline_s, spent_s), background)
        ended = partial(self.statistics.ended, resolved.key, inference.rows)
        async with aclosing(self.watch.watched(resolved.name, asked, inference.rows, ended)) as frames:
            async for frame in frames:
                return described(frame.body["tensors"], frame.buffers), frame.body["steps"]
        raise AssertionError("an answer without its end")

    async def _ask(
        self,
        resolved: Resolved,
        kind: str,
        body: Mapping[str, Any],
        buffers: Sequence[Buffer],
        limit: tuple[float, float],
        background: bool,
    ) -> AsyncGenerator[Frame, None]:
        """Frames of one request; a request that was only queued when its replica ended goes to the next one.

        `limit`: the request's deadline, and how much of it is over [s].
        """
        key, start, (deadline_s, spent_s) = resolved.key, time.perf_counter(), limit
        deadline = asyncio.get_running_loop().time() + deadline_s - spent_s
        self._check_queue(resolved)
        self._asked[key] += 1
        try:
            while True:
                replica = self._replicas.get(key)
                if replica is None or not replica.serves or self._stopping:
                    async with asyncio.timeout_at(deadline):
                        replica = await self.replica(resolved)
                try:
                    async with aclosing(replica.call(kind, body, buffers, deadline, background)) as frames:
                        async for frame in frames:
                            if frame.kind == "end":
                                self._count(key, frame, start)
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

    def _check_queue(self, resolved: Resolved) -> None:
        """Raises Overloaded, with a guess at when a place will be free."""
        key = resolved.key
        replica = self._replicas.get(key)
        lanes = replica.lanes if replica else self.settings["lanes"] or cores()
        waiting = self._asked[key] - lanes
        if waiting < self.settings["queue"]:
            return
        error = Overloaded(f"{waiting} requests wait for {resolved.name} already, the most that may. Try again later.")
        error.retry_after_s = max(1, math.ceil(waiting / lanes * self._pace_s.get(key, 0.0)))
        raise error

    def _count(self, key: str, frame: Frame, start: float) -> None:
        """Add what the request waited, for its replica's start or a lane: what its steps do not account for."""
        steps = frame.body.get("steps", {})
        held_s = sum(steps.values()) / 1e3
        self._pace_s[key] = 0.9 * self._pace_s.get(key, held_s) + 0.1 * held_s
        frame.body["steps"] = {"queue": max(0.0, (time.perf_counter() - start - held_s) * 1e3), **steps}

    async def replica(self, resolved: Resolved) -> ReplicaProcess:
        """The replica that holds these models, started if need be; those who ask together wait for one start."""
        if self._stopping:
            raise Draining("The server is stopping; ask another, or try again in a moment.")
        key = resolved.key
        replica = self._replicas.get(key)
        if replica is not None and replica.serves:
            return replica
        if key not in self._starting:
            self._backoff.check(key, resolved.name)
            starting = asyncio.create_task(self._start(resolved), name=f"start {key}")
            # Its failure is noted in `failures`, even where everyone who waited for it has left.
            starting.add_done_callback(lambda task: task.cancelled() or task.exception())
            self._starting[key] = starting
        # Shielded: a client that leaves must not take the start away from the others.
        return await asyncio.shield(self._starting[key])

    async def load(self, resolved: Resolved) -> ReplicaProcess:
        """The same, asked for by hand: at once, however often it has failed."""
        self._backoff.forget(resolved.key)
        return await self.replica(resolved)

    async def _start(self, resolved: Resolved) -> ReplicaProcess:
        key = resolved.key
        if self._tending is None:
            self._tending = asyncio.create_task(self._tend(), name="tend the pool")
        try:
            if key in self._leaving:
                await asyncio.shield(self._leaving[key])
            dead = self._replicas.get(key)
            if dead is not None:
                await dead.stop()
                del self._replicas[key]
            await self._make_room(resolved)
            replica = ReplicaProcess(resolved, self.settings, self._died)
            began = time.perf_counter()
            await replica.start()
            self.watch.started(key, time.perf_counter() - began)
            await self._measure([replica])
            self.failures.pop(key, None)
            self._replicas[key] = replica
        except GliaError as error:
            self.failures[key] = error.message
            if not isinstance(error, Overloaded):
                self._backoff.note(key, error.message)
                self.watch.start_failed(key)
            raise
        finally:
            self._reserved.pop(key, None)
            # Here, not in a callback: whoever asks next must not be handed a start that is over.
            self._starting.pop(key, None)
        await self._evict(keep=key)
        return replica

    def _died(self, replica: ReplicaProcess, status: int) -> None:
        self.watch.died(replica.key)
        if self._replicas.get(replica.key) is replica:
            why = f"its process ended with {f'signal {-status}' if status < 0 else f'status {status}'}"
            if self._backoff.note(replica.key, why):
                self.failures[replica.key] = why

    # -- memory ------------------------------------------------------------------------------------------------------

    async def _make_room(self, resolved: Resolved) -> None:
        """Reserve what the replica is expected to use; evict, or wait while all others are busy. Raises Overloaded."""
        expected = self._expected_bytes(resolved)
        limit = time.monotonic() + ROOM_LIMIT_S
        while True:
            if self.has_room(resolved):
                self._reserved[resolved.key] = expected
                return
            oldest = self._oldest_idle()
            if oldest is not None:
                await self._leave(oldest, "evicted")
            elif time.monotonic() < limit:
                await asyncio.sleep(0.05)
            else:
                busy = ", ".join(replica.resolved.name for replica in self._replicas.values() if replica.alive)
                raise Overloaded(
                    f"{resolved.name} needs about {expected >> 20} MB, and the models that are busy ({busy}) leave "
                    f"less of the budget of {self.budget_bytes >> 20} MB. Try again later, or raise GLIA_MEMORY."
                )

    def has_room(self, resolved: Resolved) -> bool:
        """Whether it can be loaded within the budget as things are; one alone always can, lest nothing be answered."""
        alone = not self._reserved and not any(replica.alive for replica in self._replicas.values())
        return alone or self.used_bytes() + self._expected_bytes(resolved) <= self.budget_bytes

    def _expected_bytes(self, resolved: Resolved) -> int:
        """The most that a replica ever used, loading or answering; until one was seen, a guess from its graphs."""
        guess = (48 << 20) + 3 * sum(graph.bytes for graph in resolved.card.graphs.values())
        return self._peaks.get(resolved.key) or guess

    async def _evict(self, keep: str = "") -> None:
        """Stop the replicas that were idle longest until those that stay use no more than the budget."""
        while self.used_bytes() > self.budget_bytes:
            oldest = self._oldest_idle(keep)
            if oldest is None:
                return
            await self._leave(oldest, "evicted")

    def _oldest_idle(self, keep: str = "") -> ReplicaProcess | None:
        idle = [r for r in self._replicas.values() if r.key != keep and self._is_idle(r)]
        return min(idle, key=lambda replica: replica.last_used, default=None)

    def _is_idle(self, replica: ReplicaProcess) -> bool:
        return replica.serves and not replica.busy and not self._asked[replica.key]

    async def _leave(self, replica: ReplicaProcess, why: str) -> None:
        """Retire a replica; whoever asks for the same one meanwhile waits, so that it is never in memory twice."""
        key = replica.key
        if key not in self._leaving:

            async def leave() -> None:
                try:
                    await self._measure([replica])
                    await replica.retire()
                finally:
                    # It stays on the list until it is gone, so that stopping the pool halfway forgets no process.
                    if self._replicas.get(key) is replica:
                        del self._replicas[key]
                    self._leaving.pop(key, None)

            (self.watch.evicted if why == "evicted" else self.watch.unloaded)(key)
            log.info("replica %s", why, extra={"fields": {"replica": key, "budget_mb": self.budget_bytes >> 20}})
            self._leaving[key] = asyncio.create_task(leave(), name=f"stop {key}")
        await asyncio.shield(self._leaving[key])

    async def unload(self, resolved: Resolved) -> bool:
        """Stop the replica that holds these models, once what executes is answered; False where none was up.

        Its memory is back when this returns. The next request loads the model again.
        """
        self._backoff.forget(resolved.key)
        self.failures.pop(resolved.key, None)
        replica = self._replicas.get(resolved.key)
        if replica is None or not replica.alive:
            return False
        await self._leave(replica, "unloaded")
        return True

    async def retain(self, keys: Collection[str]) -> None:
        """Stop the idle replicas that hold anything else, bound no more or gone, and those that were tuned anew."""
        for replica in list(self._replicas.values()):
            if not self._is_idle(replica):
                continue
            if replica.key not in keys:
                await self._leave(replica, "unloaded: nothing is served by it any more")
            elif replica.plan != plan_for(replica.resolved.card, self.settings):
                await self._leave(replica, "unloaded: it was tuned anew")

    async def _measure(self, replicas: Sequence[ReplicaProcess]) -> None:
        found = await asyncio.to_thread(lambda: [read_memory(replica.pid) for replica in replicas])
        for replica, memory in zip(replicas, found, strict=True):
            if memory.used:
                replica.memory = memory
                self._peaks[replica.key] = max(self._peaks.get(replica.key, 0), memory.peak, replica.load_peak)

    async def _tend(self) -> None:
        """Measure, keep to the budget, unload what is idle; for as long as the pool is open."""
        idle_s = self.settings["idle_s"]
        while True:
            await asyncio.sleep(TEND_S)
            try:
                now = time.monotonic()
                # Those idle for longer have not changed: a replica gives back what it can soon after its last answer.
                used = [r for r in self._replicas.values() if r.alive and (r.busy or now - r.last_used < 3 * TEND_S)]
                await self._measure(used)
                await self._evict()
                for replica in list(self._replicas.values()):
                    if idle_s and self._is_idle(replica) and now - replica.last_used > idle_s:
                        await self._leave(replica, "unloaded: idle")
            except Exception:
                log.exception("tending the pool failed")

    def used_bytes(self) -> int:
        """The high-water marks of all replicas, and what is reserved for those that start."""
        up = sum(max(r.memory.used, r.memory.peak) for r in self._replicas.values() if r.alive)
        return up + sum(self._reserved.values())

    # -- what is up --------------------------------------------------------------------------------------------------

    def state(self, resolved: Resolved) -> str:
        """ready, loading, unloading, failed, or idle (not started yet)."""
        replica = self._replicas.get(resolved.key)
        if replica is not None and replica.serves:
            return "ready"
        if resolved.key in self._starting:
            return "loading"
        if resolved.key in self._leaving:
            return "unloading"
        return "failed" if resolved.key in self.failures else "idle"

    def facts(self) -> list[dict[str, Any]]:
        """What each replica is, holds and uses."""
        now = time.monotonic()
        return [
            {
                "replica": replica.key,
                "models": dict(replica.resolved.models),
                "task": replica.resolved.task.name,
                "pid": replica.pid,
                "lanes": replica.lanes,
                "waiting": replica.waiting,
                "executing": replica.executing,
                "idle_s": round(now - replica.last_used, 1),
                "memory_bytes": replica.memory.used,
                "resident_bytes": replica.memory.resident,
                "peak_bytes": replica.memory.peak,
                "sessions": replica.facts,
            }
            for replica in list(self._replicas.values())
            if replica.alive
        ]

    async def stop(self) -> None:
        """Stop every replica, and start no more; what executes is lost."""
        self._stopping = True
        under_way = [*self._starting.values(), *([self._tending] if self._tending else [])]
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await asyncio.gather(*(replica.stop() for replica in list(self._replicas.values())))
        await asyncio.gather(*self._leaving.values(), return_exceptions=True)
        self._starting.clear()
        self._replicas.clear()
