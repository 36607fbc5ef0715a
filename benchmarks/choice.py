"""What Glia chose to run a network with on this machine, so that the twin and the limit run the same."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from glia.core.settings import Settings
from glia.data.resize import ImagePreprocessing
from glia.runtime.plan import folder, plan_for, read_plans
from glia.store.store import Store


@dataclass(frozen=True)
class Choice:
    """Runtime, precision, graph file; how many runs at a time, and the cores of one."""

    runtime: str
    precision: str
    graph: str
    lanes: int
    threads: int

    def __str__(self) -> str:
        """In a few words."""
        return f"{self.runtime} {self.precision}, {self.lanes} lanes x {self.threads} threads"


def read_choice(home: Path, network: str, precision: str = "any") -> Choice:
    """The plan that a server with this home follows; `precision` as in the setting of that name."""
    stored = Store(home).get(network)
    plan = plan_for(stored.card, Settings({"home": str(home), "precision": precision}, environ={}))
    graph = stored.path(stored.card.graph().file)
    if plan.precision == "int8":
        graph = folder(home, stored.card) / f"int8-{next(iter(stored.card.graphs))}.onnx"
    return Choice(plan.runtime, plan.precision, str(graph), plan.lanes, plan.threads)


def is_tuned(home: Path, network: str) -> bool:
    """Whether plans were measured on this machine; without them a server follows the default."""
    return read_plans(home, Store(home).get(network, verify=False).card) is not None


def write_spec(file: Path, home: Path, network: str, choice: Choice) -> Path:
    """The network's constants and the choice, as JSON for systems that do not know Glia."""
    card = Store(home).get(network, verify=False).card
    how = card.read_preprocessing(ImagePreprocessing).model_dump()
    assert how["order"] == "crop-then-resize", f"{network}: the peers only crop, then resize"
    graph = card.graph()
    spec = {
        **how,
        **asdict(choice),
        "input": graph.inputs["image"],
        "activation": card.activation,
        "labels": card.labels,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(spec))
    return file
