"""The pages: one frame of HTML, filled with what differs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache
from html import escape
from pathlib import Path

from starlette.requests import Request as HttpRequest
from starlette.responses import FileResponse, HTMLResponse, Response

UI = Path(__file__).parent.parent / "ui"

PAGES = {
    "/": ("Glia: deep-learning microservices you own", "Deep-learning microservices you own.", "app"),
    "/live": ("Live · Glia", "What this Glia server does now: requests, latency, memory, what is loaded.", "live"),
    "/docs": ("API · Glia", "Every route and parameter of this Glia server.", "docs"),
}
"""Path to title, description, and the script that draws it."""


@cache
def _html(path: str) -> str:
    title, description, script = PAGES[path]
    page = (UI / "page.html").read_text()
    for name, value in {"title": title, "description": description, "script": script}.items():
        page = page.replace("{{" + name + "}}", escape(value))
    for other in PAGES:
        page = page.replace("{{here " + other + "}}", ' aria-current="page"' if other == path else "")
    return page


def page(path: str) -> Callable[[HttpRequest], Awaitable[Response]]:
    """What answers with the page of this path."""

    async def answer(http: HttpRequest) -> Response:
        return HTMLResponse(_html(path))

    return answer


async def icon(http: HttpRequest) -> Response:
    """The icon, for browsers that ask for it beside what is no page."""
    return FileResponse(UI / "favicon.svg", media_type="image/svg+xml")
