"""Caffe: prototxt and caffemodel of three generations, mean.binaryproto; CaffeJS's blobs; Deep Compression's file.

The structure is the prototxt's where one is given, since forks use the same numbers of fields for other things and only
text has names; the caffemodel then gives the weights, by the names of layers. Sizes of pooled pictures are rounded up.
Source: https://github.com/BVLC/caffe
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from glia.core.errors import ImportFailed
from glia.importers.caffe_layers import pointwise, recurrent, shapes, spatial, weighted
from glia.importers.caffe_layers.files import (
    Given,
    is_caffemodel,
    is_prototxt,
    read_structure,
    read_weights,
    sort_files,
)
from glia.importers.caffe_layers.network import CaffeLayer, Network
from glia.importers.caffe_layers.rules import REFUSED, RULES, Build
from glia.importers.caffe_layers.schema import of
from glia.importers.caffe_layers.weights import Weights
from glia.importers.faults import Faults, input_failed, unsupported
from glia.importers.graph import GraphWriter
from glia.importers.importer import ImportedGraph, refuse_unknown
from glia.importers.names import clean
from glia.importers.options import MAX_INPUT, read_names, read_size

assert all((pointwise, recurrent, shapes, spatial, weighted))  # they register their rules
MAX_TENSORS = 1 << 16
BATCH = "n"
RAW_ENDS = {"DetectionOutput": "its boxes and scores are given as they are, without suppression"}
"""Kinds that are left out: what they read becomes the output."""


class Caffe:
    """Networks of Caffe; options: `input_size` [px], a number or (height, width); `outputs`, blobs or layers."""

    format = "caffe"

    def sniff(self, head: bytes, size: int) -> bool:
        """Text with layers, or the fields of a NetParameter."""
        return is_prototxt(head) or is_caffemodel(head, size)

    def read(self, files: Mapping[str, Path], options: Mapping[str, Any]) -> dict[str, ImportedGraph]:
        """The network of role `model`. Raises ImportFailed."""
        refuse_unknown(options, {"input_size", "outputs"})
        size, wanted = read_size(options.get("input_size")), read_names(options.get("outputs"))
        given = sort_files(files)
        name, network, others = read_structure(given)
        weights = read_weights(given, network)
        for other in others:
            network.transform = other.transform or network.transform
        graph = _write_open(name, network, weights, size, wanted)
        return {"model": _finished(graph, network, given)}


def _write_open(
    name: str, network: Network, weights: Weights, size: tuple[int, int] | None, wanted: list[str]
) -> Build:
    """The graph for pictures of any size, if the network allows it; else for the size that it declares."""
    if size is None:
        try:
            return _write(name, network, weights, _inputs(network, weights, None, is_open=True), wanted)
        except ImportFailed:
            pass  # a layer needs the size; what else is wrong will be told again
    return _write(name, network, weights, _inputs(network, weights, size, is_open=False), wanted)


def _inputs(
    network: Network, weights: Weights, size: tuple[int, int] | None, *, is_open: bool
) -> dict[str, tuple[int | str, ...]]:
    """Sizes of the inputs: their first axis is open; rows and columns of the only picture if `is_open`."""
    found: dict[str, tuple[int | str, ...]] = {}
    counts = set()
    has_steps = any(layer.kind in recurrent.KINDS for layer in network.layers)
    pictures = sum(sizes is None or len(sizes) == 4 for sizes in network.inputs.values())
    if size is not None and pictures != 1:
        raise ImportFailed(f"The network has {pictures} inputs that are pictures; input_size is for one. Leave it out.")
    for name, sizes in network.inputs.items():
        if sizes is None:
            sizes = _unsaid(name, network, weights, size, is_open)
        shape: list[int | str] = list(sizes)
        if shape and not has_steps:  # their first axis is time
            counts.add(shape[0])
            shape[0] = BATCH if len(counts) == 1 else f"{clean(name)}_{BATCH}"
        if len(shape) == 4 and (size is not None or len(network.inputs) == 1):
            shape[2:] = size or (["h", "w"] if is_open else shape[2:])
        elif is_open:
            raise ImportFailed("Only the size of a single picture may be open.")
        if 0 in shape or any(isinstance(axis, int) and axis > MAX_INPUT << 4 for axis in shape):
            raise ImportFailed(f"The input {name[:100]!r} has the shape {list(sizes)[:32]}, which cannot be.")
        found[name] = tuple(shape)
    if not found:
        raise ImportFailed("The network has no input: the file lacks `input`, and a layer of data.")
    return found


def _unsaid(
    name: str, network: Network, weights: Weights, size: tuple[int, int] | None, is_open: bool
) -> tuple[int, ...]:
    """Sizes of an input that came from a store of training data. Raises ImportFailed where nothing tells them."""
    transform = network.transform
    height, width = size or (transform.get("height") or 0, transform.get("width") or 0)
    channels = transform.get("channels") or 0
    for layer in network.layers:
        shape = weights.shape(layer.name, 0) if name in layer.bottoms else None
        if shape is None or len(shape) < 2:
            continue
        if layer.kind == "Convolution":
            channels = shape[1] * (layer.parameters("convolution_param", "Convolution").group or 1)
        elif layer.kind == "InnerProduct" and height and width and shape[-1] % (height * width) == 0:
            channels = shape[-1] // (height * width)
    if is_open:
        height = width = 1  # a place for what stays open
    if not channels or not height or not width:
        raise ImportFailed(
            f"The files do not say the size of the input {name[:100]!r}, which comes from a store of training data. "
            "Give the option input_size, as [height, width]."
        )
    return 1, channels, height, width


def _write(
    name: str,
    network: Network,
    weights: Weights,
    inputs: Mapping[str, tuple[int | str, ...]],
    wanted: Sequence[str],
) -> Build:
    """The graph. Raises ImportFailed with all layers that cannot be written."""
    first = next(iter(network.inputs.values()))
    build = Build(GraphWriter(clean(network.name, "caffe")), weights, first[0] if first else 1)
    for blob, shape in inputs.items():
        build.blobs[blob] = build.graph.input(clean(blob, "data"), shape)
    faults, ends, after = Faults(name), _Ends(), dict[str, str]()
    for layer in network.layers:
        with faults.of(layer.name[:100], layer.kind[:100]):
            tops = _write_layer(build, layer)
            ends.step(layer)
            build.blobs |= zip(layer.tops, tops, strict=True)
            if tops:
                after[layer.name] = tops[0]
            continue
        build.failed |= set(layer.tops)
    faults.check()
    for end in wanted or ends.blobs():
        if end not in build.blobs and end not in after:
            known = [*build.blobs][-20:]
            raise ImportFailed(f"No blob or layer is called {end[:100]!r}; the last blobs are {known}.")
        build.graph.output(clean(end, "output"), build.blobs.get(end) or after[end])
    return build


class _Ends:
    """Which blobs nobody reads: a network's outputs."""

    def __init__(self) -> None:
        self._open: dict[str, None] = {}

    def step(self, layer: CaffeLayer) -> None:
        """Take in what a layer reads and gives."""
        if layer.kind in RAW_ENDS:
            self._open |= dict.fromkeys(layer.bottoms[:3])
            return
        for bottom in layer.bottoms:
            self._open.pop(bottom, None)
        self._open |= dict.fromkeys(layer.tops)

    def blobs(self) -> list[str]:
        """Their names. Raises ImportFailed where there are none, or too many."""
        if not 0 < len(self._open) <= MAX_TENSORS:
            raise ImportFailed(f"The network has {len(self._open)} outputs, expected one or more.")
        return list(self._open)


