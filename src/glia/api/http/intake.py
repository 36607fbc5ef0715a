"""Intake: how many bytes of bodies the server holds, all requests together, and how long one may take to arrive."""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive

from glia.core.errors import BodyTooSlow, Overloaded


class Intake:
    """Shared by all requests of a server: without it, slow or many large bodies would fill the machine's memory."""

    def __init__(self, most_bytes: int, longest_s: float) -> None:
        """`most_bytes`: of all bodies together; `longest_s`: until a body must have arrived."""
        self.most_bytes = most_bytes
        self.longest_s = longest_s
        self.held_bytes = 0


class Body:
    """What one request has received; its bytes are given back by `leave`."""

    def __init__(self, intake: Intake, receive: Receive, announced: str) -> None:
        """`announced`: the Content-Length header. Raises Overloaded where it says that there is no room for it."""
        self._intake = intake
        self._receive = receive
        self._bytes = 0
        self._whole = False
        self._asking = asyncio.current_task()
        self._late = False
        # One timer for the whole body: a timeout around every piece would cost more than the piece.
        self._timer = asyncio.get_running_loop().call_later(intake.longest_s, self._expire)
        if announced.isdigit():
            self._check(int(announced))

    def _check(self, more: int) -> None:
        if self._intake.held_bytes + more > self._intake.most_bytes and self._intake.held_bytes:
            raise Overloaded(
                f"The requests under way hold {self._intake.held_bytes / 2**20:.0f} MB already, of "
                f"{self._intake.most_bytes >> 20} MB that all may. Try again in a moment, or raise GLIA_MAX_PENDING_MB."
            )

    async def receive(self) -> Message:
        """The next message, counted. Raises Overloaded, BodyTooSlow."""
        try:
            message = await self._receive()
        except asyncio.CancelledError as error:
            if not self._late or self._asking is None:
                raise
            self._asking.uncancel()
            raise BodyTooSlow(
                f"Expected the whole body within {self._intake.longest_s:g} s, received {self._bytes:,} bytes of it."
            ) from error
        if self._whole:
            return message
        size = len(message.get("body", b""))
        self._check(size)
        self._bytes += size
        self._intake.held_bytes += size
        if not message.get("more_body", False):
            self._whole = True
            self._timer.cancel()
        return message

    def _expire(self) -> None:
        if self._asking is not None:
            self._late = True
            self._asking.cancel()

    def leave(self) -> None:
        """The request is over."""
        self._timer.cancel()
        self._intake.held_bytes -= self._bytes
        self._bytes = 0
