"""The batcher: rows of requests that come at the same time share a run of the network."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Shaped

from glia.core.session import Session, Tensors, TensorSpec
from glia.core.timing import note_rows


@dataclass(eq=False)
class _Batch:
    """Requests that will share a run; all of one signature."""

    closes: float
    """When it runs, full or not [s on the monotonic clock]."""
    parts: list[Tensors] = field(default_factory=list)
    rows: int = 0
    closed: bool = False
    done: threading.Event = field(default_factory=threading.Event)
    outputs: Tensors | None = None
    error: BaseException | None = None


class Batcher:
    """A session in front of a session: concurrent runs are stacked along axis 0 and split again.

    Counts rows, not requests: a request of 5 rows takes 5 places. Rows wait for others at most `delay_ms`, and not at
    all once every thread that is at work has brought its own. Requests are stacked only where all other axes and the
    dtypes agree, so nothing is padded; a network whose first axis is fixed is not batched at all.
    """

    def __init__(self, session: Session, rows: int, delay_ms: float) -> None:
        """`rows`: most rows of one run; 1 or less passes everything through."""
        self._session = session
        self._most = rows
        self._delay_s = delay_ms / 1e3
        self._open: dict[Any, _Batch] = {}
        self._changed = threading.Condition()
        self._coming: set[int] = set()
        """Threads that work on a request and have not brought its rows yet."""
        self.inputs: tuple[TensorSpec, ...] = session.inputs
        self.outputs: tuple[TensorSpec, ...] = session.outputs
        specs = (*self.inputs, *self.outputs)
        self.stacks = rows > 1 and all(spec.shape and spec.shape[0] is None for spec in specs)
        """Whether this network can be given several requests at once."""

    def enter(self) -> None:
        """This thread begins a request whose rows may come to `run`."""
        with self._changed:
            self._coming.add(threading.get_ident())

    def leave(self) -> None:
        """It is done with it; those who waited for its rows need not."""
        with self._changed:
            self._coming.discard(threading.get_ident())
            self._changed.notify_all()

    def run(self, tensors: Mapping[str, Shaped[np.ndarray, "..."]]) -> Tensors:
        """As the session's; the outputs of these rows alone."""
        rows = {len(value) if value.ndim else 0 for value in tensors.values()}
        self.leave()
        count = rows.pop() if len(rows) == 1 else 0
        if not self.stacks or not 0 < count < self._most:
            return self._session.run(tensors)
        batch, first, leads = self._join(dict(tensors), count)
        if leads:
            self._lead(batch)
        else:
            batch.done.wait()
        if batch.error is not None:
            if len(batch.parts) == 1:
                raise batch.error
            # One of several may be at fault: each is run by itself, so that only that one fails.
            return self._session.run(tensors)
        assert batch.outputs is not None
        note_rows(batch.rows)
        return {name: value[first : first + count] for name, value in batch.outputs.items()}

    def _join(self, tensors: Tensors, count: int) -> tuple[_Batch, int, bool]:
        """The batch that takes these rows, their first row in it, and whether the caller is to run it."""
        signature = tuple((name, value.shape[1:], value.dtype.str) for name, value in sorted(tensors.items()))
        with self._changed:
            batch = self._open.get(signature)
            if batch is not None and batch.rows + count > self._most:
                batch.closed = True
                self._changed.notify_all()
                batch = None
            leads = batch is None
            if batch is None:
                batch = self._open[signature] = _Batch(time.monotonic() + self._delay_s)
            first = batch.rows
            batch.parts.append(tensors)
            batch.rows += count
            if batch.rows == self._most:
                batch.closed = True
            self._changed.notify_all()
            return batch, first, leads

    def _lead(self, batch: _Batch) -> None:
        """Wait until the batch is full, nobody else can come, or its time is over; then run it for all."""
        with self._changed:
            while not batch.closed and self._coming:
                left = batch.closes - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            batch.closed = True
            for signature, other in list(self._open.items()):
                if other is batch:
                    del self._open[signature]
        try:
            parts = batch.parts
            stacked = parts[0] if len(parts) == 1 else {n: np.concatenate([p[n] for p in parts]) for n in parts[0]}
            outputs = self._session.run(stacked)
            if any(len(value) != batch.rows for value in outputs.values()):
                raise ValueError("the network does not give one row for each that it takes")
            batch.outputs = outputs
        except BaseException as error:  # noqa: BLE001  handed to everyone who waits for this run
            batch.error = error
        finally:
            batch.done.set()

    def facts(self) -> dict[str, Any]:
        """The session's, and what the batcher allows."""
        return {**self._session.facts(), "batch": self._most if self.stacks else 1, "delay_ms": self._delay_s * 1e3}
