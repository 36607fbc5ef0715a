"""The head of a request: uvicorn's protocol, with a limit on how long one may take to arrive."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LONGEST_HEAD_S = 20.0


def protocol(deadline_s: float) -> type[HttpToolsProtocol]:
    """The class that uvicorn makes for each connection; `deadline_s`: of a request, which its head may not exceed.

    A connection that says nothing, or half a head, is closed: else a client could hold any number of them for ever.
    Between two requests uvicorn's own keep-alive limit counts.
    """

    class Limited(HttpToolsProtocol):
        _late: asyncio.TimerHandle

        def _expect_head(self) -> None:
            self._late = self.loop.call_later(min(LONGEST_HEAD_S, deadline_s), self.transport.close)

        def connection_made(self, transport: Any) -> None:
            """A client is there."""
            super().connection_made(transport)
            self._expect_head()

        def on_message_begin(self) -> None:
            """The first byte of a request is there."""
            self._late.cancel()
            self._expect_head()
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            """Its head is."""
            self._late.cancel()
            super().on_headers_complete()

        def connection_lost(self, exc: Exception | None) -> None:
            """The client is gone."""
            self._late.cancel()
            super().connection_lost(exc)

    return Limited
