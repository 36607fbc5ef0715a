"""ONNX of its first years: opsets 1 to 6, and the experimental operators that later ones dropped.

What changed since: operands of different ranks were aligned at an axis that a node names; shapes, slices, splits and
pads were attributes; types were spelled out; flags told training from use. No runtime of today reads that, and ONNX's
own converter begins at 7, so each node is written anew.

Source: ONNX's Changelog.md, versions 1 to 6 of each operator; Operators.md of release 1.2 for the experimental ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from jaxtyping import Shaped
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from glia.core.errors import ImportFailed
from glia.importers.faults import Faults, input_failed, unsupported
from glia.importers.graph import GraphWriter
from glia.importers.importer import Layer

OLDEST_CONVERTED = 7
EXPERIMENTAL = ("Affine", "Crop", "ImageScaler", "ParametricSoftplus", "Scale", "ScaledTanh")
OPEN_END = 2**31 - 1
IR_OF_OPSETS = 3  # from this version of the format on, a file says its opset
DROPPED = ("consumed_inputs", "is_test", "spatial", "output_sequence", "broadcast")
"""Attributes that say nothing today: memory, training, and what is the rule by now."""
SAME = (
    "Abs And ArgMax ArgMin AveragePool Ceil Conv ConvTranspose DepthToSpace Exp Flatten Floor GRU Gather Gemm "
    "GlobalAveragePool GlobalMaxPool HardSigmoid Identity InstanceNormalization LRN LSTM LeakyRelu Log LpNormalization "
    "MatMul Max MaxPool Mean Min Neg Not RNN RandomNormal RandomNormalLike RandomUniform RandomUniformLike Reciprocal "
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSumSquare Relu "
    "Shape Sigmoid Size Softplus Softsign SpaceToDepth Sqrt Sum Tanh ThresholdedRelu Transpose MaxRoiPool Elu"
)
"""Operators whose attributes and inputs are those of today, but for what is dropped."""

Value = int | float | bytes | list[int] | list[float] | Shaped[np.ndarray, "..."]
Attributes = Mapping[str, Value]
Rule = Callable[["Legacy", onnx.NodeProto, dict[str, Any]], list[str]]


def version_of(model: onnx.ModelProto) -> int:
    """The opset of ONNX's own operators; files from before there were opsets are of the first."""
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx"):
            return int(entry.version)
    return 1 if not model.opset_import and 0 < model.ir_version < IR_OF_OPSETS else 0


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """Attributes by name; in the first files none says of which type it is."""
    found: dict[str, Any] = {}
    for entry in node.attribute:
        if entry.type != AttributeProto.UNDEFINED:
            value = helper.get_attribute_value(entry)
            found[entry.name] = numpy_helper.to_array(value) if isinstance(value, TensorProto) else value
        elif entry.HasField("t"):
            found[entry.name] = numpy_helper.to_array(entry.t)
        elif entry.ints or entry.floats:
            found[entry.name] = list(entry.ints) or list(entry.floats)
        else:
            fields = [field for field in ("i", "f", "s") if entry.HasField(field)]
            found[entry.name] = getattr(entry, fields[0]) if fields else []
    return found


class Legacy:
    """One graph of an old opset on its way to the present one."""

    def __init__(self, model: onnx.ModelProto, file: str) -> None:
        self.graph, self.source, self.version = GraphWriter("onnx"), model.graph, version_of(model)
        self.faults = Faults(file)
        self._names: dict[str, str] = {}

    def convert(self) -> tuple[onnx.ModelProto, tuple[Layer, ...]]:
        """The model of today. Raises ImportFailed that names everything for which there is no rule."""
        weights = {tensor.name: tensor for tensor in self.source.initializer}
        for value in self.source.input:
            if value.name not in weights:
                self._names[value.name] = self._input(value)
        for name, tensor in weights.items():
            self._names[name] = self.graph.constant(name, numpy_helper.to_array(tensor))
        for index, node in enumerate(self.source.node):
            name = node.name or (node.output[0] if node.output else f"node {index}")
            with self.faults.of(name, node.op_type), self.graph.layer(name, node.op_type):
                self._write(node)
        self.faults.check()
        for value in self.source.output:
            if value.name not in self._names:
                raise ImportFailed(f"The output {value.name!r} is never computed. The file is damaged.")
            self.graph.output(value.name, self._names[value.name])
        return self.graph.model(), tuple(self.graph.layers)

    def x(self, node: onnx.NodeProto, position: int = 0) -> str:
        """The tensor of an input. Raises `input_failed` where its own node failed."""
        if position >= len(node.input):
            raise ImportFailed(f"it has {len(node.input)} inputs, expected more. The file is damaged.")
        if not (name := node.input[position]):
            return ""
        if name not in self._names:
            raise input_failed(f"{name} was not computed")
        return self._names[name]

    def inputs(self, node: onnx.NodeProto) -> list[str]:
        """All of them, without those at the end that are left out."""
        found = [self.x(node, position) for position in range(len(node.input))]
        while found and not found[-1]:
            found.pop()
        return found

    def node(self, op: str, inputs: list[str], **attributes: Any) -> str:
        """A node of today."""
        return self.graph.node(op, inputs, op.lower(), **attributes)

    def _input(self, value: onnx.ValueInfoProto) -> str:
        tensor = value.type.tensor_type
        if not tensor.elem_type or not tensor.HasField("shape"):
            raise ImportFailed(f"The input {value.name!r} has no type or no shape. Export the network again.")
        shape: list[int | str] = []
        for axis, dim in enumerate(tensor.shape.dim):
            if dim.HasField("dim_value") and dim.dim_value < 0:
                raise ImportFailed(f"The input {value.name!r} has a size of {dim.dim_value}. The file is damaged.")
            shape.append(dim.dim_value or dim.dim_param or f"{value.name}_{axis}")
        return self.graph.input(value.name, shape, helper.tensor_dtype_to_np_dtype(tensor.elem_type))

    def _write(self, node: onnx.NodeProto) -> None:
        rule = RULES.get(node.op_type)
        if rule is None:
            raise unsupported(f"The operator {node.op_type} of opset {self.version}")
        attributes = attributes_of(node)
        made = rule(self, node, attributes)
        for name, tensor in zip(node.output, made, strict=False):
            if name:
                self._names[name] = tensor


def _kept(attributes: Attributes) -> dict[str, Any]:
    """The attributes that are those of today."""
    return {name: value for name, value in attributes.items() if name not in DROPPED}


def _same(legacy: Legacy, node: onnx.NodeProto, attributes: dict[str, Any]) -> list[str]:
    kept = _windowed(_kept(attributes)) if "kernel_shape" in attributes else _kept(attributes)
    count = len(node.output)
    return legacy.graph.nodes(node.op_type, legacy.inputs(node), count, node.op_type.lower(), **kept)


def _windowed(attributes: dict[str, Any]) -> dict[str, Any]:
    """A window's attributes, as they should be.

    PyTorch 0.2 wrote those of a convolution along one axis as if there were two, of which the first is a dummy, and
    pads of pools once for both sides.
    """
    count, kept = len(attributes["kernel_shape"]), dict(attributes)
    for name in ("strides", "dilations"):
        if len(kept.get(name, ())) == count + 1:
            kept[name] = kept[name][1:]
    pads = kept.get("pads", ())
    if len(pads) == 2 * count + 2:
        kept["pads"] = [*pads[1 : count + 1], *pads[count + 2 :]]
    elif len(pads) == count:
        kept["pads"] = [*pads, *pads]
    if set(kept.get("dilations", [1])) == {1}:
        kept.pop("dilations", None)
    return kept


