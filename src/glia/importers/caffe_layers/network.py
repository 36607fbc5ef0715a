"""A network of Caffe as a list of layers: one form for its three generations, without what only training needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from glia.core.errors import ImportFailed
from glia.importers.caffe_layers.schema import CAFFE, KIND_OF, PHASES, of, text

MAX_LAYERS = 20_000
MAX_SIZE = 1 << 31
DEPLOY = b"deploy"
"""The stage that texts which serve training and use alike name for use."""
DATA = {"Data", "ImageData", "MemoryData", "HDF5Data", "WindowData", "DummyData", "AnnotatedData", "VideoData"}
EVALUATION = {"Accuracy", "Silence", "HDF5Output", "DetectionEvaluate"}
"""Kinds that, as losses do, compare with labels, print or store: nothing of the answer comes from them."""
ANSWERING_LOSSES = {"SoftmaxWithLoss": "Softmax", "SigmoidCrossEntropyLoss": "Sigmoid"}
_V0_KINDS = {
    "conv": "Convolution", "relu": "ReLU", "dropout": "Dropout", "pool": "Pooling", "lrn": "LRN", "softmax": "Softmax",
    "innerproduct": "InnerProduct", "concat": "Concat", "flatten": "Flatten", "split": "Split", "tanh": "TanH",
    "sigmoid": "Sigmoid", "bnll": "BNLL", "data": "Data", "images": "ImageData", "window_data": "WindowData",
    "hdf5_data": "HDF5Data", "accuracy": "Accuracy", "softmax_loss": "SoftmaxWithLoss", "im2col": "Im2col",
    "euclidean_loss": "EuclideanLoss", "hinge_loss": "HingeLoss", "infogain_loss": "InfogainLoss",
    "multinomial_logistic_loss": "MultinomialLogisticLoss", "hdf5_output": "HDF5Output",
}  # fmt: skip


@dataclass
class CaffeLayer:
    """One layer; blobs by the names that Caffe gives them."""

    name: str
    kind: str
    bottoms: list[str]
    tops: list[str]
    spec: Any
    """Its message, of any generation: the parameters in it have the same names."""

    def parameters(self, field: str, message: str) -> Any:
        """The message `field` of the layer; an empty one where there is none."""
        known = field in self.spec.DESCRIPTOR.fields_by_name
        return getattr(self.spec, field) if known and self.spec.HasField(field) else CAFFE.new(message)


@dataclass
class Network:
    """What a NetParameter says, for the phase TEST."""

    name: str
    inputs: dict[str, tuple[int, ...] | None]
    """Blob to its declared sizes; None where they are not declared."""
    layers: list[CaffeLayer]
    unfed: set[str] = field(default_factory=set)
    """Blobs that come from a store of training data, beside the pictures: labels."""
    transform: dict[str, Any] = field(default_factory=dict)
    """What a layer of data says of preprocessing: `scale`, `mean`, `crop`, `channels`."""

    @property
    def is_whole(self) -> bool:
        """Whether its inputs are declared with their sizes."""
        return bool(self.inputs) and None not in self.inputs.values()


def read_network(message: Any, file: str, *, any_phase: bool = False) -> Network:
    """The network of a NetParameter. Raises ImportFailed.

    `any_phase`: layers of the phase TRAIN as well; a caffemodel holds those of the network that was trained, and only
    those.
    """
    if len(message.layer) + len(message.layers) > MAX_LAYERS:
        raise ImportFailed(f"{file} has more than {MAX_LAYERS} layers, expected fewer.")
    if message.layer and message.layers:
        raise ImportFailed(f"{file} has layers of two generations (`layer` and `layers`), expected those of one.")
    network = Network(text(message.name), _declared_inputs(message, file), [])
    layers = list(all_layers(message))
    stages = {DEPLOY} if any(DEPLOY in rule.stage for layer in layers for rule in _rules(layer.spec)) else set()
    for layer in layers:
        if not any_phase and not _is_in_test(layer.spec, stages):
            continue
        if layer.kind == "Input" or layer.kind in DATA:
            _take_data(network, layer)
        elif layer.kind in ANSWERING_LOSSES or not (layer.kind in EVALUATION or layer.kind.endswith("Loss")):
            network.layers.append(layer)
    _drop_labels(network)
    for layer in network.layers:
        if layer.kind in ANSWERING_LOSSES:
            _answer(network, layer)
    return network


def _sizes(dims: Sequence[int], what: str) -> tuple[int, ...]:
    sizes = tuple(int(size) for size in dims)
    if len(sizes) > 32 or any(size < 0 for size in sizes) or prod(max(1, size) for size in sizes) > MAX_SIZE:
        raise ImportFailed(f"{what} has the shape {list(sizes)[:40]}, which cannot be.")
    return sizes


def _declared_inputs(message: Any, file: str) -> dict[str, tuple[int, ...] | None]:
    names = [text(name) for name in message.input]
    if message.input_shape and len(message.input_shape) == len(names):
        return {
            name: _sizes(shape.dim, f"The input {name[:100]!r}")
            for name, shape in zip(names, message.input_shape, strict=True)
        }
    dims = list(message.input_dim)
    if dims and len(dims) != 4 * len(names):
        raise ImportFailed(f"{file} has {len(names)} inputs and {len(dims)} `input_dim`; expected four of each input.")
    parts = [dims[4 * at : 4 * at + 4] for at in range(len(names))]
    return {
        name: _sizes(part, f"The input {name[:100]!r}") if part else None
        for name, part in zip(names, parts, strict=True)
    }


def all_layers(message: Any) -> Iterator[CaffeLayer]:
    """The layers of a NetParameter, of whatever generation and phase."""
    pads: dict[str, tuple[str, int]] = {}
    for spec in message.layer:
        yield CaffeLayer(text(spec.name), text(spec.type), *_blobs(spec), spec)
    for spec in message.layers:
        if not spec.HasField("layer"):
            yield CaffeLayer(text(spec.name), KIND_OF.get(of(spec, "type", -1), "unknown"), *_blobs(spec), spec)
        elif (layer := _from_v0(spec, pads)) is not None:
            yield layer


def _blobs(spec: Any) -> tuple[list[str], list[str]]:
    return [text(name) for name in spec.bottom], [text(name) for name in spec.top]


def _from_v0(outer: Any, pads: dict[str, tuple[str, int]]) -> CaffeLayer | None:
    """A layer of the first form; one that pads is remembered in `pads`, since the next convolution does it."""
    old, (bottoms, tops) = outer.layer, _blobs(outer)
    kind = text(old.type)
    if kind == "padding":
        for bottom, top in zip(bottoms, tops, strict=False):
            pads[top] = (bottom, old.pad)
        return None
    pad = old.pad
    for at, bottom in enumerate(bottoms):
        if bottom in pads:
            bottoms[at], pad = pads[bottom]
    spec = CAFFE.new("Layer", blobs=old.blobs)
    window = {"stride": [of(old, "stride", 1)], "pad": [pad], "kernel_size": [old.kernelsize]}
    if kind == "conv":
        more = {"num_output": old.num_output, "bias_term": of(old, "biasterm", True), "group": of(old, "group", 1)}
        spec.convolution_param.CopyFrom(CAFFE.new("Convolution", **more, **window))
    elif kind == "innerproduct":
        bias = of(old, "biasterm", True)
        spec.inner_product_param.CopyFrom(CAFFE.new("InnerProduct", num_output=old.num_output, bias_term=bias))
    elif kind == "pool":
        single = {key: value[0] for key, value in window.items()}
        spec.pooling_param.CopyFrom(CAFFE.new("Pooling", pool=old.pool, **single))
    elif kind == "lrn":
        set_fields = {key: getattr(old, key) for key in ("local_size", "alpha", "beta", "k") if old.HasField(key)}
        spec.lrn_param.CopyFrom(CAFFE.new("LRN", **set_fields))
    elif kind == "concat" and old.HasField("concat_dim"):
        spec.concat_param.concat_dim = old.concat_dim
    elif kind in ("data", "images", "window_data"):
        spec.transform_param.CopyFrom(CAFFE.new("Transform", scale=of(old, "scale", 1.0), crop_size=old.cropsize))
    return CaffeLayer(text(old.name), _V0_KINDS.get(kind, kind), bottoms, tops, spec)


def _rules(spec: Any) -> list[Any]:
    return [*spec.include, *spec.exclude]


def _is_in_test(spec: Any, stages: set[bytes]) -> bool:
    """Whether the rules of a layer admit it to the phase TEST, level 0, and these stages."""

    def meets(rule: Any) -> bool:
        return (
            of(rule, "phase", PHASES["TEST"]) == PHASES["TEST"]
            and of(rule, "min_level", 0) <= 0 <= of(rule, "max_level", 0)
            and stages.issuperset(rule.stage)
            and stages.isdisjoint(rule.not_stage)
        )

    if spec.include:
        return any(meets(rule) for rule in spec.include)
    return not any(meets(rule) for rule in spec.exclude)


def _take_data(network: Network, layer: CaffeLayer) -> None:
    """The tops of an input or of a store of training data as inputs."""
    if layer.kind == "Input":
        shapes = layer.parameters("input_param", "Input").shape
        for at, top in enumerate(layer.tops):
            dims = shapes[at].dim if at < len(shapes) else shapes[0].dim if len(shapes) == 1 else None
            network.inputs[top] = _sizes(dims, f"The input {top[:100]!r}") if dims is not None else None
        return
    if not layer.tops:
        return
    transform, data = layer.parameters("transform_param", "Transform"), layer.parameters("data_param", "Data")
    images, memory = (layer.parameters(f"{name}_data_param", kind) for name, kind in _STORES)
    crop = transform.crop_size or data.crop_size or images.crop_size
    height, width = (crop or size for size in (images.new_height, images.new_width))
    colours = [1] if transform.force_gray else [3] if transform.force_color or layer.kind == "ImageData" else []
    if images.HasField("is_color") and not images.is_color:
        colours = [1]
    network.transform |= {
        "scale": of(transform, "scale", of(data, "scale", of(images, "scale", 1.0))),
        "mean": list(transform.mean_value),
        "height": height,
        "width": width,
        "channels": len(transform.mean_value) if len(transform.mean_value) > 1 else (*colours, 0)[0],
    }
    top, *rest = layer.tops
    known = memory.channels and memory.height and memory.width
    dims = (memory.batch_size, memory.channels, memory.height, memory.width) if known else None
    network.inputs[top] = _sizes(dims, f"The input {top[:100]!r}") if dims is not None else None
    network.unfed.update(rest)


_STORES = (("image", "ImageData"), ("memory", "MemoryData"))


def _drop_labels(network: Network) -> None:
    """Leave out what reads nothing but labels."""
    kept = []
    for layer in network.layers:
        if layer.bottoms and all(bottom in network.unfed for bottom in layer.bottoms):
            network.unfed.update(layer.tops)
        else:
            kept.append(layer)
    network.layers = kept


def _answer(network: Network, layer: CaffeLayer) -> None:
    """A loss as the activation that is in it: what a network answers once it is trained."""
    taken = {top for other in network.layers for top in other.tops if other is not layer}
    name = "prob" if "prob" not in taken else f"{layer.name}/prob"
    layer.kind = ANSWERING_LOSSES[layer.kind]
    layer.bottoms = layer.bottoms[:1]
    layer.tops = [layer.tops[1] if len(layer.tops) > 1 else name]
