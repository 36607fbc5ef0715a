"""Tensor inference: numbers through a network as it is, for networks that no other task knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Shaped
from pydantic import Field

from glia.core.card import Card
from glia.core.errors import InputError
from glia.core.session import Session, TensorSpec
from glia.core.task import Request, Task

Numbers = list[Any] | float | int
"""Numbers in lists in each other, as deep as the tensor has axes."""


class TensorInference(Task):
    """Run a network on tensors, past any other task."""

    name = "tensor-inference"

    class Input(Request):
        """What the network takes."""

        tensors: dict[str, Numbers] = Field(
            description="Each input by name: numbers, in lists in each other as its shape says. /v2 takes binary ones."
        )

    Output = dict[str, Any]

    def predict(self, x: Input, sessions: Mapping[str, Session], card: Card) -> dict[str, Any]:
        """Every output by name, in lists. Raises InputError for what does not fit the network."""
        (session,) = sessions.values()
        specs = {spec.name: spec for spec in session.inputs}
        if set(x.tensors) != set(specs):
            wanted = ", ".join(f"{spec.name} {_shape(spec)} {spec.dtype}" for spec in specs.values())
            raise InputError(f"Expected the tensors {wanted}; received {', '.join(x.tensors) or 'none'}.")
        given = {name: _array(specs[name], value) for name, value in x.tensors.items()}
        return {name: _plain(name, value) for name, value in session.run(given).items()}


def _shape(spec: TensorSpec) -> str:
    return str([size if size is not None else "n" for size in spec.shape]).replace("'", "")


def _array(spec: TensorSpec, value: Numbers) -> Shaped[np.ndarray, "..."]:
    try:
        return np.asarray(value, spec.dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(
            f"Tensor {spec.name}: expected numbers of {spec.dtype} in lists of the shape {_shape(spec)}, "
            "received others."
        ) from error


def _plain(name: str, value: Shaped[np.ndarray, "..."]) -> Any:
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise InputError(f"Output {name} holds infinity or what is no number, for which JSON has no words. Use /v2.")
    return value.tolist()
