"""A foreign network with what it must give: recorded numbers, or those of a second reader."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

import foreign as room
from glia.core.errors import ImportFailed
from glia.importers.importer import ImportedGraph
from glia.importers.parity import compare
from glia.importers.sniff import importer_for


@dataclass(frozen=True)
class Probe:
    """Inputs and what the original gives for them, by the names of the imported graph's tensors."""

    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """One foreign network."""

    format: str
    name: str
    """Of the folder it comes from, and the network in it."""
    files: Mapping[str, Path]
    oracle: str
    """Where the numbers come from: `recorded`, or the second reader and its version; `none` where there is neither."""
    probes: Callable[[ImportedGraph], Sequence[Probe]] = lambda graph: ()
    """Called once the graph is there, so that it may read the graph's names and shapes."""
    options: Mapping[str, Any] = field(default_factory=dict)
    tolerance: float = 1e-4
    refused: str = ""
    """A pattern of the message with which it must be refused; empty: it must be imported."""


@dataclass(frozen=True)
class Outcome:
    """What became of a case."""

    case: Case
    words: str
    """`passed`, or what is the matter."""
    max_abs: float | None = None
    max_rel: float | None = None

    @property
    def right(self) -> bool:
        return self.words == "passed" or self.words.startswith("refused: ")


def all_cases() -> Iterator[Case]:
    """Those of every format whose files are here."""
    for module in pkgutil.iter_modules(room.__path__):
        if module.name != "case":
            yield from importlib.import_module(f"foreign.{module.name}").cases()


def import_case(case: Case) -> ImportedGraph:
    """Its only graph."""
    (graph,) = importer_for(case.files, case.format).read(case.files, case.options).values()
    return graph


def run_graph(graph: ImportedGraph) -> Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]:
    """The graph in ONNX Runtime, arrays to arrays."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.x64quantprecision", "1")  # no sums of 16 bits on older processors
    session = ort.InferenceSession(graph.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, dict(inputs)), strict=True))


def run_case(case: Case) -> Outcome:
    """Import it, and compare."""
    try:
        graph = import_case(case)
    except ImportFailed as error:
        if case.refused and re.search(case.refused, error.message):
            return Outcome(case, f"refused: {error.message}")
        return Outcome(case, f"failed: {error.message}")
    if case.refused:
        return Outcome(case, "failed: it was imported, and should be refused")
    run, probes = run_graph(graph), case.probes(graph)
    if not probes:
        return Outcome(case, "passed" if case.oracle == "none" else "failed: nothing to compare with")
    for probe in probes:
        wanted = {name: probe.outputs[name] for name in probe.outputs}

        def only_wanted(inputs: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray] = wanted) -> Any:
            return {name: value for name, value in run(inputs).items() if name in wanted}

        try:
            parity = compare(lambda _, wanted=wanted: wanted, only_wanted, [probe.inputs], case.tolerance, case.oracle)
        except ImportFailed as error:
            return Outcome(case, f"failed: {error.message}")
    return Outcome(case, "passed", parity.max_abs, parity.max_rel)
