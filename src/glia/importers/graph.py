"""A small writer of ONNX graphs: names, constants, nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from jaxtyping import Shaped
from onnx import TensorProto, helper, numpy_helper

from glia.core.errors import ImportFailed
from glia.importers.importer import IR_VERSION, OPSET


class GraphWriter:
    """Collects a graph, node by node in the order of execution; tensors are known by their names.

    Names are `<hint>` or `<hint>_<n>`, so the same calls give the same bytes.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._taken: dict[str, int] = {}

    def input(self, name: str, shape: Sequence[int | str]) -> str:
        """Declare a float32 input; a string in `shape` is a dimension that is open, by its name."""
        self._inputs.append(helper.make_tensor_value_info(self._free(name), TensorProto.FLOAT, shape))
        return name

    def output(self, name: str, tensor: str, shape: Sequence[int | str]) -> None:
        """Declare the float32 tensor `tensor` as an output called `name`."""
        self._nodes.append(helper.make_node("Identity", [tensor], [self._free(name)], name=name))
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def constant(self, hint: str, value: Shaped[np.ndarray, "..."]) -> str:
        """Add an array; its type is kept."""
        name = self._free(hint)
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name))
        return name

    def node(self, op: str, inputs: Sequence[str], hint: str = "", **attributes: Any) -> str:
        """Add an operator with one output; returns the output's name."""
        name = self._free(hint or op.lower())
        self._nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def model(self) -> onnx.ModelProto:
        """The finished model, checked. Raises ImportFailed where the graph breaks ONNX's rules."""
        graph = helper.make_graph(self._nodes, self._name, self._inputs, self._outputs, self._constants)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="glia"
        )
        try:
            onnx.checker.check_model(model, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise ImportFailed(f"The graph made of {self._name} breaks ONNX's rules: {error}") from None
        return model

    def _free(self, hint: str) -> str:
        count = self._taken.get(hint, 0)
        self._taken[hint] = count + 1
        return self._free(f"{hint}_{count}") if count else hint
