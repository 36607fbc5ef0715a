"""The client's connection: work ends when it does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest

T = TypeVar("T")


async def while_connected(http: HttpRequest, work: Awaitable[T]) -> T:
    """The work's result; canceled when the client leaves, so that its place is free. Raises ClientDisconnect."""
    asking = asyncio.current_task()
    assert asking is not None
    left = False

    async def watch() -> None:
        nonlocal left
        await _disconnected(http)
        left = True
        asking.cancel()

    watching = asyncio.create_task(watch())
    try:
        return await work
    except asyncio.CancelledError as error:
        if not left:
            raise
        asking.uncancel()
        raise ClientDisconnect from error
    finally:
        watching.cancel()


async def _disconnected(http: HttpRequest) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass
