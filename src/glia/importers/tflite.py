"""TensorFlow Lite: float, half, quantised after or during training; one file, perhaps with its labels beside it.

Pictures stay (height, width, channels) at the borders. Quantised inputs and outputs become floats there: the real
numbers that theirs stand for, rounded inside as the original rounds. The batch is opened where every output follows
it; else the network keeps the size that its file declares.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from glia.core.errors import ImportFailed
from glia.importers.faults import Faults
from glia.importers.graph import GraphWriter
from glia.importers.importer import ImportedGraph, read_limited, refuse_unknown
from glia.importers.tflite_ops import RULES, reason
from glia.importers.tflite_ops.metadata import described, labels_of, picture
from glia.importers.tflite_ops.model import IDENTIFIER, Model, Operator, Subgraph, Tensor, read_model
from glia.importers.tflite_ops.network import Network, clean

MAX_FILE_BYTES = 2 << 30
MAX_LABELS_BYTES = 1 << 22
DAMAGE = (
    IndexError, KeyError, ValueError, TypeError, ArithmeticError, AttributeError, struct.error, RecursionError,
    MemoryError,
)  # fmt: skip
"""What rules meet in files whose operators have too few inputs, or options that cannot be."""


class TFLite:
    """TFLite; options: `input_size` ([height, width] of the picture), `outputs` (names of tensors to end at)."""

    format = "tflite"

    def sniff(self, head: bytes, size: int) -> bool:
        """The identifier of its FlatBuffer, and a root inside the file."""
        return head[4:8] == IDENTIFIER and 8 <= int.from_bytes(head[:4], "little") < size

    def read(self, files: Mapping[str, Path], options: Mapping[str, Any]) -> dict[str, ImportedGraph]:
        """The network of role `model`. Raises ImportFailed."""
        refuse_unknown(options, {"input_size", "outputs"})
        path, labels = _chosen(files)
        data = read_limited(path, MAX_FILE_BYTES)
        try:
            model = read_model(data, path.name)
            model = replace(model, graph=_resized(_ended(model.graph, options.get("outputs")), options))
            try:
                graph = _build(model, path.name, open_batch=True)
            except ImportFailed:
                graph = _build(model, path.name, open_batch=False)
        except DAMAGE as error:
            raise ImportFailed(f"{path.name} is damaged: {type(error).__name__}: {str(error)[:200]}.") from None
        known = picture([model.graph.tensors[index] for index in model.graph.inputs]) | described(model, data)
        if labels is not None:
            known["labels"] = labels
        return {"model": replace(graph, known=known)}


def _chosen(files: Mapping[str, Path]) -> tuple[Path, tuple[str, ...] | None]:
    """The network, and the names of its classes where a list of them lies beside it."""
    networks, labels = [], None
    for path in files.values():
        try:
            with path.open("rb") as file:
                head = file.read(8)
        except OSError as error:
            raise ImportFailed(f"{path.name} cannot be read: {error.strerror}. Check the path.") from None
        if head[4:8] == IDENTIFIER:
            networks.append(path)
            continue
        found = labels_of(read_limited(path, MAX_LABELS_BYTES))
        if found is None or labels is not None:
            raise ImportFailed(f"{path.name} is neither a TFLite network nor a list of labels; give one of each.")
        labels = found
    if len(networks) != 1:
        raise ImportFailed(f"Expected one TFLite network, received {len(networks)} in {sorted(files)}.")
    return networks[0], labels


def _ended(graph: Subgraph, wanted: Any) -> Subgraph:
    """The graph that ends at the tensors of these names; what is computed for others only is left out."""
    if wanted is None:
        return graph
    names = {tensor.name: index for index, tensor in enumerate(graph.tensors)} | {
        clean(tensor.name): index for index, tensor in enumerate(graph.tensors)
    }
    if not isinstance(wanted, list | tuple) or not wanted or not all(isinstance(name, str) for name in wanted):
        raise ImportFailed(f"Expected the option `outputs` to be a list of tensors' names, received {wanted!r}.")
    if unknown := [name for name in wanted if name not in names]:
        raise ImportFailed(f"The option `outputs` names {unknown}, which the network has not: {sorted(names)[:50]}.")
    outputs = tuple(names[name] for name in wanted)
    needed, operators = set(outputs), list[Operator]()
    for op in reversed(graph.operators):
        if needed.intersection(op.outputs):
            operators.append(op)
            needed.update(op.inputs)
    inputs = tuple(index for index in graph.inputs if index in needed)
    return replace(graph, outputs=outputs, operators=tuple(operators[::-1]), inputs=inputs)


def _resized(graph: Subgraph, options: Mapping[str, Any]) -> Subgraph:
    """The graph whose pictures have another size."""
    size = options.get("input_size")
    if size is None:
        return graph
    right = isinstance(size, list | tuple) and len(size) == 2 and all(
        isinstance(side, int) and not isinstance(side, bool) and 1 <= side <= 1 << 14 for side in size
    )  # fmt: skip
    tensors, found = list(graph.tensors), False
    for index in graph.inputs:
        shape = tensors[index].shape
        if right and len(shape) == 4:
            shape, found = (shape[0], int(size[0]), int(size[1]), shape[3]), True
            tensors[index] = replace(tensors[index], shape=shape, signature=shape)
    if not found:
        raise ImportFailed(f"Expected the option `input_size` as [height, width] of a picture, received {size!r}.")
    return replace(graph, tensors=tuple(tensors))


def _build(model: Model, file: str, *, open_batch: bool) -> ImportedGraph:
    """The graph in ONNX. Raises ImportFailed that names everything for which there is no rule."""
    graph, sub, faults = GraphWriter("tflite"), model.graph, Faults(file)
    net = Network(graph, sub, open_batch=open_batch)
    inputs = {index: net.enter(index, _name(model, index)) for index in dict.fromkeys(sub.inputs)}
    for index, op in enumerate(sub.operators):
        name = sub.tensors[op.outputs[0]].name[:200] if op.outputs else f"operator {index}"
        with faults.of(name, op.kind), graph.layer(name, op.kind):
            _write(net, op, index)
    faults.check()
    outputs = {index: net.leave(index, _name(model, index)) for index in dict.fromkeys(sub.outputs)}
    shown_in = _shown(inputs, sub.tensors, "image", model)
    shown_out = _shown(outputs, sub.tensors, "scores", model)
    for state, new in net.states:
        shown_in[state] = state
        shown_out[f"{state}_next"] = graph.output(f"{state}_next", new)
    return ImportedGraph(
        graph.model(), shown_in, shown_out, tuple(_notes(net, model, inputs, outputs)), tuple(graph.layers)
    )


def _write(net: Network, op: Operator, index: int) -> None:
    """One operator by its rule. Raises ImportFailed."""
    net.begin(index, op)
    rule = RULES.get(op.kind)
    if rule is None:
        raise ImportFailed(reason(op.kind))
    try:
        rule(net, op)
    except DAMAGE as error:
        raise ImportFailed(f"its inputs and options do not fit together ({type(error).__name__}: {error})") from None


def _name(model: Model, index: int) -> str:
    return clean(model.graph.tensors[index].name)


def _shown(named: Mapping[int, str], tensors: tuple[Tensor, ...], usual: str, model: Model) -> dict[str, str]:
    """The names that tasks use: those of a signature, or the usual one where a picture comes in, one answer leaves."""
    if len(named) == 1:
        (index, name), = named.items()  # fmt: skip
        shape = tensors[index].shape
        if usual == "scores" or (len(shape) == 4 and shape[3] in (1, 3)):
            return {usual: name}
    shown = {clean(model.aliases.get(index, name)): name for index, name in named.items()}
    return shown if len(shown) == len(named) else {name: name for name in named.values()}


def _notes(net: Network, model: Model, inputs: Mapping[int, str], outputs: Mapping[int, str]) -> list[str]:
    notes = list(dict.fromkeys(net.notes))
    if not net.open_batch:
        notes.append("takes the batch that the file declares: some operator mixes the items of larger ones")
    if any(tensor.quantised is not None and tensor.data is not None for tensor in model.graph.tensors):
        notes.append("quantised: rounded where the original rounds, real numbers at the borders")
    for index, name in {**inputs, **outputs}.items():
        q = model.graph.tensors[index].quantised
        if q is not None and q.is_single:
            number, zero = float(np.float32(q.scale[0])), int(q.zero[0])
            notes.append(f"{name}: the original's integer i is ({zero} subtracted, times {number:.6g}) here")
    if model.graphs > 1:
        notes.append(f"the first of {model.graphs} graphs")
    if net.states:
        notes.append("keeps a state: give each `state` zeros first, then what `state_next` was")
    return notes


IMPORTER = TFLite()
