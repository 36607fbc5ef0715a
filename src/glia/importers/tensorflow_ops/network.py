"""What is wanted of a network: from which inputs to which outputs; and the graph of that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from glia.core.errors import ImportFailed
from glia.importers.importer import ImportedGraph
from glia.importers.sizes import Dims
from glia.importers.tensorflow_ops import entries
from glia.importers.tensorflow_ops.call import Value
from glia.importers.tensorflow_ops.dilation import with_dilations
from glia.importers.tensorflow_ops.dropout import without_dropout
from glia.importers.tensorflow_ops.entries import BATCH, Entry
from glia.importers.tensorflow_ops.nodes import Node, Source
from glia.importers.tensorflow_ops.numbers import decode, dtype_of
from glia.importers.tensorflow_ops.walk import Network, Walk

OPTIONS = {"inputs", "outputs", "input_size"}


def import_network(network: Network, options: Mapping[str, Any]) -> ImportedGraph:
    """The part of a network that is wanted, as ONNX. `options`: those of `OPTIONS`. Raises ImportFailed."""
    said = [text for text in network.signature.outputs if text.split(":")[0] in network.nodes]  # some say it wrongly
    outputs = _names(options, "outputs") or said
    ends = [entries.named(text, network.nodes, "an output") for text in outputs] or entries.ends(network.nodes)
    nodes, dropped = without_dropout(network.nodes)
    network = replace(network, nodes=with_dilations(nodes, lambda source: _integers(network, source)))
    notes = [f"{dropped} dropouts were taken out: nothing is dropped when a network answers."] if dropped else []
    begins = _begins(network, options, ends, notes)
    declared = [entries.sized(entry, options.get("input_size"), len(begins) == 1) for entry in begins]
    opened = _opened(declared)
    if opened is not None:
        try:
            graph = _written(network, opened, ends, notes, bool(outputs))
            if all(_leads_with_batch(output) for output in graph.model.graph.output):
                return graph
        except ImportFailed:
            pass  # it needs the size of its batch
    return _written(network, declared, ends, notes, bool(outputs))


def _integers(network: Network, source: Source) -> list[int] | None:
    """The integers of a constant; None for anything else. Raises ImportFailed for one that is damaged."""
    node = network.nodes.get(source[0])
    if node is None or node.op != "Const":
        return None
    held = node.attributes.get("value")
    value = decode(held) if hasattr(held, "tensor_shape") else network.values.get(node.name)
    return [int(one) for one in value.ravel()] if value is not None and value.dtype.kind in "iu" else None


def _names(options: Mapping[str, Any], key: str) -> list[str]:
    value = options.get(key) or []
    value = [value] if isinstance(value, str) else value
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
        raise ImportFailed(f"Expected the option `{key}` to be names of the network's tensors, received {value!r}.")
    return list(value)


def _begins(network: Network, options: Mapping[str, Any], ends: Sequence[Source], notes: list[str]) -> list[Entry]:
    """The inputs of what is wanted: those named, or what file decoders give, or placeholders."""
    nodes = network.nodes
    chosen = [entries.named(text, nodes, "an input") for text in _names(options, "inputs")]
    if not chosen:
        chosen = entries.cuts(nodes, entries.needed(nodes, ends, set()))
        notes.extend(
            f"The graph begins with what {nodes[name].op} ({name}) gives: decode the file yourself."
            for name, _ in chosen
        )
    wanted = entries.needed(nodes, ends, {name for name, _ in chosen})
    found = [_cut(network, source, options) for source in chosen]
    for name in nodes:
        node = nodes[name]
        if name in wanted and node.op in entries.PLACEHOLDERS and all(name != entry.source[0] for entry in found):
            entry = entries.placeholder(node, nodes)
            if entry is not None and entry.shape is None:
                entry = replace(entry, shape=entries.guessed(node, nodes))
            if entry is not None:
                found.append(entry)
    order = {text: place for place, text in enumerate(network.signature.inputs)}
    return sorted(found, key=lambda entry: order.get(f"{entry.source[0]}:{entry.source[1]}", len(order)))


def _cut(network: Network, source: Source, options: Mapping[str, Any]) -> Entry:
    """A tensor as an input: its shape and type come from what leads to it, where that can be followed."""
    node = network.nodes[source[0]]
    if node.op in entries.DECODERS:
        return Entry(source, decoded_shape(network, node), decoded_type(node))
    if node.op in entries.PLACEHOLDERS:
        entry = entries.placeholder(node, network.nodes)
        if entry is not None:
            return entry
    plain = {key: value for key, value in options.items() if key == "input_size"}
    try:
        begins = _begins(network, {}, [source], [])
        walk = Walk(network, [entries.sized(entry, plain.get("input_size"), len(begins) == 1) for entry in begins], [])
        (value,) = walk.demand([source])
        walk.faults.check()
        if isinstance(value, str):
            tensor = walk.layout.last(value)
            known = tuple(None if isinstance(size, str) else size for size in walk.graph.shape(tensor))
            return Entry(source, known, walk.graph.dtype(tensor))
    except ImportFailed:
        pass  # what lies before the cut need not be understood
    sizes = entries.declared(node, source[1])
    shape = tuple(size if size >= 0 else None for size in sizes) if sizes is not None else None
    kind = next((node.attributes[key] for key in ("DstT", "dtype", "T") if key in node.attributes), 1)
    return Entry(source, shape if shape is not None else entries.guessed(node, network.nodes), dtype_of(kind))


def decoded_type(node: Node) -> Any:
    """The type of what a decoder gives."""
    return dtype_of(4 if node.op in entries.PICTURE_FILES else 1)


def decoded_shape(network: Network, node: Node) -> Dims:
    """Pictures are [height, width, channels]; the frames of a sound follow from its length, where that is known."""
    attributes = node.attributes
    if node.op in entries.PICTURE_FILES:
        return (None, None, attributes.get("channels") or 3)
    if node.op == "DecodeWav":
        samples, channels = (attributes.get(key, -1) for key in ("desired_samples", "desired_channels"))
        return (samples if samples > 0 else None, channels if channels > 0 else None)
    spectrogram = (
        node if node.op == "AudioSpectrogram" else network.nodes.get(node.inputs[0][0]) if node.inputs else None
    )
    frames, bins = None, None
    if spectrogram is not None and spectrogram.op == "AudioSpectrogram" and spectrogram.inputs:
        sound = network.nodes.get(spectrogram.inputs[0][0])
        window, stride = (int(spectrogram.attributes.get(key) or 0) for key in ("window_size", "stride"))
        samples = int(sound.attributes.get("desired_samples") or -1) if sound is not None else -1
        if samples >= window > 1 and stride > 0:
            frames, bins = 1 + (samples - window) // stride, (1 << (window - 1).bit_length()) // 2 + 1
    return (1, frames, int(attributes.get("dct_coefficient_count") or 13) if node.op == "Mfcc" else bins)


def _check(walk: Walk, named: bool) -> None:
    """Raise ImportFailed with all faults; where nobody named the outputs, an earlier one may do."""
    try:
        walk.faults.check()
    except ImportFailed as error:
        hint = (
            "" if named else " To leave out what follows a tensor, or what leads to it, name it: `outputs`, `inputs`."
        )
        raise ImportFailed(f"{error.message}{hint}") from None


def decoders_of(network: Network, begins: Sequence[Entry]) -> dict[str, dict[str, Any]]:
    """The settings of the decoders that were cut off, by their operator: windows and frequencies of a sound."""
    found: dict[str, dict[str, Any]] = {}
    names = [entry.source[0] for entry in begins]
    while names:
        node = network.nodes.get(names.pop())
        if node is not None and node.op in entries.DECODERS and node.op not in found:
            plain = {key: value for key, value in node.attributes.items() if isinstance(value, bool | int | float)}
            found[node.op] = plain
            names.extend(name for name, _ in node.inputs)
    return found


def _opened(declared: Sequence[Entry]) -> list[Entry] | None:
    """The inputs with an open batch, where all of them have the same fixed one."""
    batched = [entry for entry in declared if entry.shape is not None and len(entry.shape) >= 2]
    firsts = {entry.shape[0] for entry in batched if entry.shape is not None}
    if len(firsts) != 1 or not isinstance(next(iter(firsts)), int) or len(batched) != len(declared):
        return None
    return [replace(entry, shape=(BATCH, *entry.shape[1:])) for entry in batched if entry.shape is not None]


def _leads_with_batch(output: Any) -> bool:
    dims = output.type.tensor_type.shape.dim
    return bool(dims) and dims[0].dim_param == BATCH


def _written(
    network: Network, begins: Sequence[Entry], ends: Sequence[Source], notes: Sequence[str], named: bool
) -> ImportedGraph:
    """The graph from these inputs to these ends; `named`: somebody asked for just these."""
    walk = Walk(network, begins, [entries.shown(end) for end in ends])
    values = walk.demand(ends)
    found: list[tuple[Source, Value]] = list(zip(ends, values, strict=True))
    if not named:
        found = [pair for end in ends for pair in walk.all_outputs(end)]
    _check(walk, named)
    outputs = []
    for end, value in found:
        if not isinstance(value, str):
            raise ImportFailed(f"{network.file}: the output {entries.shown(end)!r} is no tensor. Name another one.")
        outputs.append(entries.shown(end))
        walk.graph.output(entries.shown(end), walk.layout.last(value))
    inputs = list(walk.begins.values())
    if not walk.begins:
        notes = [*notes, "The network reads no input: what it gives is constant."]
    shape = begins[0].shape if len(begins) == 1 else None
    one_picture = shape is not None and len(shape) == 4
    known = dict(network.known)
    if decoders := decoders_of(network, begins):
        known["decoders"] = decoders
    if shape is not None and one_picture:
        sizes = [shape[axis] for axis in entries.picture_axes(shape)]
        if all(isinstance(size, int) for size in sizes):
            known["size"] = sizes
    return ImportedGraph(
        walk.graph.model(),
        {"image": inputs[0]} if one_picture else {name: name for name in inputs},
        {"scores": outputs[0]} if one_picture and len(outputs) == 1 else {name: name for name in outputs},
        tuple(dict.fromkeys([*notes, *walk.notes])),
        tuple(walk.graph.layers),
        known,
    )
