"""The operators of TensorFlow Lite: how each of them is written in ONNX."""

from __future__ import annotations

from collections.abc import Callable

from glia.importers.tflite_ops import arithmetic, detection, filters, recurrent, shapes
from glia.importers.tflite_ops.model import Operator
from glia.importers.tflite_ops.network import Network

Rule = Callable[[Network, Operator], None]

RULES: dict[str, Rule] = arithmetic.RULES | detection.RULES | filters.RULES | recurrent.RULES | shapes.RULES

REASONS = {
    "CALL_ONCE": "what is done once before the first call is not read; freeze the network's variables",
    "IF": "branches are not read; convert the network without control flow",
    "WHILE": "loops are not read; convert the network without control flow",
    "CUSTOM edgetpu-custom-op": "it was compiled for one accelerator; import the file it was compiled from",
}


def reason(kind: str) -> str:
    """Why an operator is not imported."""
    if kind.startswith("CUSTOM Flex"):
        return "it is one of TensorFlow's own; convert the network without them (TFLITE_BUILTINS)"
    if kind in ("VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"):
        return "variables are not read; freeze them before converting"
    return REASONS.get(kind, f"there is no rule for {kind}")
