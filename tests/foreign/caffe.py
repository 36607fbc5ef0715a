"""Caffe's networks, beside OpenCV's reader of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foreign.case import Case, Probe
from glia.importers.caffe_layers.files import read_structure, read_weights, sort_files
from glia.importers.caffe_layers.schema import CAFFE
from glia.importers.importer import ImportedGraph
from house import SHARED

try:
    import cv2
except ImportError:
    cv2 = None
READER = f"OpenCV {cv2.__version__}" if cv2 is not None else "none"
_DATA_LAYER = re.compile(r'layer \{\s*name: "\w+"\s*type: "(?:Data|Accuracy)".*?\n\}', re.DOTALL)


def opencv(prototxt: bytes, caffemodel: bytes, outputs: Mapping[str, str]) -> Callable[[np.ndarray], dict[str, Any]]:
    """OpenCV's reader: a batch of pictures to the outputs; `outputs`: the graph's name to OpenCV's layer."""
    # Of strings it thinks that they are names of files.
    net = cv2.dnn.readNetFromCaffe(*(np.frombuffer(data, np.uint8) for data in (prototxt, caffemodel)))

    def run(pictures: np.ndarray) -> dict[str, Any]:
        net.setInput(pictures)
        return dict(zip(outputs, net.forward(list(outputs.values())), strict=True))

    return run


def pictures(
    shape: Sequence[int], count: int = 2, high: float = 255, low: float = 0, seed: int = 1
) -> list[np.ndarray]:
    """Pictures of noise with structure: smooth, so that activations are like those of photos."""
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        coarse = draw.uniform(low, high, (shape[0], shape[1], 8, 8))
        grown = coarse.repeat(-(-shape[2] // 8), 2).repeat(-(-shape[3] // 8), 3)[:, :, : shape[2], : shape[3]]
        found.append((0.8 * grown + 0.2 * draw.uniform(low, high, tuple(shape))).astype(np.float32))
    return found


def beside(
    shape: Sequence[int], run: Callable[[], Callable[[np.ndarray], dict[str, Any]]], low: float, high: float
) -> Callable[[ImportedGraph], Sequence[Probe]]:
    """Probes of one input whose answers a second reader gives."""

    def probes(graph: ImportedGraph) -> Sequence[Probe]:
        if cv2 is None:
            return ()
        answer, (name,) = run(), graph.inputs.values()
        return [Probe({name: picture}, answer(picture)) for picture in pictures(shape, high=high, low=low)]

    return probes


def as_caffemodel(files: Mapping[str, Path]) -> bytes:
    """Weights of another form as a caffemodel, for a reader that knows only this."""
    given = sort_files(files)
    _, network, _ = read_structure(given)
    weights = read_weights(given, network)
    message = CAFFE.new("NetParameter")
    channels = {"data": 3}
    for layer in network.layers:
        added = message.layer.add(name=layer.name.encode(), type=layer.kind.encode())
        count = sum(channels[bottom] for bottom in layer.bottoms)
        if layer.kind in ("Convolution", "InnerProduct"):
            settings = layer.parameters("convolution_param", "Convolution")
            out = settings.num_output or layer.parameters("inner_product_param", "InnerProduct").num_output
            kernel = list(settings.kernel_size) * 2 if layer.kind == "Convolution" else []
            for index, shape in enumerate([(out, count, *kernel), (out,)]):
                values = weights.blob(layer.name, index, shape)
                added.blobs.add(data=values.reshape(-1), shape=CAFFE.new("BlobShape", dim=shape))
            count = out
        channels |= dict.fromkeys(layer.tops, count)
    return message.SerializeToString()


def _deploy(text: str, shape: Sequence[int]) -> bytes:
    """A text for training as one for use: OpenCV's reader needs it."""
    dims = " ".join(f"input_dim: {size}" for size in shape)
    body = _DATA_LAYER.sub("", text).replace('bottom: "label"', "").replace('"SoftmaxWithLoss"', '"Softmax"')
    return f'input: "data" {dims}\n{body}'.encode()


def _case(
    folder: Path, names: Sequence[str], shape: Sequence[int], outputs: Mapping[str, str], low: float, high: float
) -> Case:
    files = {name: folder / name for name in names}
    text, model = (folder / name for name in names[:2])
    probes = beside(shape, lambda: opencv(text.read_bytes(), model.read_bytes(), outputs), low, high)
    return Case("caffe", f"{folder.name}/{text.stem}", files, READER, probes)


def _lenet(folder: Path) -> Case:
    files = {path.name: path for path in folder.iterdir() if path.name != "source.json"}
    text = (folder / "lenet_train_test.prototxt").read_text()
    model = folder / "lenet_iter_10000.caffemodel"
    shape = (2, 1, 28, 28)
    reader = lambda: opencv(_deploy(text, shape), model.read_bytes(), {"prob": "loss"})  # noqa: E731
    return Case("caffe", "lenet-mnist", files, READER, beside(shape, reader, 0, 1), {"input_size": 28})


def _googlenet(folder: Path) -> Case:
    blobs = {path.relative_to(folder).as_posix(): path for path in sorted(folder.glob("weights/*/*.bin"))}
    files = {"deploy.prototxt": folder / "deploy.prototxt", "labels": folder / "synset_words.txt"} | blobs
    text = files["deploy.prototxt"].read_bytes()
    reader = lambda: opencv(text, as_caffemodel(files), {"prob": "prob"})  # noqa: E731
    return Case("caffe", folder.name, files, READER, beside((2, 3, 224, 224), reader, -110, 140))


def _squeezenet(folder: Path) -> Case:
    names = ("SqueezeNet_deploy.prototxt", "SqueezeNet_trainval.prototxt", "compressed_SqueezeNet.net")
    files = {name: folder / name for name in names}
    text = files[names[0]].read_bytes()
    reader = lambda: opencv(text, as_caffemodel(files), {"pool_final": "pool_final"})  # noqa: E731
    return Case("caffe", folder.name, files, READER, beside((2, 3, 227, 227), reader, -110, 140))


def cases() -> list[Case]:
    """Those of the shared folders, where they are."""
    found, interop, weights = [], SHARED / "interop" / "caffe", SHARED / "weights"
    if interop.exists():
        heads = {"boxes": "boxes", "scores": "scores"}
        names = ("RFB-320.prototxt", "RFB-320.caffemodel")
        found.append(_case(interop / "rfb-320", names, (1, 3, 240, 320), heads, -1, 1))
        heads = {name: name for name in ("loc_branch_concat", "cls_branch_concat")}
        names = ("face_mask_detection.prototxt", "face_mask_detection.caffemodel")
        found.append(_case(interop / "aizoo-face-mask", names, (1, 3, 260, 260), heads, 0, 1))
        found.append(_lenet(interop / "lenet-mnist"))
    for name, case in (
        ("imagenet-googlenet-bvlc", _googlenet),
        ("imagenet-squeezenet-v1.0-deepcompression", _squeezenet),
    ):
        if (weights / name).exists():
            found.append(case(weights / name))
    return found
