"""Statistics: what each replica was asked since the server started, counted and added up.

Source: https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_statistics.md
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from glia.serve.watch import CLIENT_GONE, OK

QUEUE, RUN = frozenset({"queue"}), frozenset({"run"})
OUTPUT = frozenset({"postprocess"})
"""Steps of a request by what they are counted as; every other one prepares the input."""


@dataclass
class Duration:
    """How often something happened, and how long it took in all [ns]."""

    count: int = 0
    ns: int = 0

    def add(self, ms: float) -> None:
        """Once more, `ms` long."""
        self.count += 1
        self.ns += int(ms * 1e6)


@dataclass
class Account:
    """What one replica, or its successors of the same key, did."""

    inferences: int = 0
    """Rows that were answered."""

    executions: int = 0
    """Requests that were answered."""

    last: float = 0.0
    """When the last request ended [s since 1970]; 0 for never."""

    durations: dict[str, Duration] = field(
        default_factory=lambda: {
            name: Duration()
            for name in ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")
        }
    )


class Statistics:
    """Accounts by replica key. Kept over unloading and loading: they end with the server."""

    def __init__(self) -> None:
        """Nothing was asked yet."""
        self.accounts: dict[str, Account] = {}

    def account(self, key: str) -> Account:
        """What was counted under a key; zeros where nothing was."""
        return self.accounts.get(key) or Account()

    def ended(self, key: str, rows: int, code: str, ms: float, steps: Mapping[str, float]) -> None:
        """A request of `rows` rows ended, as `Watch.watched` tells it; one whose client left is neither."""
        if code == OK:
            self.succeeded(key, rows, steps)
        elif code != CLIENT_GONE:
            self.failed(key, ms)

    def succeeded(self, key: str, rows: int, steps: Mapping[str, float]) -> None:
        """A request was answered. `steps`: where its milliseconds went, waiting included, which is all of them."""
        account = self._ended(key)
        account.inferences += rows
        account.executions += 1
        parts = dict.fromkeys(("queue", "compute_input", "compute_infer", "compute_output"), 0.0)
        for name, ms in steps.items():
            parts[_part(name)] += ms
        for part, ms in parts.items():
            account.durations[part].add(ms)
        account.durations["success"].add(sum(parts.values()))

    def failed(self, key: str, ms: float) -> None:
        """A request was refused or lost after so many milliseconds."""
        self._ended(key).durations["fail"].add(ms)

    def _ended(self, key: str) -> Account:
        account = self.accounts.setdefault(key, Account())
        account.last = time.time()
        return account


def _part(step: str) -> str:
    if step in QUEUE:
        return "queue"
    if step in RUN:
        return "compute_infer"
    return "compute_output" if step in OUTPUT else "compute_input"
