"""ONNX files: read, brought to float32 and a present opset, and, if asked, opened to batches.

Every opset is read: of those before 7 each node is written anew, as for the experimental operators of the first years.
Functions are put in the place of their calls. What is refused: weights in other files, operators of other domains
than ONNX's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto, numpy_helper

from glia.core.errors import ImportFailed
from glia.importers.importer import IR_VERSION, OPSET, ImportedGraph, Layer, only_file, read_limited, refuse_unknown
from glia.importers.onnx_functions import inlined
from glia.importers.onnx_legacy import OLDEST_CONVERTED, expanded, upgraded, version_of
from glia.importers.onnx_legacy import RULES as LEGACY
from glia.importers.onnx_metadata import known_of, told_by

MAX_FILE_BYTES = 2**31 - 1  # protobuf's own limit
MAX_GRAPH_DEPTH = 20
DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
BATCH = "n"
PROBE = 1009  # a prime that no network has as a size
REASONS = (  # ValueError and TypeError: names that are no UTF-8, arrays whose size and shape differ; KeyError: no type
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
    onnx.version_converter.ConvertError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    MemoryError,
    RecursionError,
)


def _fields(head: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Number, wire type, value (or length) and content's place of the protobuf fields that begin in `head`."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while at < len(head) and shift < 64:
            byte = head[at]
            at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value
        at = len(head)
        return -1

    while at < len(head):
        key, value = varint(), varint()
        if key < 0 or value < 0:
            return
        yield key >> 3, key & 7, value, at
        at += value if key & 7 == 2 else 0


def _graphs(graph: onnx.GraphProto, depth: int = 0) -> Iterator[onnx.GraphProto]:
    """The graph and those inside its nodes (bodies of If and Loop)."""
    if depth > MAX_GRAPH_DEPTH:
        raise ImportFailed(f"Graphs lie more than {MAX_GRAPH_DEPTH} deep in each other, expected fewer.")
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from _graphs(inner, depth + 1)


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every array of one graph: weights and attributes."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from attribute.tensors
            if attribute.HasField("t"):
                yield attribute.t


def _is_standard(node: onnx.NodeProto, old: bool) -> bool:
    if old and node.op_type in LEGACY:  # some of them are no more
        return node.domain in DOMAINS[:2]
    return node.domain in DOMAINS and onnx.defs.has(node.op_type, "" if node.domain == "ai.onnx" else node.domain)


def _parse(data: bytes) -> onnx.ModelProto:
    """The model, after what is refused has been looked for."""
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError:
        raise ImportFailed(
            "Expected an ONNX model, received bytes that protobuf cannot read. Fetch the file again."
        ) from None
    if (version := version_of(model)) < 1:
        raise ImportFailed(f"Expected opset 1 or newer of ONNX's own operators, received {version}. Export it again.")
    if model.functions:
        model = inlined(model, DOMAINS)
    old = version < OLDEST_CONVERTED
    if version >= OLDEST_CONVERTED:
        expanded(model)
    for graph in _graphs(model.graph):
        nodes = [node for node in graph.node if not _is_standard(node, old)]
        if foreign := {f"{node.domain}.{node.op_type}".lstrip(".") for node in nodes}:
            raise ImportFailed(f"Expected ONNX's own operators, received {sorted(foreign)}. Export without extensions.")
        for tensor in _tensors(graph):
            if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
                raise ImportFailed(
                    f"The tensor {tensor.name!r} lies in another file, expected all weights inside. "
                    "Save with onnx.save(model, path, save_as_external_data=False)."
                )
    return model


def _upgrade(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
    """The model at `OPSET` or newer, with its weights no longer listed among its inputs."""
    notes: list[str] = []
    onnx.checker.check_model(model)
    version = next(entry.version for entry in model.opset_import if entry.domain in DOMAINS[:2])
    if version < OPSET:
        try:
            model = onnx.version_converter.convert_version(model, OPSET)
            notes.append(f"opset {version} brought to {OPSET}")
        except RuntimeError:  # its assertions, for what it has no adapter for: runtimes read it as it is
            notes.append(f"kept at opset {version}")
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) < len(model.graph.input):
        del model.graph.input[:]
        model.graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, IR_VERSION)
    return model, notes


def _to_float32(model: onnx.ModelProto) -> bool:
    """Turn 16-bit floats into float32 everywhere; whether there were any."""
    changed = False
    for graph in _graphs(model.graph):
        for value in (*graph.input, *graph.output, *graph.value_info):
            if value.type.tensor_type.elem_type in HALVES:
                value.type.tensor_type.elem_type = TensorProto.FLOAT
                changed = True
        for tensor in _tensors(graph):
            if tensor.data_type in HALVES:
                array = numpy_helper.to_array(tensor).astype(np.float32)
                tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
                changed = True
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.name in ("to", "dtype") and attribute.i in HALVES:
                    attribute.i = TensorProto.FLOAT
                    changed = True
    return changed


def _first(value: onnx.ValueInfoProto) -> onnx.TensorShapeProto.Dimension | None:
    """The first dimension, if the shape is known and has one."""
    dims = value.type.tensor_type.shape.dim
    return dims[0] if dims else None


def _inferred(model: onnx.ModelProto, *, strict: bool) -> onnx.ModelProto:
    return onnx.shape_inference.infer_shapes(model, check_type=strict, strict_mode=strict, data_prop=True)


def _open_reshapes(model: onnx.ModelProto, sizes: set[int]) -> None:
    """Let Reshapes to a constant shape copy the first dimension where it is the batch and was written as a number."""
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    constants |= {
        node.output[0]: entry.t for node in graph.node if node.op_type == "Constant" for entry in node.attribute
    }
    for node in graph.node:
        if node.op_type != "Reshape" or node.input[1] not in constants:
            continue
        shape = numpy_helper.to_array(constants[node.input[1]])
        if shape.size == 0 or int(shape[0]) not in sizes or any(entry.name == "allowzero" for entry in node.attribute):
            continue
        values = {value.name: value for value in (*_inferred(model, strict=False).graph.value_info, *graph.input)}
        first = _first(values[node.input[0]]) if node.input[0] in values else None
        if first is not None and first.dim_value == PROBE:
            name = f"{node.output[0]}_shape_of_batch"
            graph.initializer.append(numpy_helper.from_array(np.concatenate([[0], shape[1:]]).astype(np.int64), name))
            node.input[1] = name


def _open_batch(model: onnx.ModelProto) -> None:
    """Name the first dimension of every input and output `n`, after checking that it goes through the whole graph.

    The check: with a prime number as batch, the shapes that follow must have it as first dimension of every output.
    """
    sizes = {1}
    for value in model.graph.input:
        if (first := _first(value)) is None:
            raise ImportFailed(f"The input {value.name!r} has no first dimension. Import without batch: dynamic.")
        sizes |= {first.dim_value} if first.HasField("dim_value") else set()
        first.dim_value = PROBE
    del model.graph.value_info[:]
    declared = [_copy(value) for value in model.graph.output]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        _open_reshapes(model, sizes)
        inferred = _inferred(model, strict=True)
    except onnx.shape_inference.InferenceError as error:
        raise ImportFailed(f"The network takes no batches; import it without batch: dynamic. {error}") from None
    for value, before, found in zip(model.graph.output, declared, inferred.graph.output, strict=True):
        first, old = _first(found), _first(before)
        if first is None or first.dim_value != PROBE:
            if old is None or not old.dim_param:
                raise ImportFailed(
                    f"The output {value.name!r} does not follow the batch: of {PROBE} items it makes "
                    f"{first.dim_value or first.dim_param if first else 'what only running tells'}. "
                    "Import without batch: dynamic."
                )
            found = before
        value.CopyFrom(found)
    for value in (*model.graph.input, *model.graph.output):
        if (first := _first(value)) is not None:
            first.dim_param = BATCH


def _copy(value: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    copied = onnx.ValueInfoProto()
    copied.CopyFrom(value)
    return copied


def _names(tensors: list[str], wanted: Any, what: str, *, all_needed: bool) -> dict[str, str]:
    """The task's names of tensors to the graph's; without any wish, the graph's own."""
    if wanted is None:
        return {name: name for name in tensors}
    if not isinstance(wanted, Mapping) or not all(isinstance(tensor, str) for tensor in wanted.values()):
        raise ImportFailed(f"Expected the option `{what}` to map names to some of {tensors}, received {wanted!r}.")
    if unknown := sorted(set(wanted.values()) - set(tensors)):
        raise ImportFailed(f"The option `{what}` names {unknown}, expected some of {tensors}.")
    if all_needed and (unnamed := sorted(set(tensors) - set(wanted.values()))):
        raise ImportFailed(f"The option `{what}` does not name {unnamed}, expected all of {tensors}.")
    return {str(name): str(tensor) for name, tensor in wanted.items()}


