"""What every request passes: an id, the API key, draining, one error shape, one line in the log, safe headers."""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import logging
import re
import time
import uuid
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from glia.api.http.answers import problem
from glia.api.http.intake import Body, Intake
from glia.core.errors import Draining, ForeignOrigin, GliaError, NotAllowed

log = logging.getLogger("glia.access")

SAFE = tuple(
    (name, value.encode())
    for name, value in {
        b"x-content-type-options": "nosniff",
        b"referrer-policy": "no-referrer",
        b"content-security-policy": (
            "default-src 'self'; img-src 'self' data: blob:; media-src 'self' data: blob:; style-src 'self'; "
            "script-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
        ),
    }.items()
)
"""Headers of every answer that has none of that name, as they go over the wire."""


class Guard:
    """The outermost layer; handlers leave what the log should know in `scope["state"]["log"]`."""

    def __init__(self, app: ASGIApp, api_key: str, intake: Intake) -> None:
        """`api_key`: empty for none."""
        self.app = app
        self.api_key = api_key
        self.intake = intake

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if re.fullmatch(r"[\w.:-]{1,64}", given) else uuid.uuid4().hex[:16]
        fields: MutableMapping[str, Any] = {}
        start = time.perf_counter()
        scope.setdefault("state", {}).update(request_id=request_id, log=fields, began=start)
        status = 0

        async def send_safely(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = list(message.get("headers", ()))
                given_names = {name for name, _ in own}
                own += [pair for pair in SAFE if pair[0] not in given_names]
                message["headers"] = [*own, (b"x-request-id", request_id.encode())]
            await send(message)

        shared = scope["app"].state
        try:
            self._check(scope, headers)
            shared.in_flight += 1
            shared.idle.clear()
            try:
                body = Body(self.intake, receive, headers.get("content-length", ""))
                try:
                    await self.app(scope, body.receive, send_safely)
                finally:
                    body.leave()
            finally:
                shared.in_flight -= 1
                if shared.in_flight == 0:
                    shared.idle.set()
        except ClientDisconnect:
            status = status or 499
        except Exception as error:
            if not isinstance(error, GliaError):
                log.error("a request failed", exc_info=error)
                error = GliaError(f"Glia failed on this request. This is a bug; the log has request {request_id}.")
            if status == 0:
                await problem(error, request_id)(scope, receive, send_safely)
            fields["error"] = error.code
        status = status or 499
        shared.watch.answered(status)
        # What asks every second would drown the rest.
        level = logging.DEBUG if fields.pop("quiet", False) else logging.INFO
        line = {
            "id": request_id,
            "status": status,
            "ms": round((time.perf_counter() - start) * 1e3, 1),
            **fields,
        }
        # Quoted as it came: a line break in a path must not begin a line of the log.
        log.log(level, "%s %s", scope["method"], quote(scope["path"]), extra={"fields": line})

    def _check(self, scope: Scope, headers: Headers) -> None:
        if scope["path"].removeprefix(scope.get("root_path", "")) == "/health":
            return
        if self.api_key and not _has_key(headers, self.api_key):
            raise NotAllowed(
                "Expected the API key, received none or another. Send `Authorization: Bearer KEY` or `X-API-Key: KEY`."
            )
        if scope["app"].state.draining:
            raise Draining("The server is stopping; ask another, or try again in a moment.")


def refuse_other_sites(http: HttpRequest) -> None:
    """Let no other web site change anything through the browser of somebody who may. Raises ForeignOrigin.

    A browser names the page that asks in `Origin`, other clients send none. The own page is one whose host is the one
    that was asked; a name that somebody's DNS points here (rebinding) is such a host too, so without an API key only
    addresses and names of this machine count as own. `*` in cors_origins opens questions, not changes.
    """
    origin, shared = http.headers.get("origin"), http.app.state
    if origin is None or origin in shared.origins - {"*"}:
        return
    try:
        page = urlsplit(origin)
        own = page.netloc.lower() == http.headers.get("host", "").lower()
        if page.hostname and own and (shared.keyed or _is_address(page.hostname)):
            return
    except ValueError:
        pass  # no URL: nobody's origin
    raise ForeignOrigin(
        f"Expected this change from Glia's own page or a client that is no browser, received it from the page "
        f"{origin[:100]!r}. Add that origin to GLIA_CORS_ORIGINS, or set GLIA_API_KEY if it is Glia's page by a name."
    )


def _is_address(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _has_key(headers: Headers, key: str) -> bool:
    # As bytes: headers arrive as Latin-1, whatever the client meant.
    kind, _, credentials = headers.get("authorization", "").partition(" ")
    given = headers.get("x-api-key", "").encode("latin-1")
    if kind.lower() == "bearer":
        given = credentials.strip().encode("latin-1")
    elif kind.lower() == "basic":
        try:
            given = base64.b64decode(credentials).partition(b":")[2]
        except (binascii.Error, ValueError):
            given = b""
    return hmac.compare_digest(given, key.encode())
