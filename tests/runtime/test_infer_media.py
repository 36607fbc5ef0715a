"""Requests through a task's preprocessing to the raw outputs of its graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from glia.core.card import Card
from glia.core.errors import InputError
from glia.core.session import Tensors, TensorSpec
from glia.core.task import Request, Task
from glia.runtime import service
from glia.runtime.service import Service


class Numbers(Task):
    """Give a number to a network."""

    name = "numbers"

    class Input(Request):
        """A number."""

        number: int

    Output = float

    def preprocess(self, x: Any, card: Card) -> dict[str, np.ndarray]:
        """The number."""
        return {"x": np.array([x.number], np.float32)}


class Shapes:
    """A session whose output's shape follows the number it gets."""

    inputs = (TensorSpec("x", "float32", (None, 1)),)
    outputs = (TensorSpec("y", "float32", (None, None)),)

    def __init__(self, shape: Any) -> None:
        self.shape = shape
        self.runs: list[tuple[int, ...]] = []

    def run(self, tensors: Mapping[str, np.ndarray]) -> Tensors:
        self.runs.append(tensors["x"].shape)
        number = int(tensors["x"][0, 0])
        return {"y": np.full(self.shape(number), number, np.float32)}

    def facts(self) -> dict[str, Any]:
        return {}


def infer(session: Shapes, *numbers: int) -> Tensors:
    task = Numbers()
    requests: Iterator[Request] = (task.Input(number=number) for number in numbers)
    return Service(task, Card(name="numbers", task="numbers"), {"model": session}).infer_media("", requests)


def test_outputs_are_stacked_and_the_network_sees_one_at_a_time() -> None:
    session = Shapes(lambda number: (1, 2))
    np.testing.assert_array_equal(infer(session, 3, 4, 5)["y"], [[3, 3], [4, 4], [5, 5]])
    assert session.runs == [(1, 1)] * 3


@pytest.mark.parametrize("shape", [(), (0, 6), (4, 6)])
def test_one_alone_gives_what_the_graph_gives_whatever_its_shape(shape: tuple[int, ...]) -> None:
    assert infer(Shapes(lambda number: shape), 1)["y"].shape == shape
    with pytest.raises(InputError, match="Send one at a time"):
        infer(Shapes(lambda number: shape), 1, 2)


def test_outputs_of_other_sizes_are_not_stacked() -> None:
    with pytest.raises(InputError, match="Output y has other sizes for other inputs"):
        infer(Shapes(lambda number: (1, number)), 1, 2)


def test_outputs_are_bounded_while_they_are_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "LARGEST_ANSWER_BYTES", 1 << 20)
    session = Shapes(lambda number: (1, 100_000))
    with pytest.raises(InputError, match="at most 1 MB in all; the first 3 inputs gave more"):
        infer(session, *range(100))
    assert len(session.runs) == 3


def test_an_unknown_output_or_role_is_refused() -> None:
    session = Shapes(lambda number: (1, 1))
    asked = Service(Numbers(), Card(name="numbers", task="numbers"), {"model": session})
    asked.check_outputs("", {"y"})
    with pytest.raises(InputError, match="No output is named 'z'; there are y"):
        asked.check_outputs("model", {"z"})
    with pytest.raises(InputError, match="there are model"):
        asked.check_outputs("other", ())
