"""Metrics: how far answers agree with what was wanted. Each takes plain answers and targets, one a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from glia.core.errors import InputError

Metric = Callable[[Sequence[Any], Sequence[Any]], float]


def _hits(answers: Sequence[Any], targets: Sequence[Any], k: int) -> float:
    """Share of rows with a label of the row's target (a set of labels) among the `k` best."""
    found = sum(
        any(score["label"] in target for score in answer[:k]) for answer, target in zip(answers, targets, strict=True)
    )
    return found / len(targets)


def top1(answers: Sequence[Any], targets: Sequence[Any]) -> float:
    """Share of rows whose best label is a wanted one, in [0, 1]."""
    return _hits(answers, targets, 1)


def top5(answers: Sequence[Any], targets: Sequence[Any]) -> float:
    """Share of rows whose five best labels hold a wanted one, in [0, 1]."""
    return _hits(answers, targets, 5)


METRICS: dict[str, Metric] = {"top1": top1, "top5": top5}


def metric_named(name: str) -> Metric:
    """One of `METRICS`. Raises InputError."""
    if name not in METRICS:
        raise InputError(f"No metric is named {name!r}; there are {', '.join(sorted(METRICS))}.")
    return METRICS[name]
