"""The card: a model's data sheet."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

RESEARCH_ONLY = "research-only"
NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,99}$"


class Sheet(BaseModel):
    """The base of everything written on a card: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Licence(Sheet):
    """What the weights and the data behind them may be used for: SPDX ids, `research-only`, or a sentence."""

    weights: str
    data: str = "unknown"

    @property
    def research_only(self) -> bool:
        """Whether either half forbids commercial use."""
        return RESEARCH_ONLY in (self.weights, self.data)


class Graph(Sheet):
    """One network of a model: its file, and the tensors by the names that the task uses for them."""

    file: str = "graph.onnx"
    sha256: str = ""
    bytes: int = 0
    inputs: dict[str, str] = Field(default_factory=dict, description="The task's name of a tensor to the graph's.")
    outputs: dict[str, str] = Field(default_factory=dict)


class SourceFile(Sheet):
    """A file that the model was made from, and where its bytes came from."""

    file: str
    sha256: str
    bytes: int
    source: str = ""


class Score(Sheet):
    """One measured figure: `value` of `metric` on `data` (`n` examples), published by or measured as `source` says."""

    metric: str
    value: float
    data: str
    n: int | None = None
    source: str


class Parity(Sheet):
    """The proof that the graph gives the original's numbers."""

    oracle: str = Field(description="What the graph was compared with; 'none' where no oracle exists.")
    probes: int = 0
    max_abs: float | None = None
    max_rel: float | None = None
    tolerance: float | None = None


class Example(Sheet):
    """A request with its recorded answer: the model's health check."""

    input: dict[str, Any] = Field(description="Parameters; a medium is the name of a file that lies beside the card.")
    output: Any
    tolerance: float = Field(0.02, description="How far a number of the answer may be off.")


Part = TypeVar("Part", bound=BaseModel)


class Card(Sheet):
    """What is known of a model: everything that training, evaluation and serving must agree on."""

    format: Literal[1] = 1
    name: str = Field(pattern=NAME_PATTERN)
    version: int = Field(0, description="Given by the store; 0 is not stored yet.")
    task: str
    title: str = ""
    description: str = ""
    service: str | None = Field(None, description="The service it can answer; without one, a service of its own name.")
    rank: int = Field(0, description="Among the models of its service, the highest is best.")
    licence: Licence = Licence(weights="unknown")
    graphs: dict[str, Graph] = Field(default_factory=dict, description="Role to graph.")
    preprocessing: dict[str, Any] = Field(default_factory=dict)
    activation: Literal["logits", "probabilities"] = "logits"
    labels: tuple[str, ...] = ()
    label_ids: tuple[str, ...] = Field(
        (), description="Ids of the labels in their vocabulary (WordNet's for ImageNet)."
    )
    options: dict[str, Any] = Field(default_factory=dict, description="What only this card's task reads.")
    scores: tuple[Score, ...] = ()
    source: str = ""
    source_files: tuple[SourceFile, ...] = ()
    parity: Parity = Parity(oracle="none")
    example: Example | None = None
    made_from: dict[str, str] = Field(
        default_factory=dict, description="Role to model@version, where a service combines several models."
    )

    @property
    def id(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"

    def graph(self, role: str = "model") -> Graph:
        """The graph of a role."""
        return self.graphs[role]

    def read_preprocessing(self, kind: type[Part]) -> Part:
        """The preprocessing constants as the type that the task reads. Raises pydantic's ValidationError."""
        return kind.model_validate(self.preprocessing)
