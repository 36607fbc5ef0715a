"""The HTTP application: routes over services, none of which names a task."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

import glia.store
from glia.api.describe import describe, summary
from glia.api.http import answers, body
from glia.api.http.connection import while_connected
from glia.api.http.guard import Guard
from glia.api.http.inference_protocol import InferenceProtocol
from glia.api.http.intake import Intake
from glia.api.http.openapi import openapi
from glia.api.http.pages import PAGES, UI, icon, page
from glia.api.http.routing import route
from glia.api.http.watching import Watching, log_of, noted
from glia.core.errors import GliaError, InputError, MethodNotAllowed, NoModel, NotFound
from glia.core.settings import Settings
from glia.core.task import Request as TaskRequest
from glia.data.limits import apply_limits
from glia.runtime.directory import Directory, Resolved
from glia.serve.frames import Frame
from glia.serve.memory import machine_bytes
from glia.serve.pool import Pool

log = logging.getLogger("glia.http")

SAMPLES = Path(glia.store.__file__).parent / "samples"
TIDY_S = 5.0
"""How often replicas are looked for that nothing is served by any more."""
FRESH_S = 1.0
"""How long a resolution is reused: a model fetched or bound by another process is served after this."""


class Door:
    """The handlers, with what they share."""

    def __init__(self, settings: Settings) -> None:
        """Reads the task files; starts no replica."""
        self.settings = settings
        self.directory = Directory(settings)
        self.pool = Pool(settings)
        self.watching = Watching(self.pool, self.directory)
        apply_limits(settings)
        self._resolved: dict[str, Resolved] = {}
        self._stamp: object = None
        self._looked = -FRESH_S

    def resolve(self, ref: str) -> Resolved:
        """A service by name, from memory as long as nothing has changed in the store and the bindings."""
        now = time.monotonic()
        if now - self._looked > FRESH_S:
            stamp, self._looked = self.directory.stamp(), now
            if stamp != self._stamp or len(self._resolved) > 1000:
                self._stamp = stamp
                self._resolved.clear()
        if ref not in self._resolved:
            self._resolved[ref] = self.directory.resolve(ref)
        return self._resolved[ref]

    async def predict(self, http: HttpRequest) -> Response:
        """One request to a service."""
        resolved = self.resolve(http.path_params["name"])
        with self.pool.watch.refusals(resolved.name):
            limit_s = body.deadline_s(http, self.settings["deadline_s"])
            request = await body.read_request(http, resolved.contract, self.settings["max_body_mb"] << 20)
            spent_s = body.spent_s(http, limit_s)
        http.state.log.update(service=resolved.name, replica=resolved.key)
        frames = self.pool.predict(resolved, request, limit_s, spent_s=spent_s)
        accept = http.headers.get("accept", "")
        if "text/event-stream" in accept:
            return answers.events(noted(http.state.log, frames), resolved)
        frame = await while_connected(http, last(frames))
        http.state.log.update(log_of(frame.body))
        return answers.answer(frame, resolved, accept)

    async def batch(self, http: HttpRequest) -> Response:
        """Many requests to a service: a list of answers or problems, one each, in their order."""
        resolved = self.resolve(http.path_params["name"])
        with self.pool.watch.refusals(resolved.name):
            limit_s = body.deadline_s(http, self.settings["deadline_s"])
            requests = await body.read_requests(http, resolved.contract, self.settings["max_body_mb"] << 20)
        # No more at a time than a few lanes' worth: a batch must not fill the queue that single requests wait in.
        room = asyncio.Semaphore(2 * (await self.pool.replica(resolved)).lanes)

        async def one(request: TaskRequest | InputError) -> Any:
            if isinstance(request, InputError):
                self.pool.watch.refused(resolved.name, request)
                return request.problem()
            async with room:
                try:
                    frame = await last(self.pool.predict(resolved, request, limit_s, background=True))
                except GliaError as error:
                    return error.problem()
            return answers.plain(answers.value_of(frame, resolved))

        http.state.log.update(service=resolved.name, replica=resolved.key, batch=len(requests))
        results = await while_connected(http, asyncio.gather(*(one(request) for request in requests)))
        return JSONResponse(list(results), headers={"x-glia-model": answers.model_header(resolved)})

    async def services(self, http: HttpRequest) -> Response:
        """Every service, with its model and its state."""
        names = await asyncio.to_thread(self.directory.names)
        return JSONResponse({"services": [self._summary(name) for name in names]})

    async def service(self, http: HttpRequest) -> Response:
        """One service: card, schemas, example."""
        resolved = self.resolve(http.path_params["name"])
        return JSONResponse(describe(resolved, self.pool.state(resolved)))

    def _summary(self, name: str) -> dict[str, Any]:
        try:
            resolved = self.resolve(name)
        except GliaError as error:
            return (
                {"name": name, "title": "", "ready": False, "state": "no-model", "message": error.message}
                | dict.fromkeys(("task", "description", "model", "version", "licence"))
                | self.directory.known(name)
            )
        return summary(resolved, self.pool.state(resolved), self.pool.failures.get(resolved.key))

    async def health(self, http: HttpRequest) -> Response:
        """200 while alive, 503 while draining."""
        draining = http.app.state.draining
        return JSONResponse({"status": "draining" if draining else "ok"}, 503 if draining else 200)

    async def info(self, http: HttpRequest) -> Response:
        """What this server is."""
        return JSONResponse(
            {
                "name": "glia",
                "version": version("glia"),
                "tasks": sorted(self.directory.tasks),
                "replicas": self.pool.facts(),
                "memory_budget_bytes": self.pool.budget_bytes,
            }
        )

    async def openapi(self, http: HttpRequest) -> Response:
        """The OpenAPI description of every service that can be asked."""
        names = await asyncio.to_thread(self.directory.names)
        resolved = []
        for name in names:
            with contextlib.suppress(GliaError):
                resolved.append(self.resolve(name))
        return JSONResponse(openapi(resolved, http.scope.get("root_path", ""), bool(self.settings["api_key"])))

    async def tidy(self) -> None:
        """Unload what was served once and is now bound to another model, or deleted; as long as the server is up."""
        known: dict[str, str] = {}
        while True:
            await asyncio.sleep(TIDY_S)
            known |= {ref: resolved.key for ref, resolved in self._resolved.items()}
            for ref in list(known):
                try:
                    known[ref] = self.resolve(ref).key
                except GliaError:
                    del known[ref]
            await self.pool.retain(set(known.values()))

    async def warm(self) -> None:
        """Load what fits the budget before the first request asks; a failure is shown, not fatal."""
        for name in self.directory.names():
            try:
                resolved = self.resolve(name)
                if self.pool.has_room(resolved):
                    await self.pool.replica(resolved)
            except (NoModel, NotFound):
                continue
            except GliaError as error:
                log.error("service %s did not load: %s", name, error.message)


async def last(frames: AsyncIterator[Frame]) -> Frame:
    """The end frame; items before it are dropped."""
    found: Frame | None = None
    async for frame in frames:
        found = frame
    assert found is not None
    return found


async def _refused(http: HttpRequest, error: Exception) -> Response:
    """What the router itself refuses, in the shape of every other error."""
    assert isinstance(error, HTTPException)
    wrong: GliaError
    if error.status_code == 405:
        allowed = ", ".join(sorted(Headers(error.headers).get("allow", "GET, HEAD").split(", ")))
        wrong = MethodNotAllowed(f"Expected {allowed}, received {http.method} on {http.url.path}.")
        answer = answers.problem(wrong, http.state.request_id)
        answer.headers["allow"] = allowed
        return answer
    wrong = NotFound(f"No route {http.method} {http.url.path}. /openapi.json lists them all.")
    return answers.problem(wrong, http.state.request_id)


def _routes(door: Door) -> list[Route | Mount]:
    services = [
        one
        for prefix in ("/v1/services", "/models")
        for one in (
            route(f"{prefix}/{{name}}", GET=door.service, POST=door.predict),
            route(f"{prefix}/{{name}}/batch", POST=door.batch),
        )
    ]
    return [
        *services,  # first, because routes are tried one after another
        *(route(path, GET=page(path)) for path in PAGES),
        route("/favicon.ico", GET=icon),
        route("/metrics", GET=door.watching.metrics),
        route("/v1/status", GET=door.watching.status),
        route("/health", GET=door.health),
        route("/info", GET=door.info),
        route("/openapi.json", GET=door.openapi),
        route("/v1/services", GET=door.services),
        *InferenceProtocol(door.settings, door.directory, door.pool, door.resolve).routes(),
        Mount("/ui/samples", StaticFiles(directory=SAMPLES)),
        Mount("/ui", StaticFiles(directory=UI)),
    ]


def build_app(settings: Settings) -> Starlette:
    """The ASGI application; its lifespan starts and stops the replicas."""
    door = Door(settings)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        beside = [asyncio.create_task(door.warm()), asyncio.create_task(door.tidy())]
        yield
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        await door.pool.stop()

    pending = settings["max_pending_mb"] << 20 or min(1 << 30, machine_bytes() // 8)
    intake = Intake(pending, settings["deadline_s"])
    middleware = [Middleware(Guard, api_key=settings["api_key"], intake=intake)]
    origins = [origin.strip() for origin in settings["cors_origins"].split(",") if origin.strip()]
    if origins:
        middleware.insert(
            0,
            Middleware(
                CORSMiddleware,
                allow_origins=origins,
                allow_methods=["GET", "POST"],
                allow_headers=["*"],
                expose_headers=["server-timing", "x-glia-model", "x-request-id", "inference-header-content-length"],
            ),
        )
    app = Starlette(
        routes=_routes(door), middleware=middleware, lifespan=lifespan, exception_handlers={HTTPException: _refused}
    )
    app.state.origins, app.state.keyed = frozenset(origins), bool(settings["api_key"])
    app.state.draining = False
    app.state.in_flight = 0
    app.state.idle = asyncio.Event()
    app.state.idle.set()
    app.state.door = door
    app.state.watch = door.pool.watch
    return app
