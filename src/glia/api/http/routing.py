"""Routes: one a path, with its methods, and what a handler that changes something asks for first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from glia.api.http.guard import refuse_other_sites

Handler = Callable[[HttpRequest], Awaitable[Response]]


def route(path: str, **handlers: Handler) -> Route:
    """One route a path, so that a wrong method is told every right one."""

    async def handle(http: HttpRequest) -> Response:
        return await handlers["GET" if http.method == "HEAD" else http.method](http)

    return Route(path, handle, methods=list(handlers), name=path)


def changing(handler: Handler) -> Handler:
    """A handler that changes what the server holds: other web sites may not ask for it. Every such one goes through."""

    async def handle(http: HttpRequest) -> Response:
        refuse_other_sites(http)
        return await handler(http)

    return handle
