"""What Glia chose to run a network with on this machine, so that the twin and the limit run the same."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from glia.data.resize import ImagePreprocessing
from glia.store.store import Store


@dataclass(frozen=True)
class Choice:
    """Runtime, precision, graph file, and how many runs at a time."""

    runtime: str
    precision: str
    graph: str
    lanes: int

    def __str__(self) -> str:
        """In a few words."""
        return f"{self.runtime} {self.precision} x{self.lanes}"


def plain_choice(home: Path, network: str) -> Choice:
    """ONNX Runtime, fp32, the graph as it is stored."""
    stored = Store(home).get(network)
    return Choice("onnxruntime", "fp32", str(stored.path(stored.card.graph().file)), os.cpu_count() or 1)


def read_choice(home: Path, network: str, info: dict[str, Any]) -> Choice:
    """From what a running server says about its replica (GET /info), once it has answered.

    The facts of a session are `runtime` ("onnxruntime 1.32.0"), `provider` ("cpu-fp32") and, where another file than
    the stored one is run, `graph` (its path).
    """
    plain = plain_choice(home, network)
    for replica in info.get("replicas", []):
        if network in replica["replica"]:
            facts = next(iter(replica["sessions"].values()))
            return replace(
                plain,
                runtime=str(facts["runtime"]).split()[0],
                precision=str(facts["provider"]).rpartition("-")[2],
                graph=str(facts.get("graph") or plain.graph),
                lanes=int(replica.get("lanes") or plain.lanes),
            )
    return plain


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
