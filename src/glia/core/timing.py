"""Where a request's milliseconds went: named steps, collected without passing a stopwatch through every call."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Steps = dict[str, float]
"""Step name to duration [ms]."""

_steps: ContextVar[Steps | None] = ContextVar("glia_steps", default=None)
_inner: ContextVar[list[float] | None] = ContextVar("glia_inner", default=None)


@contextmanager
def timed() -> Iterator[Steps]:
    """Collect the steps measured inside this block, on this thread."""
    steps: Steps = {}
    token = _steps.set(steps)
    try:
        yield steps
    finally:
        _steps.reset(token)


@contextmanager
def step(name: str) -> Iterator[None]:
    """Add this block's own time to step `name`; a step inside it is counted there, not here. Free when nobody asks."""
    steps = _steps.get()
    if steps is None:
        yield
        return
    outer = _inner.get()
    nested = [0.0]
    token = _inner.set(nested)
    start = time.perf_counter()
    try:
        yield
    finally:
        total_ms = (time.perf_counter() - start) * 1e3
        _inner.reset(token)
        if outer is not None:
            outer[0] += total_ms
        steps[name] = steps.get(name, 0.0) + total_ms - nested[0]


_rows: ContextVar[int] = ContextVar("glia_rows", default=1)


def note_rows(rows: int) -> None:
    """Say how many rows the run had that answered this thread's request."""
    _rows.set(rows)


def take_rows() -> int:
    """What was said since the last time, else 1."""
    rows = _rows.get()
    _rows.set(1)
    return rows