def _broadcast(legacy: Legacy, node: onnx.NodeProto, attributes: dict[str, Any]) -> list[str]:
    """The second operand's axes are aligned with those of the first from `axis` on; without one, at the end."""
    left, right = legacy.x(node, 0), legacy.x(node, 1)
    axis = attributes.get("axis")
    if attributes.get("broadcast") and axis is not None:
        ranks = legacy.graph.rank(left), legacy.graph.rank(right)
        at = axis + ranks[0] if axis < 0 else axis
        after = ranks[0] - at - ranks[1]
        if at < 0 or after < 0:
            raise ImportFailed(f"its second operand of {ranks[1]} axes does not fit {ranks[0]} at axis {axis}.")
        if after:
            axes = legacy.graph.ints("axes", list(range(ranks[1], ranks[1] + after)))
            right = legacy.node("Unsqueeze", [right, axes])
    return [legacy.node(node.op_type, [left, right])]


def _batch_normalization(legacy: Legacy, node: onnx.NodeProto, attributes: dict[str, Any]) -> list[str]:
    if not attributes.get("spatial", 1):
        raise unsupported("Normalisation of each place by itself (spatial = 0)")
    kept = {name: value for name, value in _kept(attributes).items() if name in ("epsilon", "momentum")}
    return [legacy.node("BatchNormalization", legacy.inputs(node)[:5], **kept)]


def _cast(legacy: Legacy, node: onnx.NodeProto, attributes: dict[str, Any]) -> list[str]:
    to = attributes.get("to", 0)
    if isinstance(to, bytes):
        name = to.decode("utf-8", "replace").upper()
        if name not in TensorProto.DataType.keys():  # noqa: SIM118  it is no mapping
            raise ImportFailed(f"it casts to {name[:50]!r}, which is no type of ONNX.")
        to = TensorProto.DataType.Value(name)
    to = TensorProto.FLOAT if to in (TensorProto.FLOAT16, TensorProto.BFLOAT16) else to
    return [legacy.node("Cast", [legacy.x(node)], to=to)]


def _clip(legacy: Legacy, node: onnx.NodeProto, attributes: dict[str, Any]) -> list[str]:
    bounds = [
        legacy.graph.scalar(name, float(attributes[name])) if name in attributes else "" for name in ("min", "max")
    ]
    while bounds and not bounds[-1]:
        bounds.pop()
    return [legacy.node("Clip", [legacy.x(node), *bounds])]


def _concat(legacy: Legacy, node: onnx.NodeProto, attributes: dict[str, Any]) -> list[str]:
    return [legacy.node("Concat", legacy.inputs(node), axis=attributes.get("axis", 1))]


def _constant(legacy: Legacy, node: onnx.NodeProto, attributes: dict[str, Any]) -> list[str]:
    value = attributes.get("value")
    if not isinstance(value, np.ndarray):
        raise ImportFailed("it has no value. The file is damaged.")
    return [legacy.graph.constant("constant", value)]


def _dropout(legacy: Legacy, node: onnx.NodeProto, attributes: dict[str, Any]) -> list[str]:
    """Nothing once trained; the mask, if somebody reads it, is of ones."""
    data = legacy.x(node)
    return [data, data] if len(node.output) < 2 else [data]


def _selu(legacy: Legacy, node: onnx.NodeProto, attributes: dict[str, Any]) -> list[str]:
    usual = (1.6732, 1.0507) if legacy.version < 6 else (1.67326319217681884765625, 1.05070102214813232421875)
    alpha, gamma = attributes.get("alpha", usual[0]), attributes.get("gamma", usual[1])
    return [legacy.node("Selu", [legacy.x(node)], alpha=alpha, gamma=gamma)]


def _pool_of_powers(legacy: Legacy, node: onnx.NodeProto, attributes: dict[str, Any]) -> list[str]:
    kept = _kept(attributes)
    power = kept.pop("p", 2)
    if power != int(power):
        raise unsupported(f"A pool of powers of {power}")
    return [legacy.node(node.op_type, legacy.inputs(node), **kept, p=int(power))]


