"""Tiny tasks, one for each seam of the house, in one file that a test names with --tasks-dir."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, create_model

from glia.core.card import Card
from glia.core.fields import Answer
from glia.core.session import Session
from glia.core.task import Contract, Request, Task
from glia.data.image import Image


class Brightness(Task):
    """Tell how bright a picture is."""

    name = "image-brightness"
    roles = ()

    class Input(Request):
        """A picture."""

        image: Image = Field(description="The picture to measure.")
        floor: float = Field(0.0, ge=0, le=1, description="Brightness that counts as none.")

    Output = float

    def predict(self, x: Input, sessions: Mapping[str, Session], card: Card) -> float:
        """Mean of all samples, in [0, 1]."""
        return max(0.0, float(x.image.rgb().mean()) / 255 - x.floor)


class Mirroring(Task):
    """Swap left and right of a picture."""

    name = "image-mirroring"
    roles = ()

    class Input(Request):
        """A picture."""

        image: Image = Field(description="The picture to mirror.")

    Output = Image

    def predict(self, x: Input, sessions: Mapping[str, Session], card: Card) -> Image:
        """A PNG."""
        return Image.from_array(np.ascontiguousarray(x.image.rgb()[:, ::-1]))


class Comparison(Task):
    """Tell whether pictures are of one size."""

    name = "image-comparison"
    roles = ()

    class Input(Request):
        """Two pictures or more."""

        images: list[Image] = Field(min_length=2, max_length=4, description="The pictures to compare.")

    class Output(Answer):
        """Whether, and each one's size."""

        same: bool
        sizes: list[tuple[int, int]]

    def predict(self, x: Input, sessions: Mapping[str, Session], card: Card) -> Output:
        """By their headers."""
        sizes = [image.size() for image in x.images]
        return self.Output(same=len(set(sizes)) == 1, sizes=sizes)


class Counting(Task):
    """Count up to a number, saying each."""

    name = "counting"
    roles = ()

    class Input(Request):
        """How far."""

        upto: int = Field(ge=0, le=1000, description="The last number.")

    Output = list[int]

    def predict(self, x: Input, sessions: Mapping[str, Session], card: Card) -> Iterator[int]:
        """Each number as an item, then all of them."""
        yield from range(1, x.upto + 1)
        return list(range(1, x.upto + 1))


class Columns(Task):
    """Add up the columns that the card names."""

    name = "column-sum"

    class Input(Request):
        """A row."""

        row: dict[str, float] = Field(description="Column to value.")

    Output = float

    def contract(self, card: Card) -> Contract:
        """A row whose columns are the card's."""
        columns: dict[str, Any] = dict.fromkeys(card.options.get("columns", ["a"]), (float, ...))
        row = create_model("Row", __base__=Request, **columns)
        return Contract(create_model("Input", __base__=Request, row=(row, Field(description="The row."))), float)

    def preprocess(self, x: Any, card: Card) -> dict[str, np.ndarray]:
        """The values in the card's order."""
        values = [getattr(x.row, name) for name in card.options.get("columns", ["a"])]
        return {card.graph().inputs["row"]: np.array(values, np.float32)}

    def postprocess(self, y: Mapping[str, np.ndarray], x: Any, card: Card) -> float:
        """The sum."""
        return float(y[card.graph().outputs["sum"]].reshape(-1)[0])


class Roles(Task):
    """Run two networks, one after the other."""

    name = "two-networks"
    roles = ("first", "second")

    class Input(Request):
        """A number."""

        value: float = Field(description="The number that goes through both.")

    Output = float

    def predict(self, x: Input, sessions: Mapping[str, Session], card: Card) -> float:
        """Second of first."""
        value = np.array([[x.value]], np.float32)
        for role in self.roles:
            graph = card.graph(role)
            value = sessions[role].run({graph.inputs["row"]: value})[graph.outputs["sum"]].reshape(1, 1)
        return float(value[0, 0])


class Trouble(Task):
    """Do what goes wrong in native code."""

    name = "trouble"
    roles = ()

    class Input(Request):
        """What to do."""

        order: str = Field(description="die | crash | bug | wait:PATH | say:TEXT")

    Output = str

    def predict(self, x: Input, sessions: Mapping[str, Session], card: Card) -> str:
        """The order, unless it was to end."""
        word, _, rest = x.order.partition(":")
        if word == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "crash":
            ctypes.string_at(0)
        if word == "bug":
            raise RuntimeError("a bug with a secret in it")
        if word == "wait":
            Path(rest + ".started").touch()
            while not Path(rest).exists():
                time.sleep(0.005)
        return rest or word
