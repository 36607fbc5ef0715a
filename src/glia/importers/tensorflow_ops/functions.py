"""Functions of a GraphDef: bodies of calls, branches and loops, as TensorFlow 2 writes them.

A node of a function reads `argument`, or `node:output:index`, where `output` is one that its operator declares.
Source: tensorflow/core/framework/function.proto.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glia.core.errors import ImportFailed
from glia.importers.tensorflow_ops.loops import Frames, frames_of
from glia.importers.tensorflow_ops.nodes import (
    MAX_NODES,
    Node,
    Source,
    json_attributes,
    plain_attributes,
    plain_text,
    source,
)

_NAMED: Mapping[str, Sequence[str]] = {
    "TopKV2": ("values", "indices"),
    "Switch": ("output_false", "output_true"),
    "Merge": ("output", "value_index"),
    "Unique": ("y", "idx"),
    "MaxPoolWithArgmax": ("output", "argmax"),
    "NonMaxSuppressionV4": ("selected_indices", "valid_outputs"),
    "NonMaxSuppressionV5": ("selected_indices", "selected_scores", "valid_outputs"),
    "TensorArrayV3": ("handle", "flow"),
    "TensorListPopBack": ("output_handle", "tensor"),
    **dict.fromkeys(
        ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3", "_FusedBatchNormEx"),
        ("y", "batch_mean", "batch_variance", "reserve_space_1", "reserve_space_2", "reserve_space_3"),
    ),
}
"""Operators with several outputs of names of their own; the outputs of all others are one, or one list."""


@dataclass(frozen=True)
class Body:
    """Nodes that read each other: those of the network, or those of a function."""

    nodes: Mapping[str, Node]
    frames: Frames

    @classmethod
    def of(cls, nodes: Mapping[str, Node]) -> Body:
        """With their loops."""
        return cls(nodes, frames_of(nodes))


@dataclass(frozen=True)
class Function:
    """A body with what it takes and gives, in order."""

    name: str
    arguments: tuple[str, ...]
    returns: tuple[Source, ...]
    body: Body


Raw = tuple[str, str, Sequence[str], Mapping[str, Any]]
"""A node's name, operator, inputs as they are written, and attributes."""


def functions_of(library: Any, file: str) -> dict[str, Function]:
    """The functions of a parsed GraphDef by name. Raises ImportFailed."""
    found: dict[str, Function] = {}
    for function in library.function:
        nodes = [
            (plain_text(node.name), plain_text(node.op), [plain_text(text) for text in node.input], node.attr)
            for node in function.node_def
        ]
        raw: list[Raw] = [(name, op, inputs, plain_attributes(attr)) for name, op, inputs, attr in nodes]
        signature = function.signature
        arguments = [plain_text(one.name) for one in signature.input_arg]
        results = [plain_text(one.name) for one in signature.output_arg]
        returns = {plain_text(entry.key): plain_text(entry.value) for entry in function.ret}
        made = _function(plain_text(signature.name), arguments, results, returns, raw, file)
        found[made.name] = made
    return found


def functions_of_json(topology: object, file: str) -> dict[str, Function]:
    """As `functions_of`, of a GraphDef as JSON."""
    library = topology.get("library") if isinstance(topology, dict) else None
    found: dict[str, Function] = {}
    try:
        for function in (library or {}).get("function", []):
            signature = function["signature"]
            raw: list[Raw] = [
                (node["name"], node["op"], node.get("input", []), json_attributes(node.get("attr", {}), file))
                for node in function.get("nodeDef", [])
            ]
            arguments, results = (
                [str(one["name"]) for one in signature.get(key, [])] for key in ("inputArg", "outputArg")
            )
            made = _function(str(signature["name"]), arguments, results, function.get("ret", {}), raw, file)
            found[made.name] = made
    except (KeyError, TypeError, AttributeError, ValueError):
        raise ImportFailed(f"{file}: a function of its library cannot be read. The file is damaged.") from None
    return found


def _function(
    name: str,
    arguments: Sequence[str],
    results: Sequence[str],
    returns: Mapping[str, str],
    raw: Sequence[Raw],
    file: str,
) -> Function:
    operators = {node: op for node, op, _, _ in raw}
    if len(raw) > MAX_NODES or len(operators) != len(raw) or not set(results) <= set(returns):
        raise ImportFailed(f"{file}: the function {name[:200]!r} cannot be read. The file is damaged.")
    nodes = {
        node: Node(node, op, tuple(one for text in inputs if (one := _source(text, operators)) is not None), attributes)
        for node, op, inputs, attributes in raw
    }
    given = [_source(returns[result], operators) for result in results]
    return Function(name, tuple(arguments), tuple(one for one in given if one is not None), Body.of(nodes))


def _source(text: str, operators: Mapping[str, str]) -> Source | None:
    """`argument` or `node:output:index` to node and number of its output."""
    parts = text.split(":")
    if len(parts) < 3:
        return source(text)
    name, output, index = parts[0], parts[1], parts[2]
    outputs = _NAMED.get(operators.get(name, ""), ())
    found = source(f"{name}:{index}")
    assert found is not None
    return found[0], found[1] + (outputs.index(output) if output in outputs else 0)
