"""Functions of an ONNX file, put in the place of the nodes that call them.

ONNX's own inliner does it, after it is sure that it comes to an end: no function calls itself, and what they grow to
has bounds. Source: ONNX's IR.md, Functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx
import onnx.inliner

from glia.core.errors import ImportFailed

MAX_NODES = 200_000
MAX_DEPTH = 100

Key = tuple[str, str, str]
"""Domain, name, overload."""


def _nodes(nodes: Iterable[onnx.NodeProto], depth: int = 0) -> Iterator[onnx.NodeProto]:
    """Nodes, and those of graphs inside them."""
    if depth > MAX_DEPTH:
        raise ImportFailed(f"Graphs lie more than {MAX_DEPTH} deep in each other, expected fewer.")
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from _nodes(inner.node, depth + 1)


def _key(domain: str, name: str, overload: str) -> Key:
    return "" if domain == "ai.onnx" else domain, name, overload


def _grown(functions: dict[Key, onnx.FunctionProto]) -> dict[Key, int]:
    """How many nodes each becomes. Raises ImportFailed for one that calls itself."""
    calls = {
        key: [_key(node.domain, node.op_type, node.overload) for node in _nodes(function.node)]
        for key, function in functions.items()
    }
    sizes: dict[Key, int] = {}
    for start in functions:
        path, stack = set[Key](), [(start, False)]
        while stack:
            key, done = stack.pop()
            if done:
                path.discard(key)
                sizes[key] = sum(sizes.get(inner, 1) for inner in calls[key])
            elif key in path:
                raise ImportFailed(f"The function {key[1][:100]!r} calls itself, which ONNX does not allow.")
            elif key not in sizes:
                path.add(key)
                stack.append((key, True))
                stack += [(inner, False) for inner in set(calls[key]) if inner in functions]
    return sizes


def inlined(model: onnx.ModelProto, domains: tuple[str, ...]) -> onnx.ModelProto:
    """The model without functions; only `domains` stay among those it imports. Raises ImportFailed."""
    functions = {_key(one.domain, one.name, one.overload): one for one in model.functions}
    if len(functions) < len(model.functions):
        raise ImportFailed("Two functions of the model have one name. The file is damaged.")
    sizes = _grown(functions)
    total = sum(sizes.get(_key(node.domain, node.op_type, node.overload), 1) for node in _nodes(model.graph.node))
    if total > MAX_NODES:
        raise ImportFailed(f"With its functions in place the model has {total} nodes, at most {MAX_NODES} are read.")
    try:
        model = onnx.inliner.inline_local_functions(model)
    except (RuntimeError, ValueError) as error:
        raise ImportFailed(f"The functions of the model cannot be put in place: {error}") from None
    kept = [entry for entry in model.opset_import if entry.domain in domains]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    return model
