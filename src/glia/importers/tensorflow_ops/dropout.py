"""Dropout that was left in a frozen network: taken out, as nothing is dropped when a network answers.

Written as a product with `floor(keep + random)` until 2018, with `random >= rate` since.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from glia.importers.tensorflow_ops.nodes import Node

_SCALED = {"RealDiv", "Div", "Mul"}
_PASSES = {"Identity", "Cast", "Add", "AddV2", "Mul", "Sub", "Floor", "GreaterEqual", "Select", "SelectV2"}
_RANDOM = {"RandomUniform", "StatelessRandomUniform", "StatelessRandomUniformV2"}
_MASKS = {"Floor", "Cast", "GreaterEqual"}


def without_dropout(nodes: Mapping[str, Node]) -> tuple[dict[str, Node], int]:
    """The nodes with each dropout as an identity, and how many there were."""
    found, count = dict(nodes), 0
    for node in nodes.values():
        if node.op not in ("Mul", "SelectV2", "Select") or len(node.inputs) < 2:
            continue
        kept = _kept(node, nodes)
        if kept is not None:
            attributes = {"T": node.attributes.get("T")}
            found[node.name] = replace(node.renamed("Identity", [kept.inputs[0]]), attributes=attributes)
            count += 1
    return found, count


def _kept(node: Node, nodes: Mapping[str, Node]) -> Node | None:
    """Of a product, or a choice, of scaled numbers and a random mask: the node that scales. None for all others."""
    sides = node.inputs[:2] if node.op == "Mul" else (node.inputs[1], node.inputs[0])
    for scaled, mask in (sides, sides[::-1]) if node.op == "Mul" else (sides,):
        a, b = nodes.get(scaled[0]), nodes.get(mask[0])
        if a is None or b is None or a.op not in _SCALED or b.op not in _MASKS or len(a.inputs) != 2:
            continue
        if _is_random(b, nodes):
            return a
    return None


def _is_random(node: Node, nodes: Mapping[str, Node]) -> bool:
    """Whether only a random number, and constants, made it: within a few steps."""
    line, met = [(node, 0)], False
    while line:
        one, depth = line.pop()
        if one.op in _RANDOM:
            met = True
        elif one.op in _PASSES and depth < 6:
            line.extend((nodes[name], depth + 1) for name, _ in one.inputs if name in nodes)
        elif one.op not in ("Const", "Placeholder", "PlaceholderWithDefault"):
            return False
    return met
