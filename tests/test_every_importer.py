"""Every importer over every network of other people that is here: numbers compared, refusals with the right reason."""

from __future__ import annotations

import copy
from collections import Counter
from functools import cache

import numpy as np
import pytest
from onnx import numpy_helper

from foreign.case import Case, Outcome, all_cases, import_case, run_graph
from foreign.case import run_case as run
from glia.core.errors import ImportFailed
from glia.importers.importer import ImportedGraph
from glia.importers.parity import compare
from glia.importers.sniff import importers
from glia.store.catalog import catalog
from house import ROOT, SHARED

CASES = list(all_cases())
LEAST_SHARE = 0.9
needs_shared = pytest.mark.skipif(not (SHARED / "interop").is_dir(), reason="the networks of other people are not here")


@cache
def outcome(place: int) -> Outcome:
    return run(CASES[place])


@pytest.mark.parametrize("place", range(len(CASES)), ids=[f"{case.format}-{case.name}" for case in CASES])
def test_a_network_is_imported_with_its_numbers_or_refused_with_the_reason(place: int) -> None:
    assert outcome(place).right, outcome(place).words


@needs_shared
def test_nine_of_ten_of_each_format_are_imported() -> None:
    # Both kinds of Keras's files together: of the newer one a single network is here, of a class that no file holds.
    families = [case.format.replace("keras-v3", "keras-h5") for case in CASES]
    passed = Counter(family for place, family in enumerate(families) if outcome(place).words == "passed")
    shares = {family: passed[family] / count for family, count in Counter(families).items()}
    # State dicts need a design that is known here; that others are refused says nothing of the format.
    assert {name: share for name, share in shares.items() if share < LEAST_SHARE and name != "pytorch"} == {}


def compared() -> list[Case]:
    """The first network of each format that is compared with numbers."""
    first: dict[str, Case] = {}
    for case in CASES:
        if not case.refused and case.oracle != "none":
            first.setdefault(case.format, case)
    return list(first.values())


def flipped(graph: ImportedGraph, place: int) -> ImportedGraph:
    """The same with the sign of one of its largest kernels turned."""
    model = copy.deepcopy(graph.model)
    kernels = [one for one in model.graph.initializer if one.data_type == 1] or list(model.graph.initializer)
    kernels.sort(key=lambda one: -int(np.prod(one.dims)))
    chosen = kernels[min(place, len(kernels) - 1)]
    chosen.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(chosen), chosen.name))
    return ImportedGraph(model, graph.inputs, graph.outputs)


@pytest.mark.parametrize("case", compared(), ids=lambda case: f"{case.format}-{case.name}")
def test_a_turned_kernel_is_seen(case: Case) -> None:
    graph = import_case(case)
    probe = case.probes(graph)[0]
    # The first kernel of a network for sound is a Fourier transform, whose length knows no sign: then the second.
    run_flipped = run_graph(flipped(graph, int(case.format == "safetensors")))
    with pytest.raises(ImportFailed, match=r"off|shape|infinities"):
        compare(
            lambda _: probe.outputs,
            lambda inputs: {name: value for name, value in run_flipped(inputs).items() if name in probe.outputs},
            [probe.inputs],
            case.tolerance,
            case.oracle,
        )


@pytest.mark.parametrize("case", compared(), ids=lambda case: f"{case.format}-{case.name}")
def test_every_layer_is_in_the_table_that_explains(case: Case) -> None:
    graph = import_case(case)
    if case.format in ("onnx", "pytorch", "safetensors", "theano", "weights-manifest"):
        return  # what the table explains others by; and files of weights, whose layers are ours
    operators = Counter(operator for layer in graph.layers for operator in layer.nodes)
    there = Counter(node.op_type for node in graph.model.graph.node if node.op_type not in ("Identity", "Transpose"))
    assert there - operators == Counter(), "operators of no layer"


@pytest.mark.parametrize("format", sorted(importers()))
def test_no_importer_claims_what_is_none(format: str) -> None:
    random = np.random.default_rng(5)
    for head in (
        b"",
        b"\x00" * 64,
        b"{}",
        b"[]",
        b"PK\x03\x04",
        b"hello",
        bytes(random.integers(0, 256, 4096, np.uint8)),
    ):
        assert not importers()[format].sniff(head, len(head))


@needs_shared
def test_the_page_of_formats_says_what_was_seen() -> None:
    page = (ROOT / "docs/formats.md").read_text()
    for place, case in enumerate(CASES):
        rows = [line for line in page.splitlines() if line.startswith(f"| {case.name} |")]
        words = outcome(place).words.partition(":")[0]
        assert any(words in row for row in rows), f"{case.name}: run tools/formats.py"
    for name, entry in catalog().items():
        assert f"| {name} | {entry.format} | {entry.parity.oracle} |" in page, f"{name}: run tools/formats.py"
