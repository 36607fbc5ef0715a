"""A writer of ONNX graphs that knows what it writes: the shape, the type and, where it is constant, the value of
every tensor.

Importers of every format write through it. An operator whose inputs are all constant is computed at once and becomes a
constant; what nobody reads is left out at the end; shape arithmetic is followed as far as sizes are known, so that
`Reshape` by a computed shape becomes one by a constant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
from jaxtyping import Shaped
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from glia.core.errors import ImportFailed
from glia.importers.importer import IR_VERSION, OPSET, Layer
from glia.importers.sizes import Dim, Dims, Known, symbolic

FOLDED_ELEMENTS = 1 << 24
"""Constants are computed up to this size; larger ones stay operators."""
HINTED_ELEMENTS = 64
"""Integer constants up to this size are shown to shape inference: shapes, axes, pads."""
CHECKED_ELEMENTS = 1024
"""Constants above this size are left out when the graph is checked."""
RANDOM = {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial"}
NOT_FOLDED = RANDOM | {"DequantizeLinear"}  # quantised weights stay small, and runtimes look for the pattern
_OPSETS = [helper.make_opsetid("", OPSET)]


class GraphWriter:
    """Collects a graph, node by node in the order of execution; tensors are known by their names.

    Names are `<hint>` or `<hint>_<n>`, so the same calls give the same bytes.
    """

    def __init__(self, name: str) -> None:
        self.layers: list[Layer] = []
        """Rows of the table that explains the import, one for each `layer`."""
        self._name = name
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._tensors: dict[str, Known] = {}
        self._taken: dict[str, int] = {}
        self._parameters: set[str] = set()
        """Constants of floats, and arrays of bytes: what may have been learned."""
        self._counted: set[str] = set()

    # -- what is written -----------------------------------------------------------------------------------------------

    def input(self, name: str, shape: Sequence[int | str], dtype: Any = np.float32) -> str:
        """Declare an input; a string in `shape` is a dimension that is open, by its name."""
        name = self._free(name)
        dtype = np.dtype(dtype)
        self._inputs.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), shape))
        self._tensors[name] = Known(dtype, tuple(shape))
        return name

    def output(self, name: str, tensor: str, shape: Sequence[int | str | None] | None = None) -> str:
        """Declare a tensor as an output; its shape is what is known of it, unless given. The name it got: `name`, or
        one like it where that is taken."""
        known = self._tensors[tensor]
        name = self._free(name)
        shown = shape if shape is not None else known.shape
        kind = helper.np_dtype_to_tensor_dtype(known.dtype or np.dtype(np.float32))
        self._nodes.append(helper.make_node("Identity", [tensor], [name], name=name))
        self._outputs.append(helper.make_tensor_value_info(name, kind, shown))
        self._tensors[name] = Known(known.dtype, known.shape)  # no value: the Identity gives it
        return name

    def constant(self, hint: str, value: Shaped[np.ndarray, "..."]) -> str:
        """Add an array; its type is kept."""
        name = self._free(hint)
        value = np.ascontiguousarray(value).reshape(np.shape(value))
        self._tensors[name] = Known(value.dtype, value.shape, value, _numbers(value))
        if value.dtype.kind == "f" or (value.dtype.kind in "iu" and value.dtype.itemsize == 1 and value.ndim > 1):
            self._parameters.add(name)
        return name

    def node(self, op: str, inputs: Sequence[str], hint: str = "", **attributes: Any) -> str:
        """Add an operator with one output; returns the output's name. An empty input is one that is left out."""
        return self.nodes(op, inputs, 1, hint, **attributes)[0]

    def nodes(self, op: str, inputs: Sequence[str], count: int, hint: str = "", **attributes: Any) -> list[str]:
        """Add an operator with several outputs. Raises ImportFailed where its inputs cannot be."""
        for tensor in inputs:
            assert not tensor or tensor in self._tensors, f"{op} reads {tensor}, which was not written"
        names = [self._free(hint or op.lower()) for _ in range(count)]
        node = helper.make_node(op, list(inputs), names, name=names[0], **attributes)
        for name, known in zip(names, self._infer(node), strict=True):
            self._tensors[name] = known
        if not self._fold(node):
            self._nodes.append(node)
        return names

    @contextmanager
    def layer(self, name: str, kind: str) -> Iterator[None]:
        """What is written inside is one layer of the foreign network: a row of the table that explains the import."""
        nodes = len(self._nodes)
        yield
        written = self._nodes[nodes:]
        last = self._tensors[written[-1].output[0]] if written else None
        read = {name for node in written for name in node.input if name in self._parameters} - self._counted
        self._counted |= read  # what several layers share is the first one's
        values = [self._tensors[name].value for name in read]
        count = sum(value.size for value in values if value is not None)
        shape = list(last.shape) if last is not None and last.shape is not None else []
        self.layers.append(Layer(name, kind, tuple(node.op_type for node in written), tuple(shape), count))

    # -- what is known -------------------------------------------------------------------------------------------------

    def refine(self, tensor: str, shape: Sequence[int | str | None]) -> None:
        """State the sizes of a tensor, where its importer knows more than inference: those of a computed `Expand`."""
        self._tensors[tensor].shape = tuple(shape)

    def shape(self, tensor: str) -> Dims:
        """Sizes: numbers, names of open dimensions, None where unknown. Raises ImportFailed for an unknown rank."""
        shape = self._tensors[tensor].shape
        if shape is None:
            raise ImportFailed(f"The rank of {tensor} cannot be told from the file.")
        return shape

    def rank(self, tensor: str) -> int:
        """The number of axes. Raises ImportFailed where it is unknown."""
        return len(self.shape(tensor))

    def known_shape(self, tensor: str, axes: Sequence[int] | None = None) -> tuple[int, ...]:
        """Sizes, of these axes or all, where they are numbers. Raises ImportFailed where one is open."""
        shape = self.shape(tensor)
        if any(not -len(shape) <= axis < len(shape) for axis in axes or ()):
            raise ImportFailed(f"{tensor} has {len(shape)} axes, expected more: {list(shape)}.")
        sizes = [shape[axis] for axis in axes] if axes is not None else list(shape)
        if not all(isinstance(size, int) for size in sizes):
            raise ImportFailed(
                f"The sizes of {tensor} are {list(shape)}; all of them must be known here. "
                "Give the size of the input, or import a network of a fixed size."
            )
        return tuple(size for size in sizes if isinstance(size, int))

    def dtype(self, tensor: str) -> np.dtype[Any]:
        """The type of the numbers; float32 where inference does not tell."""
        return self._tensors[tensor].dtype or np.dtype(np.float32)

    def value(self, tensor: str) -> Shaped[np.ndarray, "..."] | None:
        """The array of a constant, None for anything else."""
        return self._tensors[tensor].value

    def sizes(self, tensor: str) -> Dims | None:
        """The numbers in a 1-D tensor of a shape, as far as they are known: open dimensions by name; None: unknown."""
        return self._tensors[tensor].sizes

    # -- conveniences --------------------------------------------------------------------------------------------------

    def ints(self, hint: str, values: Sequence[int]) -> str:
        """A 1-D constant of int64: axes, shapes, pads."""
        return self.constant(hint, np.array(values, np.int64))

    def scalar(self, hint: str, value: int | float, dtype: Any = np.float32) -> str:
        """A constant without axes."""
        return self.constant(hint, np.array(value, dtype))

    def reshape(self, tensor: str, shape: Sequence[int] | str, hint: str = "") -> str:
        """`shape`: numbers with ONNX's 0 and -1, or a tensor; a computed one of which one size is open becomes -1."""
        if isinstance(shape, str):
            sizes = self.sizes(shape)
            unknown = [size for size in sizes or () if not isinstance(size, int) or size < 0]
            if sizes is None or len(unknown) > 1 or 0 in sizes:
                shape = self.node("Cast", [shape], "shape", to=TensorProto.INT64) if self._is_narrow(shape) else shape
                return self.node("Reshape", [tensor, shape], hint)
            shape = [size if isinstance(size, int) and size >= 0 else -1 for size in sizes]
        return self.node("Reshape", [tensor, self.ints("shape", shape)], hint)

    def transpose(self, tensor: str, perm: Sequence[int], hint: str = "") -> str:
        """The axes in another order; none at all where the order stays."""
        if list(perm) == list(range(len(perm))):
            return tensor
        return self.node("Transpose", [tensor], hint, perm=list(perm))

    def _is_narrow(self, tensor: str) -> bool:
        return self.dtype(tensor) != np.int64

    # -- the end -------------------------------------------------------------------------------------------------------

    def model(self) -> onnx.ModelProto:
        """The finished model, checked. Raises ImportFailed where the graph breaks ONNX's rules."""
        nodes, used = self._needed()
        constants = {name: one.value for name, one in self._tensors.items() if name in used and one.value is not None}
        # The checker makes copies of all it is given: large arrays are inputs to it, of which it needs the shape alone.
        large = [name for name, value in constants.items() if value.size > CHECKED_ELEMENTS]
        stand_ins = [self._info(name, constants[name]) for name in large]
        small = [numpy_helper.from_array(value, name) for name, value in constants.items() if name not in set(large)]
        graph = helper.make_graph(nodes, self._name, [*self._inputs, *stand_ins], self._outputs, small)
        model = helper.make_model(graph, opset_imports=_OPSETS, ir_version=IR_VERSION, producer_name="glia")
        try:
            onnx.checker.check_model(model, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
            raise ImportFailed(f"The graph made of {self._name} breaks ONNX's rules: {error}") from None
        del model.graph.input[len(self._inputs) :]
        for name in large:
            model.graph.initializer.append(numpy_helper.from_array(constants[name], name))
        return model

    @staticmethod
    def _info(name: str, value: Shaped[np.ndarray, "..."]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)

    def _needed(self) -> tuple[list[onnx.NodeProto], set[str]]:
        """The nodes that an output needs, in order, and the names of all tensors that are read."""
        used = {output.name for output in self._outputs}
        kept = []
        for node in reversed(self._nodes):
            if used.isdisjoint(node.output):
                continue
            kept.append(node)
            used.update(node.input)
        return kept[::-1], used

    def _free(self, hint: str) -> str:
        count = self._taken.get(hint, 0)
        self._taken[hint] = count + 1
        return self._free(f"{hint}_{count}") if count else hint

    def _infer(self, node: onnx.NodeProto) -> list[Known]:
        """What is known of a node's outputs. Raises ImportFailed where the inputs do not fit the operator."""
        try:
            schema = onnx.defs.get_schema(node.op_type, OPSET)
        except onnx.defs.SchemaError as error:
            raise AssertionError(f"no operator {node.op_type} in opset {OPSET}") from error
        types, data = {}, {}
        for name in filter(None, node.input):
            known = self._tensors[name]
            kind = helper.np_dtype_to_tensor_dtype(known.dtype or np.dtype(np.float32))
            types[name] = helper.make_tensor_type_proto(kind, known.shape)
            if known.value is not None and known.value.size <= HINTED_ELEMENTS:
                data[name] = numpy_helper.from_array(known.value, name)
        found: dict[str, onnx.TypeProto] = {}
        if schema.has_type_and_shape_inference_function:
            try:
                found = onnx.shape_inference.infer_node_outputs(
                    schema, node, types, data, opset_imports=_OPSETS, ir_version=IR_VERSION
                )
            except (
                onnx.shape_inference.InferenceError,
                onnx.checker.ValidationError,
                RuntimeError,
                ValueError,
            ) as error:
                shapes = ", ".join(str(list(self._tensors[name].shape or ("?",))) for name in filter(None, node.input))
                raise ImportFailed(f"{node.op_type} does not take inputs of {shapes}: {error}") from None
        outputs = [_known(found.get(name)) for name in node.output]
        if len(outputs) == 1 and outputs[0].shape is not None and len(outputs[0].shape) <= 1:
            outputs[0].sizes = symbolic(node, [self._tensors[name] if name else None for name in node.input])
        return outputs

    def _fold(self, node: onnx.NodeProto) -> bool:
        """Compute a node whose inputs are all constant, or whose output is a shape that is known; whether it was."""
        if node.op_type in NOT_FOLDED:
            return False
        if len(node.output) == 1:
            out = self._tensors[node.output[0]]
            if out.sizes is not None and all(isinstance(size, int) for size in out.sizes):
                out.value = np.array(out.sizes, out.dtype or np.int64)
                if out.shape == ():
                    out.value = out.value.reshape(())
                out.shape = out.value.shape
                return True
        inputs = [self._tensors[name] for name in node.input if name]
        if any(tensor.value is None for tensor in inputs) or not self._is_small(node):
            return False
        feeds = {name: self._tensors[name].value for name in node.input if name}
        graph = helper.make_graph(
            [node],
            "constant",
            [onnx.ValueInfoProto(name=name) for name in feeds],
            [onnx.ValueInfoProto(name=name) for name in node.output],
        )
        try:
            evaluator = ReferenceEvaluator(helper.make_model(graph, opset_imports=_OPSETS, ir_version=IR_VERSION))
            with np.errstate(all="ignore"):  # what is not finite is so at run time too
                values = evaluator.run(None, feeds)
        except Exception:  # noqa: BLE001  the reference lacks it, or refuses it: the runtime will see
            return False
        for name, value in zip(node.output, values, strict=True):
            value = np.asarray(value)
            self._tensors[name] = Known(value.dtype, value.shape, value, _numbers(value))
            if self._parameters.intersection(node.input):
                self._parameters.add(name)
        return True

    def _is_small(self, node: onnx.NodeProto) -> bool:
        for name in node.output:
            shape = self._tensors[name].shape
            if shape is None or not all(isinstance(size, int) for size in shape):
                return False
            if np.prod([size for size in shape if isinstance(size, int)], dtype=np.float64) > FOLDED_ELEMENTS:
                return False
        return True


def _numbers(value: Shaped[np.ndarray, "..."]) -> Dims | None:
    """The numbers of a constant that may be a shape."""
    if value.dtype.kind not in "iu" or value.ndim > 1 or value.size > HINTED_ELEMENTS:
        return None
    return tuple(int(size) for size in np.atleast_1d(value))


def _known(kind: onnx.TypeProto | None) -> Known:
    if kind is None or not kind.HasField("tensor_type"):
        return Known(None, None)
    tensor = kind.tensor_type
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type)) if tensor.elem_type else None
    if not tensor.HasField("shape"):
        return Known(dtype, None)
    return Known(dtype, tuple(_dim(dim) for dim in tensor.shape.dim))


def _dim(dim: onnx.TensorShapeProto.Dimension) -> Dim:
    if dim.HasField("dim_value"):
        return int(dim.dim_value)
    return dim.dim_param or None