def _prelu(legacy: Legacy, node: onnx.NodeProto, attributes: dict[str, Any]) -> list[str]:
    """One slope for all, or one for each channel, which comes second."""
    data, slope = legacy.x(node, 0), legacy.x(node, 1)
    rank = legacy.graph.rank(data)
    if legacy.graph.rank(slope) == 1 and rank > 2 and legacy.graph.known_shape(slope) != (1,):
        slope = legacy.node("Unsqueeze", [slope, legacy.graph.ints("axes", list(range(1, rank - 1)))])
    return [legacy.node("PRelu", [data, slope])]


def _pad(legacy: Legacy, node: onnx.NodeProto, attributes: dict[str, Any]) -> list[str]:
    amounts = attributes.get("pads", attributes.get("paddings"))
    if not isinstance(amounts, list):
        raise ImportFailed("it has no pads. The file is damaged.")
    value = legacy.graph.scalar("value", float(attributes.get("value", 0)), legacy.graph.dtype(legacy.x(node)))
    mode = attributes.get("mode", b"constant")
    return [legacy.node("Pad", [legacy.x(node), legacy.graph.ints("pads", amounts), value], mode=mode)]


def _with_axes(legacy: Legacy, node: onnx.NodeProto, attributes: dict[str, Any]) -> list[str]:
    """Axes are an input by now."""
    kept, inputs = _kept(attributes), [legacy.x(node)]
    if (axes := kept.pop("axes", None)) is not None:
        inputs.append(legacy.graph.ints("axes", axes))
    return [legacy.node(node.op_type, inputs, **kept)]


def _reshape(legacy: Legacy, node: onnx.NodeProto, attributes: dict[str, Any]) -> list[str]:
    shape = attributes.get("shape")
    goal = legacy.graph.ints("shape", shape) if shape is not None else legacy.x(node, 1)
    return [legacy.node("Reshape", [legacy.x(node), goal])]


def _slice(legacy: Legacy, node: onnx.NodeProto, attributes: dict[str, Any]) -> list[str]:
    starts, ends = attributes.get("starts", []), attributes.get("ends", [])
    axes = attributes.get("axes", list(range(len(starts))))
    if not len(starts) == len(ends) == len(axes):
        raise ImportFailed(f"it slices from {starts} to {ends} along {axes}. The file is damaged.")
    bounds = [legacy.graph.ints(name, values) for name, values in (("starts", starts), ("ends", ends), ("axes", axes))]
    return [legacy.node("Slice", [legacy.x(node), *bounds])]


def _softmax(legacy: Legacy, node: onnx.NodeProto, attributes: dict[str, Any]) -> list[str]:
    """Over all axes from `axis` on at once."""
    data, axis = legacy.x(node), attributes.get("axis", 1)
    rank = legacy.graph.rank(data)
    axis = axis + rank if axis < 0 else axis
    if axis == rank - 1:
        return [legacy.node(node.op_type, [data], axis=axis)]
    flat = legacy.node(node.op_type, [legacy.node("Flatten", [data], axis=axis)], axis=1)
    return [legacy.node("Reshape", [flat, legacy.node("Shape", [data])])]


def _split(legacy: Legacy, node: onnx.NodeProto, attributes: dict[str, Any]) -> list[str]:
    inputs, parts = legacy.inputs(node), attributes.get("split")
    if parts:
        inputs = [inputs[0], legacy.graph.ints("parts", parts)]
    elif len(inputs) > 1:
        inputs[1] = legacy.node("Cast", [inputs[1]], to=TensorProto.INT64)
    return legacy.graph.nodes("Split", inputs, len(node.output), "split", axis=attributes.get("axis", 0))


