"""Lanes of a replica, as the front counts them: who waits for one, and who is next."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

BACKGROUND_TURN = 8
"""Of so many lanes that become free while both wait, one goes to the background: it is slowed, never starved."""


AHEAD = 4
"""At most so many requests are sent before a lane is free, so that no lane waits for its next one."""


class Lanes:
    """A semaphore with two queues: interactive requests go before those of batches. Belongs to one event loop.

    Interactive requests may take a few places more than there are lanes: they lie ready in the replica.
    """

    def __init__(self, count: int) -> None:
        """`count`: how many requests the replica works on at once."""
        self.count = count
        self.ahead = min(count, AHEAD)
        self._free = count + self.ahead
        self._turn = 0
        self._queues: tuple[deque[asyncio.Future[None]], deque[asyncio.Future[None]]] = (deque(), deque())

    @property
    def waiting(self) -> int:
        """Requests that wait for a lane."""
        return sum(not place.done() for queue in self._queues for place in queue)

    def take_at_once(self, background: bool = False) -> bool:
        """A place, if one is free now; the background takes only a lane itself."""
        if self._free <= (self.ahead if background else 0):
            return False
        self._free -= 1
        return True

    async def take(self, background: bool = False) -> None:
        """Wait for a place. A caller that is canceled loses it and costs nobody a lane."""
        if self.take_at_once(background):
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
        """A place is free: the next one who waits, and may have it, has it."""
        self._free += 1
        first = 0
        if self._queues[0] and self._queues[1]:
            self._turn += 1
            first = int(self._turn % BACKGROUND_TURN == 0)
        for background in (bool(first), not first):
            if background and not first and self._free <= self.ahead:
                continue  # not its turn, and what is free is for those who may not wait
            queue = self._queues[background]
            while queue:
                place = queue.popleft()
                if not place.done():
                    self._free -= 1
                    place.set_result(None)
                    return
