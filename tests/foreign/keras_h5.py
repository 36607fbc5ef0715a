"""Networks of Keras 1 and 2 in HDF5: recorded predictions; elsewhere Keras 3, or none."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np
from onnx import TensorProto

from foreign.case import Case, Probe
from glia.importers.importer import ImportedGraph
from house import SHARED
from importers.keras_numpy import Model, arrays_of, config_of, ssr_net

INTEROP = SHARED / "interop" / "keras-h5"
WEIGHTS = SHARED / "weights" / "face-age-ssrnet-keras"


def recorded(path: Path):
    """Probes out of a file of inputs and predictions; names of inputs are matched by their order."""

    def probes(graph: ImportedGraph) -> Sequence[Probe]:
        with h5py.File(path) as file:
            inputs = {name: value[()] for name, value in file["inputs"].items()}
            given = file["predictions"] if "predictions" in file else file["outputs"]
            outputs = {name: value[()] for name, value in given.items()}
        assert len(inputs) == len(graph.model.graph.input) == len(outputs) == 1
        return [
            Probe(
                {graph.model.graph.input[0].name: next(iter(inputs.values()))},
                {graph.model.graph.output[0].name: next(iter(outputs.values()))},
            )
        ]

    return probes


def text_pair(graph: ImportedGraph) -> Sequence[Probe]:
    """A picture and its scores in text: channel by channel."""
    folder = INTEROP / "dl4j-cnn-tf-simple"
    x = np.loadtxt(folder / "cnn_tf_input.txt").astype(np.float32).reshape(1, 3, 8, 8).transpose(0, 2, 3, 1)
    y = np.loadtxt(folder / "cnn_tf_output.txt").astype(np.float32).reshape(1, 3)
    return [Probe({graph.model.graph.input[0].name: x}, {graph.model.graph.output[0].name: y})]


def transposed(stem: Path, folder: Path) -> Case:
    """A transposed convolution that was recorded as arrays: the network around it is written here."""
    arrays = {part: np.load(f"{stem}_{part}.npy").astype(np.float32) for part in ("W", "b", "in", "out")}
    _, kernel, _, stride, padding, dilation, order = stem.name.split("_")
    first = order == "nchw"
    config = {
        "name": "deconv", "filters": arrays["W"].shape[2], "kernel_size": [int(kernel[1:])] * 2,
        "strides": [int(stride[1:])] * 2, "padding": padding, "dilation_rate": [int(dilation[1:])] * 2,
        "data_format": "channels_first" if first else "channels_last", "use_bias": True, "activation": "linear",
        "batch_input_shape": [None, *arrays["in"].shape[1:]],
    }  # fmt: skip
    if padding == "valid":
        config["output_padding"] = [0, 0]  # the records have no rows that the kernel does not reach
    path = folder / f"{stem.name}.h5"
    with h5py.File(path, "w") as file:
        layers = [{"class_name": "Conv2DTranspose", "config": config}]
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {"name": "m", "layers": layers}})
        file.attrs["keras_version"], file.attrs["backend"] = "2.3.1", "tensorflow"
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [b"deconv"]
        inner = group.create_group("deconv")
        inner.attrs["weight_names"] = [b"kernel:0", b"bias:0"]
        inner["kernel:0"], inner["bias:0"] = arrays["W"], arrays["b"]

    def probes(graph: ImportedGraph) -> Sequence[Probe]:
        (given,), (got,) = graph.model.graph.input, graph.model.graph.output
        return [Probe({given.name: arrays["in"]}, {got.name: arrays["out"]})]

    return Case("keras-h5", f"dl4j-deconv/{stem.name}", {"model": path}, "recorded", probes)


def second(weights: Path, config: Path | None = None, inside: str = ""):
    """Probes out of the slow reader in numpy."""

    def probes(graph: ImportedGraph) -> Sequence[Probe]:
        value = json.loads(config.read_text()) if config else config_of(weights)
        (given,) = graph.model.graph.input
        shape = [size.dim_value or 2 for size in given.type.tensor_type.shape.dim]
        rng = np.random.default_rng(0)
        words = any(layer.kind == "Embedding" for layer in graph.layers)
        x = rng.integers(0, 4, shape) if words else rng.normal(0, 1, shape)
        x = x.astype(np.int32 if given.type.tensor_type.elem_type == TensorProto.INT32 else np.float32)
        held, theano = arrays_of(weights)
        outputs = Model(json.loads(value[inside]) if inside else value, held.values(), theano).forward(x)
        names = [output.name for output in graph.model.graph.output]
        return [Probe({given.name: x}, dict(zip(names, map(np.float32, outputs), strict=True)))]

    return probes


def age(path: Path):
    """Probes out of SSR-Net in numpy."""

    def probes(graph: ImportedGraph) -> Sequence[Probe]:
        x = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
        return [Probe({"image": x}, {graph.model.graph.output[0].name: ssr_net(path, x).astype(np.float32)})]

    return probes


def _recorded() -> Iterator[Case]:
    for record in sorted(INTEROP.glob("*/*_inputs_and_outputs.h5")):
        stem = record.name.removesuffix("_inputs_and_outputs.h5")
        model = record.with_name(f"{stem}_model.h5")
        if stem == "simple_lstm_tf_keras_2":  # holds what was to be learned, not what the network says
            yield Case("keras-h5", f"{record.parent.name}/{stem}", {"model": model}, "numpy", second(model))
            continue
        yield Case("keras-h5", f"{record.parent.name}/{stem}", {"model": model}, "recorded", recorded(record))


def cases() -> list[Case]:
    """Every network of the format."""
    if not INTEROP.exists():
        return []
    found = list(_recorded())
    cnn = INTEROP / "dl4j-cnn-tf-simple"
    found.append(
        Case(
            "keras-h5", "dl4j-cnn-tf-simple", {"model": cnn / "cnn_tf_model.h5"}, "recorded", text_pair, tolerance=1e-4
        )
    )
    pair = {"config": cnn / "cnn_tf_config.json", "weights": cnn / "cnn_tf_weights.h5"}
    found.append(Case("keras-h5", "dl4j-cnn-tf-simple, two files", pair, "recorded", text_pair))
    folder = Path(tempfile.mkdtemp(prefix="glia-keras-"))
    stems = sorted({path.name.rsplit("_", 1)[0] for path in (INTEROP / "dl4j-deconv").glob("*.npy")})
    found += [transposed(INTEROP / "dl4j-deconv" / stem, folder) for stem in stems]
    for path in sorted((INTEROP / "dl4j-layers-keras1-keras2").glob("*.h5")):
        found.append(Case("keras-h5", f"dl4j-layers/{path.stem}", {"model": path}, "numpy", second(path)))
    for path in (
        INTEROP / "face-emotion-mini-xception" / "fer2013_mini_XCEPTION.102-0.66.hdf5",
        INTEROP / "face-gender-mini-xception" / "gender_mini_XCEPTION.21-0.95.hdf5",
        INTEROP / "mlperf-tiny-resnet8-cifar10" / "pretrainedResnet.h5",
    ):
        found.append(Case("keras-h5", path.parent.name, {"model": path}, "numpy", second(path)))
    config, weights = (INTEROP / "connect4-alphazero" / f"model_best_{part}" for part in ("config.json", "weight.h5"))
    files = {"config": config, "weights": weights}
    found.append(Case("keras-h5", "connect4-alphazero", files, "numpy", second(weights, config)))
    go = INTEROP / "rocalphago-minimodel-keras1"
    for kind in ("policy", "value"):
        files = {"config": go / f"minimodel_{kind}.json", "weights": go / f"random_minimodel_{kind}_weights.hdf5"}
        probes = second(files["weights"], files["config"], "keras_model")
        found.append(Case("keras-h5", f"rocalphago-{kind}", files, "numpy", probes))
    for path in sorted(WEIGHTS.glob("*.h5")):
        options = {"architecture": "ssr-net"}
        found.append(Case("keras-h5", f"ssrnet/{path.stem}", {"weights": path}, "numpy", age(path), options))
    return found