def _tile(legacy: Legacy, node: onnx.NodeProto, attributes: dict[str, Any]) -> list[str]:
    """In the first opset: how often, and along which axis."""
    inputs = legacy.inputs(node)
    if len(inputs) == 3:
        times, axis = (legacy.graph.value(tensor) for tensor in inputs[1:])
        if times is None or axis is None or times.size != 1 or axis.size != 1:
            raise unsupported("A repetition whose number or axis is computed")
        repeats = [1] * legacy.graph.rank(inputs[0])
        repeats[int(axis.reshape(()))] = int(times.reshape(()))
        inputs = [inputs[0], legacy.graph.ints("repeats", repeats)]
    return [legacy.node("Tile", inputs)]


def _top_k(legacy: Legacy, node: onnx.NodeProto, attributes: dict[str, Any]) -> list[str]:
    inputs = [legacy.x(node), legacy.graph.ints("k", [attributes.get("k", 1)])]
    return legacy.graph.nodes("TopK", inputs, 2, "topk", axis=attributes.get("axis", -1))


def _upsample(legacy: Legacy, node: onnx.NodeProto, attributes: dict[str, Any]) -> list[str]:
    """Pixels are taken from where output times 1 / scale falls, rounded down, or between its neighbours."""
    scales = attributes.get("scales")
    if scales is None:
        scales = [1.0, 1.0, attributes.get("height_scale", 1.0), attributes.get("width_scale", 1.0)]
    mode = attributes.get("mode", b"nearest")
    attributes = {"mode": "nearest", "nearest_mode": "floor"} if mode == b"nearest" else {"mode": "linear"}
    sizes = legacy.graph.constant("scales", np.array(scales, np.float32))
    inputs = [legacy.x(node), "", sizes]
    return [legacy.node("Resize", inputs, coordinate_transformation_mode="asymmetric", **attributes)]


def _mean_variance(legacy: Legacy, node: onnx.NodeProto, attributes: dict[str, Any]) -> list[str]:
    """Over the picture, or over the channels as well."""
    data = legacy.x(node)
    rank = legacy.graph.rank(data)
    axes = list(range(1 if attributes.get("across_channels", 0) else 2, rank))
    centred = legacy.node("Sub", [data, legacy.node("ReduceMean", [data], axes=axes, keepdims=1)])
    if not attributes.get("normalize_variance", 1):
        return [centred]
    spread = legacy.node("ReduceMean", [legacy.node("Mul", [centred, centred])], axes=axes, keepdims=1)
    root = legacy.node("Sqrt", [legacy.node("Add", [spread, legacy.graph.scalar("epsilon", 1e-9)])])
    return [legacy.node("Div", [centred, root])]


def _experimental(legacy: Legacy, node: onnx.NodeProto, attributes: dict[str, Any]) -> list[str]:
    """Operators that `expanded` knows, in a graph that is written anew."""
    names = dict(zip(node.input, legacy.inputs(node), strict=False))
    for made in _expansion(node, attributes):
        inputs = [names[name] for name in made.input]
        kept = attributes_of(made)
        if made.op_type == "Constant":
            names[made.output[0]] = legacy.graph.constant("constant", kept["value"])
        elif made.op_type == "Slice":
            bounds = [legacy.graph.ints(name, kept[name]) for name in ("starts", "ends", "axes")]
            names[made.output[0]] = legacy.node("Slice", [*inputs, *bounds])
        else:
            names[made.output[0]] = legacy.node(made.op_type, inputs)
    return [names[node.output[0]]]


def _linear(
    source: str, output: str, factor: Shaped[np.ndarray, "..."], shift: Shaped[np.ndarray, "..."]
) -> list[onnx.NodeProto]:
    """output = factor * source + shift."""
    return [
        helper.make_node("Constant", [], [f"{output}:factor"], value=numpy_helper.from_array(factor)),
        helper.make_node("Constant", [], [f"{output}:shift"], value=numpy_helper.from_array(shift)),
        helper.make_node("Mul", [source, f"{output}:factor"], [f"{output}:scaled"], name=f"{output}:scale"),
        helper.make_node("Add", [f"{output}:scaled", f"{output}:shift"], [output], name=f"{output}:move"),
    ]