def _write_layer(build: Build, layer: CaffeLayer) -> list[str]:
    """The tensors of its tops."""
    build.layer = layer
    if layer.kind in RAW_ENDS:
        build.inputs()
        build.notes.append(f"{layer.kind} {layer.name[:100]!r} is left out: {RAW_ENDS[layer.kind]}.")
        build.known["detection"] = _decoding(layer)
        layer.tops = []
        return []
    if layer.kind in REFUSED:
        raise ImportFailed(REFUSED[layer.kind])
    if layer.kind not in RULES:
        if any(bottom in build.failed for bottom in layer.bottoms):
            raise input_failed("its input failed")
        raise unsupported("this kind of layer")
    with build.graph.layer(layer.name[:200], layer.kind):
        given = RULES[layer.kind](build)
    tops = [given] if isinstance(given, str) else given
    if len(tops) != len(layer.tops):
        raise ImportFailed(f"it has {len(layer.tops)} outputs, expected {len(tops)}")
    return tops


def _decoding(layer: CaffeLayer) -> dict[str, Any]:
    """What a decoder of SSD's boxes must know, with the defaults of its fork."""
    message = layer.parameters("detection_output_param", "DetectionOutput")
    return {
        "boxes": layer.bottoms[:3],
        "classes": message.num_classes,
        "background": of(message, "background_label_id", 0),
        "code": of(message, "code_type", 1),
        "variance_in_target": of(message, "variance_encoded_in_target", False),
        "nms_threshold": round(of(message.nms_param, "nms_threshold", 0.3), 6),
        "confidence_threshold": round(message.confidence_threshold, 6),
        "keep": of(message, "keep_top_k", -1),
    }


def _finished(build: Build, network: Network, given: Given) -> ImportedGraph:
    model = build.graph.model()
    inputs, outputs = ([value.name for value in values] for values in (model.graph.input, model.graph.output))
    picture = len(inputs) == 1 and len(model.graph.input[0].type.tensor_type.shape.dim) == 4
    known, notes = _known(build, model, network, given)
    return ImportedGraph(
        model,
        {"image": inputs[0]} if picture else {name: name for name in inputs},
        {"scores": outputs[0]} if len(outputs) == 1 else {name: name for name in outputs},
        (*dict.fromkeys(build.notes), *notes),
        tuple(build.graph.layers),
        known,
    )


def _known(build: Build, model: Any, network: Network, given: Given) -> tuple[dict[str, Any], list[str]]:
    """What the files say of preprocessing and labels."""
    known: dict[str, Any] = dict(build.known)
    notes = []
    dims = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    declared = next((sizes for sizes in network.inputs.values() if sizes is not None), None) or ()
    sizes = dims[2:] if len(dims) == 4 and all(dims[2:]) else list(declared[2:]) if len(declared) == 4 else []
    sizes = sizes or [network.transform.get(key, 0) for key in ("height", "width")]
    if all(sizes):
        known["size"] = sizes
    if network.transform.get("mean"):
        known["mean"] = list(network.transform["mean"])
    if given.mean is not None:
        known["mean"] = given.mean
        notes.append(
            f"The mean picture of {list(given.mean_shape[2:])} is taken as its mean colour, as it is for most pictures."
        )
    scale = network.transform.get("scale", 1.0)
    if scale > 0 and scale != 1:
        known["std"] = [round(1 / scale, 6)] * max(len(known.get("mean", ())), 1)
    if given.labels:
        last = [output.type.tensor_type.shape.dim for output in model.graph.output]
        count = len(given.labels["labels"])
        if count == known.get("detection", {}).get("classes") or any(
            count == dim.dim_value for dims in last for dim in dims[1:]
        ):
            known |= given.labels
        else:
            notes.append(f"A list of {count} labels was given, which is no size of an output; it is not used.")
    return known, notes


IMPORTER = Caffe()
