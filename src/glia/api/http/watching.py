"""Watching: `/metrics` for Prometheus, `/v1/status` for the live view, and what the log knows of a request."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from importlib.metadata import version
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from glia.api.describe import summary
from glia.core.errors import GliaError, InputError
from glia.runtime.directory import Directory, Resolved
from glia.serve.frames import Frame
from glia.serve.memory import read_memory
from glia.serve.pool import Pool
from glia.serve.watch import OK

SHOWN = ("name", "title", "model", "version", "licence", "research_only", "state", "message")
"""What the status says of a service besides its numbers."""
LISTED_S = 5.0
"""How long one look at the store does."""


class Watching:
    """The routes, with what they remember between two polls. Asking them starts no replica."""

    def __init__(self, pool: Pool, directory: Directory) -> None:
        """Looks at nothing yet."""
        self._pool = pool
        self._directory = directory
        self._services: tuple[float, list[Resolved]] = (float("-inf"), [])

    async def metrics(self, http: HttpRequest) -> Response:
        """Everything that is counted, as Prometheus reads it."""
        # Not imported before somebody scrapes: it costs the start of the server 50 ms.
        from glia.serve.metrics import metrics_text

        text, content_type = metrics_text(self._pool, http.headers.get("accept", ""))
        http.state.log["quiet"] = True
        return Response(text, headers={"content-type": content_type, "cache-control": "no-store"})

    async def status(self, http: HttpRequest) -> Response:
        """What the live view shows; `since`: the last second of the history that the caller knows."""
        given = http.query_params.get("since", "-1")
        try:
            since = int(given)
        except ValueError as error:
            raise InputError(f"Expected a whole number of seconds as `since`, received {given!r}.") from error
        replicas, services = self._pool.facts(), await self._listed()
        watch = self._pool.watch
        http.state.log["quiet"] = True
        body = {
            "version": version("glia"),
            "uptime_s": round(watch.uptime_s, 3),
            "memory": {
                "budget_bytes": self._pool.budget_bytes,
                "used_bytes": sum(one["memory_bytes"] for one in replicas),
                "counted_bytes": self._pool.used_bytes(),
                "front_bytes": read_memory(os.getpid()).used,
            },
            "requests": {
                "total": sum(counts.codes.total() for counts in watch.services.values()),
                "last_10_s": watch.lately(10),
                "last_60_s": watch.lately(60),
            },
            "replica_events": {
                name: getattr(watch, name).total()
                for name in ("starts", "start_failures", "deaths", "evictions", "unloads")
            },
            "services": [self._service(resolved, replicas) for resolved in services],
            "replicas": replicas,
            "history": watch.history(since),
        }
        return JSONResponse(body, headers={"cache-control": "no-store"})

    async def _listed(self) -> list[Resolved]:
        """Every service that a model answers."""
        seen, services = self._services
        if time.monotonic() - seen > LISTED_S:
            services = await asyncio.to_thread(self._look)
            self._services = (time.monotonic(), services)
        return services

    def _look(self) -> list[Resolved]:
        found = []
        for name in self._directory.names():
            with suppress(GliaError):
                found.append(self._directory.resolve(name))
        return found

    def _service(self, resolved: Resolved, replicas: list[dict[str, Any]]) -> dict[str, Any]:
        watch, pool = self._pool.watch, self._pool
        row = summary(resolved, pool.state(resolved), pool.failures.get(resolved.key))
        counts = watch.services.get(resolved.name)
        held = next((one for one in replicas if one["replica"] == resolved.key), None)
        in_flight = counts.in_flight if counts else 0
        executing = min(in_flight, held["executing"]) if held else 0
        return {name: row[name] for name in SHOWN} | {
            "replica": resolved.key,
            "requests": counts.codes.total() if counts else 0,
            "errors": {code: n for code, n in counts.codes.items() if code != OK} if counts else {},
            "waiting": in_flight - executing,
            "executing": executing,
            "mean_rows": round(counts.rows.sum / max(1, counts.codes[OK]), 2) if counts else 0,
            "steps_ms": watch.steps_ms(60, resolved.name),
            "last_10_s": watch.lately(10, resolved.name),
            "last_60_s": watch.lately(60, resolved.name),
        }


async def noted(log: dict[str, Any], frames: AsyncGenerator[Frame, None]) -> AsyncGenerator[Frame, None]:
    """The same frames; the request's line in the log gets the rows of its run, and steps [ms]."""
    async with aclosing(frames):
        async for frame in frames:
            if frame.kind == "end":
                log.update(log_of(frame.body))
            yield frame


def log_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """An end frame for the log."""
    steps = body.get("steps", {})
    return {"batch": body.get("batch", 1)} | {f"{name}_ms": round(ms, 1) for name, ms in steps.items()}
