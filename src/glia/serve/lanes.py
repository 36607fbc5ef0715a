"""Lanes of a replica, as the front counts them: who waits for one, and who is next."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

BACKGROUND_TURN = 8
"""Of so many lanes that become free while both wait, one goes to the background: it is slowed, never starved."""


class Lanes:
    """A semaphore with two queues: interactive requests go before those of batches. Belongs to one event loop."""

    def __init__(self, count: int) -> None:
        """`count`: how many requests may hold a lane at once."""
        self.count = count
        self._free = count
        self._turn = 0
        self._queues: tuple[deque[asyncio.Future[None]], deque[asyncio.Future[None]]] = (deque(), deque())

    @property
    def waiting(self) -> int:
        """Requests that wait for a lane."""
        return sum(not place.done() for queue in self._queues for place in queue)

    def take_at_once(self) -> bool:
        """A lane, if one is free now."""
        if not self._free:
            return False
        self._free -= 1
        return True

    async def take(self, background: bool = False) -> None:
        """Wait for a lane. A caller that is canceled loses its place and costs nobody a lane."""
        if self.take_at_once():
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue = self._queues[background]
        queue.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.free()  # it was given a lane at the very moment it left
            else:
                with suppress(ValueError):
                    queue.remove(place)
            raise

    def free(self) -> None:
        """A lane is free: the next one who waits has it."""
        first = 0
        if self._queues[0] and self._queues[1]:
            self._turn += 1
            first = int(self._turn % BACKGROUND_TURN == 0)
        for queue in (self._queues[first], self._queues[1 - first]):
            while queue:
                place = queue.popleft()
                if not place.done():
                    place.set_result(None)
                    return
        self._free += 1