def _expansion(node: onnx.NodeProto, attributes: dict[str, Any]) -> list[onnx.NodeProto]:
    """Nodes of the standard in place of an experimental one, valid in opsets 7 to 9."""
    if len(node.input) < 1 or len(node.output) != 1:
        raise ImportFailed(f"{node.op_type} has {len(node.input)} inputs, {len(node.output)} outputs.")
    source, output = node.input[0], node.output[0]

    def number(name: str, usual: int | float) -> Shaped[np.ndarray, "..."]:
        return np.array(attributes.get(name, usual), np.float32)

    zero = np.array(0, np.float32)
    if node.op_type == "Scale":
        return _linear(source, output, number("scale", 1), zero)
    if node.op_type == "Affine":
        return _linear(source, output, number("alpha", 1), number("beta", 0))
    if node.op_type == "ImageScaler":
        bias = np.array(attributes.get("bias", [0.0]), np.float32).reshape(1, -1, 1, 1)
        return _linear(source, output, number("scale", 1), bias)
    if node.op_type in ("ScaledTanh", "ParametricSoftplus"):
        kind = "Tanh" if node.op_type == "ScaledTanh" else "Softplus"
        inner, outer = f"{output}:inner", f"{output}:outer"
        return [
            *_linear(source, inner, number("beta", 1), zero),
            helper.make_node(kind, [inner], [outer], name=f"{output}:curve"),
            *_linear(outer, output, number("alpha", 1), zero),
        ]
    left, top, right, bottom = (int(side) for side in [*attributes.get("border", []), 0, 0, 0, 0][:4])
    ends = [-bottom or OPEN_END, -right or OPEN_END]
    if (size := attributes.get("scale")) and len(size) == 2:
        ends = [top + int(size[0]), left + int(size[1])]
    return [helper.make_node("Slice", [source], [output], name=output, axes=[2, 3], starts=[top, left], ends=ends)]


def expanded(model: onnx.ModelProto) -> list[str]:
    """Replace the experimental operators of a model whose opset has none of them; their names."""
    found: list[str] = []
    if not 1 <= version_of(model) <= 9:
        return found
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if node.op_type in EXPERIMENTAL and node.domain in ("", "ai.onnx"):
            found.append(node.op_type)
            nodes += _expansion(node, attributes_of(node))
        else:
            nodes.append(node)
    if found:
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del model.graph.node[:]
        model.graph.node.extend(copies)
    return sorted(set(found))


RULES: dict[str, Rule] = {
    **dict.fromkeys(SAME.split(), _same),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Greater", "Less", "Equal"), _broadcast),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), _softmax),
    **dict.fromkeys(("Squeeze", "Unsqueeze", "ReduceSum"), _with_axes),
    **dict.fromkeys(("LpPool", "GlobalLpPool"), _pool_of_powers),
    **dict.fromkeys(EXPERIMENTAL, _experimental),
    "BatchNormalization": _batch_normalization,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Constant": _constant,
    "Dropout": _dropout,
    "MeanVarianceNormalization": _mean_variance,
    "PRelu": _prelu,
    "Pad": _pad,
    "Reshape": _reshape,
    "Selu": _selu,
    "Slice": _slice,
    "Split": _split,
    "Tile": _tile,
    "TopK": _top_k,
    "Upsample": _upsample,
}


def upgraded(model: onnx.ModelProto, file: str) -> tuple[onnx.ModelProto, tuple[Layer, ...]]:
    """A model of opset 1 to 6 as one of today, and its layers. Raises ImportFailed."""
    return Legacy(model, file).convert()
