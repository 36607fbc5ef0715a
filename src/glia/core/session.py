"""The session: a graph loaded and ready to run, whatever library runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped

Tensors = dict[str, Shaped[np.ndarray, "..."]]
"""Tensor name to array."""


@dataclass(frozen=True)
class TensorSpec:
    """A tensor that a graph takes or gives; a free dimension is None."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@runtime_checkable
class Session(Protocol):
    """What every runtime offers. Safe to call from several threads at once."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What `run` takes, in the graph's order."""
        ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What `run` gives."""
        ...

    def run(self, tensors: Mapping[str, Shaped[np.ndarray, "..."]]) -> Tensors:
        """Every output, by name. Tensors carry their batch axis. Raises InputError for a tensor that does not fit."""
        ...

    def facts(self) -> dict[str, Any]:
        """Runtime, provider, threads: what the card of a running service shows."""
        ...
