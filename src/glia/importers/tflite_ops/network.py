"""One TFLite graph on its way to ONNX: handles of its tensors, their quantisation, activations.

A quantised tensor is held as the real numbers it stands for: what computes it is written in floats and closed by
QuantizeLinear and DequantizeLinear, which round and cut as the original does. Runtimes make integer arithmetic of that
pattern again. Weights stay integers in the file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Shaped
from onnx import helper

from glia.core.errors import ImportFailed
from glia.importers.faults import input_failed, unsupported
from glia.importers.graph import GraphWriter
from glia.importers.layout import Layout
from glia.importers.sizes import Dims
from glia.importers.tflite_ops.model import QUANTISED, Operator, Quantisation, Subgraph, Tensor, dtype_of

RELU, RELU_N1_TO_1, RELU6, TANH = 1, 2, 3, 4
BOUNDS: dict[int, tuple[float, float | None]] = {RELU: (0.0, None), RELU_N1_TO_1: (-1.0, 1.0), RELU6: (0.0, 6.0)}
BATCH = "n"
MAX_HINT = 100


def clean(name: str) -> str:
    """A foreign name as one of the graph."""
    return re.sub(r"[^\w./-]", "_", name.removesuffix(":0"))[:MAX_HINT] or "tensor"


class Network:
    """What the rules of operators read and write."""

    def __init__(self, graph: GraphWriter, sub: Subgraph, *, open_batch: bool) -> None:
        self.graph, self.layout, self.sub, self.open_batch = graph, Layout(graph), sub, open_batch
        self.notes: list[str] = []
        self.states: list[tuple[str, str]] = []
        """Input and output of what the network keeps from call to call."""
        self._handles: dict[int, str] = {}
        self._hint = "tensor"

    # -- reading -------------------------------------------------------------------------------------------------------

    def tensor(self, op: Operator, position: int) -> Tensor:
        """What the file says of an input. Raises ImportFailed where it is left out."""
        if not self.has(op, position):
            raise ImportFailed(f"its input {position} is missing, it has {len(op.inputs)}. The file is damaged.")
        return self.sub.tensors[op.inputs[position]]

    def result(self, op: Operator, position: int = 0) -> Tensor:
        """What the file says of an output."""
        if position >= len(op.outputs):
            raise ImportFailed(f"it has {len(op.outputs)} outputs, expected more. The file is damaged.")
        return self.sub.tensors[op.outputs[position]]

    def has(self, op: Operator, position: int) -> bool:
        """Whether an input is given."""
        return position < len(op.inputs) and op.inputs[position] >= 0

    def handle(self, op: Operator, position: int = 0) -> str:
        """The handle of an input. Raises `input_failed` where its own operator failed."""
        tensor, index = self.tensor(op, position), op.inputs[position]
        if index not in self._handles:
            if tensor.data is None:
                raise input_failed(f"{tensor.name[:200]} was not computed")
            self._handles[index] = self.graph.constant(clean(tensor.name), tensor.real)
        return self._handles[index]

    def last(self, op: Operator, position: int = 0) -> str:
        """The tensor of an input in the file's own order of axes."""
        return self.layout.last(self.handle(op, position))

    def shape(self, op: Operator, position: int) -> tuple[int, ...]:
        """The sizes of weights. Raises ImportFailed where one is open."""
        tensor = self.tensor(op, position)
        return tensor.shape if tensor.data is not None else self.layout.known_shape(self.handle(op, position))

    def declared(self, op: Operator, position: int = 0) -> Dims:
        """The sizes that the file declares for an input, or, where it does not, those that are computed."""
        shape, known = self.tensor(op, position).shape, self.layout.shape(self.handle(op, position))
        return shape if len(shape) == len(known) else known

    def rank(self, op: Operator, position: int = 0) -> int:
        """How many axes an input has."""
        return len(self.layout.shape(self.handle(op, position)))

    def constant(self, op: Operator, position: int) -> Shaped[np.ndarray, "..."]:
        """The real numbers of an input that has to be constant. Raises ImportFailed."""
        tensor = self.tensor(op, position)
        if tensor.data is not None:
            return tensor.real
        value = self.layout.value(self.handle(op, position))
        if value is None:
            raise unsupported(f"Its input {position} ({tensor.name[:100]}), computed where a constant is expected,")
        return value

    def ints(self, op: Operator, position: int) -> list[int]:
        """The numbers of a small constant input: axes, sizes. Raises ImportFailed."""
        value = self.constant(op, position)
        if value.dtype.kind not in "iu" or value.size > 1024:
            raise ImportFailed(f"its input {position} holds {value.size} numbers of {value.dtype}, expected integers.")
        return [int(number) for number in value.reshape(-1)]

    def sizes(self, op: Operator, position: int) -> Dims:
        """The numbers of an input that is a shape, as far as they are known. Raises ImportFailed."""
        if self.tensor(op, position).data is None:
            found = self.graph.sizes(self.last(op, position))
            if found is not None:
                return found
        return tuple(self.ints(op, position))

    def keep_apart(self, op: Operator, position: int, axis: int = 0) -> None:
        """Raise ImportFailed where the items of an open batch, along an axis of an input, would be mixed."""
        if self.tensor(op, position).data is not None:
            return
        size = self.layout.shape(self.handle(op, position))[axis]
        if self.open_batch and isinstance(size, str) and BATCH in size:
            raise unsupported("What mixes the items of a batch")

    def axes(self, op: Operator, position: int, rank: int) -> list[int]:
        """Constant axes, counted from the front, each once."""
        return sorted({axis_of(axis, rank) for axis in self.ints(op, position)})

    # -- writing -------------------------------------------------------------------------------------------------------

    def begin(self, index: int, op: Operator) -> None:
        """What is written next belongs to this operator."""
        self._hint = f"{op.kind.lower().replace(' ', '_')}_{index}"

    @property
    def hint(self) -> str:
        """The name for what the operator at hand writes."""
        return self._hint

    def node(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        """A node of the operator at hand, with one output."""
        return self.graph.node(kind, inputs, self._hint, **attributes)

    def cast(self, tensor: str, dtype: Any) -> str:
        """The tensor in another type."""
        if self.graph.dtype(tensor) == np.dtype(dtype):
            return tensor
        return self.node("Cast", [tensor], to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def give(self, op: Operator, handle: str, position: int = 0, activation: int = 0) -> None:
        """An operator's output: after its activation, rounded where it is quantised."""
        tensor = self.result(op, position)
        if activation and activation not in BOUNDS:
            raise unsupported(f"The activation {activation} inside this operator")
        if tensor.quantised is None:
            self.set(op, activated(self, handle, activation), position)
            return
        self.set(op, self.rounded(handle, tensor, activation), position)

    def set(self, op: Operator, handle: str, position: int = 0) -> None:
        """An operator's output as it is: its numbers are of their grid already."""
        self.result(op, position)
        self._handles[op.outputs[position]] = handle

    def rounded(self, handle: str, tensor: Tensor, activation: int = 0) -> str:
        """Real numbers to those that a quantised tensor can hold."""
        q = tensor.quantised
        assert q is not None
        if not q.is_single:
            raise unsupported(f"{tensor.name[:100]}, quantised by channel where it is computed,")
        low, high = _limits(tensor, q, activation)
        if (low, high) != tensor.limits or tensor.kind not in ("uint8", "int8"):
            bounds = [self.graph.scalar(name, (value - int(q.zero[0])) * float(q.scale[0])) for name, value in
                      (("low", low), ("high", high))]  # fmt: skip
            handle = self.layout.each("Clip", handle, *bounds, hint=self._hint)
        if tensor.kind in ("uint8", "int8"):
            scale, zero = self.scales(q, tensor.kind)
            handle = self.layout.each("QuantizeLinear", handle, scale, zero, hint=self._hint)
            return self.layout.each("DequantizeLinear", handle, scale, zero, hint=self._hint)
        return self._rounded_wide(handle, q)

    def _rounded_wide(self, handle: str, q: Quantisation) -> str:
        """Rounding by plain arithmetic: ONNX quantises to 16 bits from opset 21 on only."""
        scale = self.graph.scalar("scale", float(q.scale[0]))
        handle = self.layout.each("Div", handle, scale, hint=self._hint)
        handle = self.layout.each("Round", handle, hint=self._hint)
        return self.layout.each("Mul", handle, scale, hint=self._hint)

    def scales(self, q: Quantisation, kind: str) -> tuple[str, str]:
        """Scale and zero point as constants of the graph: without axes where there is one for all."""
        scale, zero = q.scale, q.zero.astype(np.uint8 if kind == "uint8" else np.int8)
        shape = () if q.is_single else scale.shape
        return self.graph.constant("scale", scale.reshape(shape)), self.graph.constant("zero", zero.reshape(shape))

    def weights(self, op: Operator, position: int, perm: Sequence[int]) -> str:
        """A constant input with its axes in another order; quantised ones stay integers until they are used."""
        tensor = self.tensor(op, position)
        if tensor.data is None:
            return self.graph.transpose(self.last(op, position), perm, self._hint)
        q, name = tensor.quantised, clean(tensor.name)
        if len(tensor.shape) != len(perm):
            raise ImportFailed(f"its weights have the shape {list(tensor.shape)}, expected {len(perm)} axes.")
        if q is None or QUANTISED[tensor.kind][1] > 255:
            return self.graph.constant(name, tensor.real.transpose(perm).astype(np.float32))
        numbers = self.graph.constant(name, tensor.numbers.transpose(perm))
        if not q.is_single:
            _ = tensor.real  # checks that there is one scale for each index
        axis = {} if q.is_single else {"axis": list(perm).index(q.axis)}
        return self.node("DequantizeLinear", [numbers, *self.scales(q, tensor.kind)], **axis)

    def bias(self, op: Operator, position: int, source: int = 0, weights: int = 1) -> str | None:
        """The bias; where sums are quantised its integers, in steps of the input's scale times the weights'."""
        if not self.has(op, position):
            return None
        tensor = self.tensor(op, position)
        if tensor.data is None:
            return self.last(op, position)
        data, kernel = self.tensor(op, source).quantised, self.tensor(op, weights).quantised
        if tensor.kind not in ("int32", "int64") or kernel is None:
            return self.graph.constant(clean(tensor.name), tensor.real.astype(np.float32))
        if data is None:
            raise unsupported("A bias of integers beside an input of floats")
        scale = (data.scale[0] * kernel.scale).astype(np.float32)
        if tensor.kind == "int64":
            return self.graph.constant(
                clean(tensor.name), (tensor.numbers * scale.astype(np.float64)).astype(np.float32)
            )
        numbers = self.graph.constant(clean(tensor.name), tensor.numbers)
        shape, axis = ((), {}) if kernel.is_single else (scale.shape, {"axis": 0})
        return self.node("DequantizeLinear", [numbers, self.graph.constant("scale", scale.reshape(shape))], **axis)

    # -- borders -------------------------------------------------------------------------------------------------------

    def enter(self, index: int, name: str) -> str:
        """Declare an input; the graph's name of it."""
        tensor = self.sub.tensors[index]
        kind = np.dtype(np.float32) if tensor.quantised is not None else dtype_of(tensor.kind)
        name = self.graph.input(name, self._open(tensor), kind)
        self._hint = "input"
        self._handles[index] = name if tensor.quantised is None else self.rounded(name, tensor)
        return name

    def leave(self, index: int, name: str) -> str:
        """Declare an output; the graph's name of it. Raises ImportFailed where the batch does not come through."""
        if index not in self._handles:
            tensor = self.sub.tensors[index]
            if tensor.data is None:
                raise input_failed(f"{tensor.name[:200]} was not computed")
            self._handles[index] = self.graph.constant(clean(tensor.name), tensor.real)
        handle = self._handles[index]
        shape = self.layout.shape(handle)
        if self.open_batch and (not shape or shape[0] != BATCH):
            raise unsupported(f"The output {name}, whose shape {list(shape)} does not follow the batch,")
        return self.graph.output(name, self.layout.last(handle))

    def _open(self, tensor: Tensor) -> list[int | str]:
        """The shape of an input with names for what is open."""
        names = {1: "h", 2: "w"} if len(tensor.shape) == 4 else {}
        shape: list[int | str] = []
        for axis, (size, open_size) in enumerate(zip(tensor.shape, tensor.signature, strict=True)):
            if axis == 0 and (self.open_batch or open_size < 0):
                shape.append(BATCH)
            else:
                shape.append(names.get(axis, f"d{axis}") if open_size < 0 else size)
        return shape


def axis_of(axis: int, rank: int) -> int:
    """An axis counted from the front. Raises ImportFailed where there is none."""
    if not -rank <= axis < rank:
        raise ImportFailed(f"its axis is {axis}, of {rank} axes. The file is damaged.")
    return axis % rank


def _limits(tensor: Tensor, q: Quantisation, activation: int) -> tuple[int, int]:
    """The least and largest number that an activation lets pass."""
    low, high = tensor.limits
    below, above = BOUNDS.get(activation, (None, None))
    zero, scale = int(q.zero[0]), float(q.scale[0])
    if below is not None:
        low = max(low, zero + round(max(below / scale, -1e6)))
    if above is not None:
        high = min(high, zero + round(min(above / scale, 1e6)))
    return min(low, tensor.limits[1]), max(high, tensor.limits[0])


def activated(net: Network, handle: str, activation: int) -> str:
    """The activation that is fused into an operator."""
    if activation == 0:
        return handle
    if activation == RELU:
        return net.layout.each("Relu", handle, hint=net.hint)
    if activation == TANH:
        return net.layout.each("Tanh", handle, hint=net.hint)
    if activation in BOUNDS:
        low, high = BOUNDS[activation]
        bounds = [net.graph.scalar("low", low), net.graph.scalar("high", high or 0)]
        return net.layout.each("Clip", handle, *bounds, hint=net.hint)
    raise unsupported(f"The activation {activation}")
