"""One function per operator of TensorFlow."""

from __future__ import annotations

from glia.importers.tensorflow_ops import loops
from glia.importers.tensorflow_ops.call import Rule, Rules
from glia.importers.tensorflow_ops.rules import arrays, convolution, elements, pictures, recurrent, reductions, shapes

_ALL: list[Rules] = [
    elements.RULES, reductions.RULES, convolution.RULES, shapes.RULES, arrays.RULES, pictures.RULES, recurrent.RULES,
    loops.RULES,
]  # fmt: skip
RULES: dict[str, Rule] = {op: rule for rules in _ALL for op, rule in rules.items()}
"""Operator to what writes it."""
assert len(RULES) == sum(map(len, _ALL)), "an operator has two rules"
