"""The task: what is asked of a network, as a typed contract with its pre- and postprocessing."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, get_args, get_origin

import numpy as np
from jaxtyping import Shaped
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from glia.core.card import Card
from glia.core.errors import InputError
from glia.core.fields import Media
from glia.core.session import Session, Tensors


class Request(BaseModel):
    """The base of every Input: frozen, unknown fields refused. Its first field is the subject, the rest parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Contract:
    """Input and Output of a task for one model: all that a door needs to know."""

    input: type[Request]
    output: Any

    @cached_property
    def subject(self) -> str:
        """The name of the first field."""
        return next(iter(self.input.model_fields))

    @cached_property
    def media_fields(self) -> dict[str, type[Media]]:
        """Fields that hold media, one or a list, with the class of the medium."""
        found = {}
        for name, field in self.input.model_fields.items():
            for kind in (field.annotation, *get_args(field.annotation)):
                if inspect.isclass(kind) and issubclass(kind, Media):
                    found[name] = kind
        return found

    @property
    def subject_media(self) -> type[Media] | None:
        """The class of the subject's medium, or None where the subject is plain JSON."""
        return self.media_fields.get(self.subject)

    def is_many(self, field: str) -> bool:
        """Whether a field takes a list."""
        annotation = self.input.model_fields[field].annotation
        return get_origin(annotation) in (list, tuple)

    @cached_property
    def output_adapter(self) -> TypeAdapter[Any]:
        """Validates and dumps answers."""
        return TypeAdapter(self.output)

    @cached_property
    def output_media(self) -> type[Media] | None:
        """The class of the medium that the answer is, or None where it is JSON."""
        return self.output if inspect.isclass(self.output) and issubclass(self.output, Media) else None

    @cached_property
    def input_schema(self) -> dict[str, Any]:
        """JSON Schema of a request."""
        return self.input.model_json_schema()

    @cached_property
    def output_schema(self) -> dict[str, Any]:
        """JSON Schema of an answer."""
        return self.output_adapter.json_schema()

    def request(self, fields: Mapping[str, Any]) -> Request:
        """The validated request. Raises InputError, or the medium's own error."""
        request = self.known_request(fields)
        for name in self.media_fields:
            value = getattr(request, name)
            for medium in value if isinstance(value, list | tuple) else [value]:
                if medium is not None:
                    medium.check()
        return request

    def known_request(self, fields: Mapping[str, Any]) -> Request:
        """The same where another process has looked at the media's headers already. Raises InputError."""
        try:
            return self.input.model_validate(fields)
        except ValidationError as error:
            raise explain(error, self.input) from error

    def answer_json(self, answer: Any) -> Any:
        """The answer as plain JSON; media inside it become data: URLs."""
        return self.output_adapter.dump_python(answer, mode="json")


def explain(error: ValidationError, model: type[BaseModel]) -> InputError:
    """A pydantic error as ours: which field, what was expected, what came."""
    problems = error.errors(include_url=False)
    for problem in problems:
        cause = problem.get("ctx", {}).get("error")
        if isinstance(cause, InputError):
            return cause
    lines = []
    for problem in problems:
        where = ".".join(str(part) for part in problem["loc"]) or "the request"
        if problem["type"] == "extra_forbidden":
            lines.append(f"{where}: unknown; the fields are {', '.join(model.model_fields)}")
        elif problem["type"] == "missing":
            lines.append(f"{where}: required, but missing")
        else:
            received = repr(problem["input"])
            lines.append(f"{where}: {problem['msg']}; received {received[:80]}{'...' if len(received) > 80 else ''}")
    return InputError("; ".join(lines), fields=[".".join(str(part) for part in p["loc"]) for p in problems])


class Task:
    """What is asked of a network. Subclasses are one file each; the docstring's first line is shown at every door."""

    name: ClassVar[str]
    """Hugging Face's id where they have one."""

    Input: ClassVar[type[Request]]
    Output: ClassVar[Any]

    roles: ClassVar[tuple[str, ...]] = ("model",)
    """The graphs that it needs; none for a task that is plain code."""

    metrics: ClassVar[tuple[str, ...]] = ()
    """How its answers are scored: names in `glia.evaluate.metrics`."""

    card_needs: ClassVar[tuple[str, ...]] = ()
    """What a card must say of a network of this task: `labels`, or constants of its preprocessing."""

    evaluation: ClassVar[Mapping[str, Any]] = {}
    """Parameters of the requests that are made to evaluate."""

    def contract(self, card: Card) -> Contract:
        """The contract of this model; most tasks ignore the card."""
        return Contract(self.Input, self.Output)

    def preprocess(self, x: Any, card: Card) -> Tensors:
        """A request to one sample: tensors by the graph's names, without batch axis."""
        raise NotImplementedError(f"task {self.name} defines neither preprocess nor predict")

    def postprocess(self, y: Mapping[str, Shaped[np.ndarray, "..."]], x: Any, card: Card) -> Any:
        """Raw outputs of one sample, without batch axis, to the answer."""
        raise NotImplementedError(f"task {self.name} defines neither postprocess nor predict")

    def predict(self, x: Any, sessions: Mapping[str, Session], card: Card) -> Any | Iterator[Any]:
        """The hatch for work in stages: override it to run networks many times.

        A generator yields items as they come and returns the answer.
        """
        raise NotImplementedError

    @property
    def title(self) -> str:
        """First line of the docstring, without its full stop."""
        return (inspect.getdoc(type(self)) or self.name).splitlines()[0].rstrip(".")

    @property
    def description(self) -> str:
        """The whole docstring."""
        return inspect.getdoc(type(self)) or ""

    @property
    def in_stages(self) -> bool:
        """Whether the task overrides `predict`."""
        return type(self).predict is not Task.predict
