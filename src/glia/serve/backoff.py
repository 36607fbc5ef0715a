"""Back-off: a replica that keeps ending is started ever more rarely, and reported."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

from glia.core.errors import ReplicaDied

FREE = 2
"""Ends within `WINDOW_S` that cost nothing: one bad input, and once more."""
WINDOW_S = 300.0
LONGEST_S = 60.0


@dataclass
class Failing:
    """The ends of one replica."""

    ends: deque[float] = field(default_factory=lambda: deque(maxlen=100))
    until: float = 0.0
    why: str = ""


class Backoff:
    """Which replicas may not be started yet: 1, 2, 4 ... 60 s after the third and each further end in five minutes."""

    def __init__(self) -> None:
        self._failing: dict[str, Failing] = {}

    def note(self, key: str, why: str) -> bool:
        """A replica ended without being asked to, or did not start; whether it must wait now."""
        now = time.monotonic()
        failing = self._failing.setdefault(key, Failing())
        while failing.ends and now - failing.ends[0] > WINDOW_S:
            failing.ends.popleft()
        failing.ends.append(now)
        failing.why = why
        over = len(failing.ends) - FREE - 1
        failing.until = now + min(2.0**over, LONGEST_S) if over >= 0 else 0.0
        return over >= 0

    def check(self, key: str, name: str) -> None:
        """Raises ReplicaDied, with when to try again, for a replica that may not be started yet."""
        failing = self._failing.get(key)
        left = failing.until - time.monotonic() if failing else 0.0
        if failing is None or left <= 0:
            return
        error = ReplicaDied(
            f"The process that holds {name} ended {len(failing.ends)} times within {WINDOW_S / 60:.0f} minutes, last "
            f"because: {failing.why}. It is started again in {left:.0f} s at the earliest; if one input ends it each "
            "time, report that input.",
            replica=key,
        )
        error.retry_after_s = max(1, round(left))
        raise error

    def forget(self, key: str) -> None:
        """Start afresh: someone asked for it by hand."""
        self._failing.pop(key, None)
