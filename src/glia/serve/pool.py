"""The pool: which replicas are up, under a memory budget."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from glia.core.errors import GliaError
from glia.core.parts import split
from glia.core.settings import Settings
from glia.core.task import Request
from glia.runtime.directory import Resolved
from glia.serve.frames import Frame
from glia.serve.process import ReplicaProcess

log = logging.getLogger("glia.serve")


class Pool:
    """Replicas by what they hold, started when first asked for. All methods belong to one event loop."""

    def __init__(self, settings: Settings) -> None:
        """Starts nothing."""
        self.settings = settings
        self.budget_bytes = (settings["memory"] << 20) or _machine_bytes() * 3 // 4
        self.failures: dict[str, str] = {}
        """Replica key to why its last start failed."""
        self._replicas: dict[str, ReplicaProcess] = {}
        self._starting: dict[str, asyncio.Task[ReplicaProcess]] = {}

    async def predict(self, resolved: Resolved, request: Request, deadline_s: float) -> AsyncIterator[Frame]:
        """Item frames, then the end frame with `value`, `steps` [ms]. Raises GliaError."""
        fields, buffers = split(request)
        replica = await self.replica(resolved)
        async for frame in replica.call("predict", {"fields": fields}, buffers, deadline_s):
            yield frame

    async def replica(self, resolved: Resolved) -> ReplicaProcess:
        """The replica that holds these models, started if need be; those who ask together wait for one start."""
        key = resolved.key
        replica = self._replicas.get(key)
        if replica is not None and replica.alive:
            return replica
        if key not in self._starting:
            starting = asyncio.create_task(self._start(resolved), name=f"start {key}")
            starting.add_done_callback(lambda _: self._starting.pop(key, None))
            self._starting[key] = starting
        # Shielded: a client that leaves must not take the start away from the others.
        return await asyncio.shield(self._starting[key])

    async def _start(self, resolved: Resolved) -> ReplicaProcess:
        dead = self._replicas.pop(resolved.key, None)
        if dead is not None:
            log.error("replica ended", extra={"fields": {"replica": dead.key, "status": dead.reap()}})
        await self._make_room()
        replica = ReplicaProcess(resolved, self.settings)
        try:
            await replica.start()
        except GliaError as error:
            self.failures[resolved.key] = error.message
            raise
        self.failures.pop(resolved.key, None)
        self._replicas[resolved.key] = replica
        return replica

    async def _make_room(self) -> None:
        """Stop the replicas that were idle longest until those that stay use less than the budget."""
        while self.used_bytes() > self.budget_bytes:
            idle = [replica for replica in self._replicas.values() if not replica.busy]
            if not idle:
                return
            oldest = min(idle, key=lambda replica: replica.last_used)
            log.info("replica evicted", extra={"fields": {"replica": oldest.key, "budget_mb": self.budget_bytes >> 20}})
            del self._replicas[oldest.key]
            await oldest.stop()

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
                "memory_bytes": memory_bytes(replica.pid),
                "sessions": replica.facts,
            }
            for replica in self._replicas.values()
            if replica.alive
        ]

    async def stop(self) -> None:
        """Stop every replica; what executes is lost."""
        for starting in list(self._starting.values()):
            starting.cancel()
        await asyncio.gather(*self._starting.values(), return_exceptions=True)
        await asyncio.gather(*(replica.stop() for replica in self._replicas.values()))
        self._replicas.clear()


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