class OnnxFile:
    """ONNX; options: `batch` ("dynamic"), `inputs` and `outputs` (the task's names to the graph's)."""

    format = "onnx"

    def sniff(self, head: bytes, size: int) -> bool:
        """A protobuf whose fields are those of a ModelProto, with a graph that lies inside the file."""
        for position, (number, wire, value, at) in enumerate(_fields(head)):
            if number == 7:
                return wire == 2 and 0 < value <= size - at
            if position == 0 and (number, wire) not in ((1, 0), (8, 2)):
                return False
            if (number, wire) not in ((1, 0), (5, 0)) and not (number in (2, 3, 4, 6, 8, 14) and wire == 2):
                return False
            if number in (2, 3, 4) and not (
                value < 200 and head[at : at + value].decode("utf-8", "replace").isprintable()
            ):
                return False
        return False

    def read(self, files: Mapping[str, Path], options: Mapping[str, Any]) -> dict[str, ImportedGraph]:
        """The network of role `model`. Raises ImportFailed."""
        refuse_unknown(options, {"batch", "inputs", "outputs"})
        path = only_file(files, self.format)
        data = read_limited(path, MAX_FILE_BYTES)
        try:
            model = _parse(data)
            version, layers = version_of(model), tuple[Layer, ...]()
            known, told = known_of(model), told_by(model)
            half = version < OLDEST_CONVERTED and _to_float32(model)
            if version < OLDEST_CONVERTED:
                model, layers = upgraded(model, path.name)
            model, notes = _upgrade(model)
            if version < OLDEST_CONVERTED:
                notes.append(f"opset {version} written anew as {OPSET}")
            if half or _to_float32(model):
                notes.append("16-bit floats turned into float32")
            if (batch := options.get("batch")) == "dynamic":
                _open_batch(model)
                notes.append("opened to batches")
            elif batch is not None:
                raise ImportFailed(f"Expected the option `batch` to be 'dynamic', received {batch!r}.")
            onnx.checker.check_model(model, full_check=True)
        except REASONS as error:
            raise ImportFailed(f"The model is damaged or breaks ONNX's rules: {error}") from None
        inputs = _names([value.name for value in model.graph.input], options.get("inputs"), "inputs", all_needed=True)
        outputs = _names(
            [value.name for value in model.graph.output], options.get("outputs"), "outputs", all_needed=False
        )
        return {"model": ImportedGraph(model, inputs, outputs, tuple(notes + told), layers, known)}


IMPORTER = OnnxFile()
