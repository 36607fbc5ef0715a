"""dlib's networks (`.dat`): what recognises faces, what finds them, and others of the same layers.

The file names its layers but not how they are joined: that was in the program's types. Chains need no more. In residual
networks tags and skips left markers without a name: one alone keeps the value there for the next sum; two side by side
keep it and go on from the one kept before. A network whose layers do not follow that plan is refused.

The graph takes planes of 0..255 and subtracts the mean itself. What finds faces gives a map of scores; the pyramid it
looks at and the boxes are the task's. dlib's dnn/input.h and dnn/loss.h say how.

Source: dlib, dnn/core.h (Boost Software Licence); He et al. 2016, arXiv:1512.03385; King 2015, arXiv:1502.00046.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from glia.core.errors import ImportFailed
from glia.importers.dlib_stream import MARKER, Record, Stream, read_layer, skip_state
from glia.importers.faults import unsupported
from glia.importers.graph import GraphWriter
from glia.importers.importer import ImportedGraph, only_file, read_limited, refuse_unknown

MAX_FILE_BYTES = 1 << 30
MAX_LAYERS = 10_000
OUTPUTS = {
    "loss_metric_": "embedding",
    "loss_metric_2": "embedding",
    "loss_mmod_": "scores",
    "loss_multiclass_log_": "logits",
}
LETTERS = {
    "con": "c",
    "affine": "a",
    "bn": "a",
    "relu": "r",
    "max": "m",
    "avg": "g",
    "fc": "f",
    "add": "+",
    "marker": "t",
}
CHAIN = re.compile("[cargmf]+")
RESIDUAL = re.compile(r"[carm]*(t(car?)+(ttg)?\+r)+g?f?")


def plan(layers: list[Record]) -> str:
    """A letter for each layer, from the input on."""
    return "".join(LETTERS[layer.kind.split("_")[0]] for layer in layers)


class Dlib:
    """Networks of dlib; no options."""

    format = "dlib"

    def sniff(self, head: bytes, size: int) -> bool:
        """The version of a loss layer, and its name."""
        return head[:2] == b"\x01\x01" and head[2:3] == b"\x01" and head[4:].startswith(b"loss_")

    def read(self, files: Mapping[str, Path], options: Mapping[str, Any]) -> dict[str, ImportedGraph]:
        """The network of role `model`. Raises ImportFailed."""
        refuse_unknown(options, set())
        path = only_file(files, self.format)
        stream = Stream(read_limited(path, MAX_FILE_BYTES), path.name)
        return {"model": Builder(stream).build()}


class Builder:
    """Reads a file, and writes its graph."""

    def __init__(self, stream: Stream) -> None:
        self.graph = GraphWriter("dlib")
        self.stream, self.known, self.notes = stream, dict[str, Any](), list[str]()

    def build(self) -> ImportedGraph:
        """The graph. Raises ImportFailed."""
        loss = self._loss()
        markers = self._versions()
        x = self._input()
        layers = self._layers(markers)
        if self.stream.at != len(self.stream.data):
            raise self.stream.fault("the end of the file", f"{len(self.stream.data) - self.stream.at} bytes more")
        if not (CHAIN.fullmatch(plan(layers)) or RESIDUAL.fullmatch(plan(layers))):
            raise ImportFailed(
                f"{self.stream.file}: its layers ({plan(layers)[:500]}) follow no plan that is known; dlib's files do "
                "not say how layers are joined. Export the network from a program that knows."
            )
        made = self.graph.output(OUTPUTS[loss], self._joined(x, layers))
        names = {"embedding": "embedding"} if loss.startswith("loss_metric") else {OUTPUTS[loss]: made}
        return ImportedGraph(
            self.graph.model(), {"image": "image"}, names, tuple(self.notes), tuple(self.graph.layers), self.known
        )

    # -- reading -------------------------------------------------------------------------------------------------------

    def _loss(self) -> str:
        """What the network was trained for."""
        stream = self.stream
        stream.version(1)
        kind = stream.text()
        if kind not in OUTPUTS:
            raise stream.fault(f"a loss out of {sorted(OUTPUTS)}", repr(kind[:100]))
        if kind == "loss_metric_2":
            _, threshold = stream.real(), stream.real()
            self.notes.append(f"embeddings nearer than {threshold:.2g} are of one person")
        if kind == "loss_mmod_":
            self._detector()
        return kind

    def _detector(self) -> None:
        """Windows that slide, and how overlaps are judged."""
        stream = self.stream
        version = stream.version(1, 2, 3, 4)
        windows = []
        for _ in range(1 if version == 1 else stream.count(1000)):
            labelled = version > 1 and stream.version(1, 2) == 2
            size = stream.count(1 << 20), stream.count(1 << 20)
            windows.append((*size, stream.text() if labelled else ""))
        _ = [stream.real() for _ in range(3)]
        overlap, covered = stream.real(), stream.real()
        _ = stream.real(), stream.real()
        if version >= 3:
            stream.take(1)
        if version >= 4:
            regression, _ = stream.flag(), stream.real()
            if regression:
                raise unsupported("A detector that also moves its boxes")
        self.known |= {"windows": tuple(windows), "overlap": overlap, "covered": covered}
        self.notes.append("scores above 0 are finds; each cell stands for a window of the pyramid's tile")

    def _versions(self) -> list[bool]:
        """For each layer, outermost first, whether it is a marker; the innermost is not among them."""
        stream, markers = self.stream, list[bool]()
        while True:
            version = stream.version(1, 2, 3)
            if stream.begins_text(b"input"):
                if version == 1:
                    raise stream.fault("the version 2 or 3 of the innermost layer", "1")
                self._old = version == 2
                return markers
            if version == 3 or len(markers) >= MAX_LAYERS:
                raise stream.fault("the version of a layer", f"{version} as number {len(markers)}")
            markers.append(version == 1)

    def _input(self) -> str:
        """Planes of 0..255 to numbers around 0."""
        stream = self.stream
        kind = stream.text()
        known = ("input_rgb_image", "input_rgb_image_sized", "input_rgb_image_pyramid", "input_rgb_image_pyramid2")
        if kind not in known:
            raise stream.fault(f"an input out of {list(known)}", repr(kind[:100]))
        mean = np.array([stream.real() for _ in range(3)], np.float32)
        if not np.isfinite(mean).all():
            raise stream.fault("the mean of each colour", str(mean))
        shape: list[int | str] = ["n", 3, "h", "w"]
        self.known["colour"] = "rgb"
        if kind == "input_rgb_image_sized":
            self.known["size"] = (stream.count(1 << 16), stream.count(1 << 16))
            shape[2:] = self.known["size"]
            if 0 in self.known["size"]:
                raise stream.fault("a size above 0", str(self.known["size"]))
        if kind == "input_rgb_image_pyramid2":
            self.known |= {"padding": stream.count(1 << 10), "outer_padding": stream.count(1 << 10)}
        graph = self.graph
        x = graph.node(
            "Sub", [graph.input("image", shape), graph.constant("mean", mean.reshape(1, 3, 1, 1))], "centred"
        )
        self.notes.append("takes RGB of 0..255")
        return graph.node("Mul", [x, graph.scalar("step", 1 / 256)], "scaled")

    def _layers(self, markers: list[bool]) -> list[Record]:
        """The layers from the input on; those after the innermost in the opposite order of the versions."""
        layers = [read_layer(self.stream)]
        skip_state(self.stream, layers[0].kind)
        if not self._old:
            self.stream.count(1 << 20)  # how many copies of an input there were
        for is_marker in reversed(markers):
            layers.append(MARKER if is_marker else read_layer(self.stream))
            if not is_marker:
                skip_state(self.stream, layers[-1].kind)
        return layers

    # -- writing -------------------------------------------------------------------------------------------------------

    def _joined(self, x: str, layers: list[Record]) -> str:
        """The layers one after the other; what markers keep lies on a stack."""
        kept: list[str] = []
        skip = 0
        for number, layer in enumerate(layers):
            if skip:
                skip -= 1
                continue
            following = layers[number + 1] if number + 1 < len(layers) else None
            if layer is MARKER and following is MARKER:
                before, skip = kept.pop(), 1
                kept.append(x)
                x = before
            elif layer is MARKER:
                kept.append(x)
            else:
                with self.graph.layer(f"layer {number}", layer.kind):
                    if layer.kind.startswith("con_") and following is not None and _folds(layer, following):
                        x, skip = self._con(x, layer, following), 1
                    elif layer.kind == "add_prev_":
                        x = self._sum(x, kept.pop())
                    else:
                        x = self._layer(x, layer)
        return x

    def _layer(self, x: str, layer: Record) -> str:
        kind = layer.kind
        if kind.startswith("con_"):
            return self._con(x, layer, None)
        if kind.startswith("relu_"):
            return x if layer.numbers.get("disabled") else self.graph.node("Relu", [x], "relu")
        if kind.startswith(("affine_", "bn_")):
            return self._affine(x, layer)
        if kind.startswith("fc_"):
            return self._fc(x, layer)
        return self._pool(x, layer)

    def _con(self, x: str, layer: Record, after: Record | None) -> str:
        """A convolution; what comes after it may be folded in."""
        filters = layer.arrays["filters"]
        bias = layer.arrays.get("biases", np.zeros(len(filters), np.float32)).reshape(-1).astype(np.float64)
        if layer["filters"] != len(filters) or (layer["rows"], layer["columns"]) != filters.shape[2:]:
            raise ImportFailed(f"A convolution's filters are {list(filters.shape)}, it says {dict(layer.numbers)}.")
        if not layer["use_bias"]:
            bias = np.zeros_like(bias)
        if after is not None:
            gamma, beta = _scale(after)
            filters = (filters * gamma.reshape(-1, 1, 1, 1)).astype(np.float32)
            bias = bias * gamma.reshape(-1) + beta.reshape(-1)
        inputs = [x, self.graph.constant("filters", filters), self.graph.constant("bias", bias.astype(np.float32))]
        y = self.graph.node("Conv", inputs, "con", **_window(layer))
        return self.graph.node("Relu", [y], "relu") if layer["use_relu"] else y

    def _affine(self, x: str, layer: Record) -> str:
        if layer.numbers.get("disabled"):
            return x
        gamma, beta = (self.graph.constant(name, part.astype(np.float32)) for name, part in
                       zip(("gamma", "beta"), _scale(layer), strict=True))  # fmt: skip
        return self.graph.node("Add", [self.graph.node("Mul", [x, gamma], "affine"), beta], "affine")

    def _fc(self, x: str, layer: Record) -> str:
        flat = self.graph.node("Flatten", [x], "flat", axis=1)
        weights = self.graph.constant("weights", layer.arrays["weights"])
        if "biases" in layer.arrays:
            return self.graph.node("Gemm", [flat, weights, self.graph.constant("bias", layer.arrays["biases"])], "fc")
        return self.graph.node("MatMul", [flat, weights], "fc")

    def _pool(self, x: str, layer: Record) -> str:
        kind = "MaxPool" if layer.kind.startswith("max") else "AveragePool"
        if not layer["rows"] and not layer["columns"]:
            return self.graph.node(f"Global{kind}", [x], "pool")
        return self.graph.node(kind, [x], "pool", **_window(layer))

    def _sum(self, x: str, other: str) -> str:
        """The sum of two, of which either may have fewer channels, rows or columns: zeros after their ends."""
        sizes = [self.graph.known_shape(tensor, [1, 2, 3]) for tensor in (x, other)]
        most = [max(pair) for pair in zip(*sizes, strict=True)]
        filled = []
        for tensor, size in zip((x, other), sizes, strict=True):
            missing = [wanted - held for wanted, held in zip(most, size, strict=True)]
            pads = self.graph.ints("pads", [0, 0, 0, 0, 0, *missing])
            filled.append(self.graph.node("Pad", [tensor, pads], "filled") if any(missing) else tensor)
        return self.graph.node("Add", filled, "sum")


def _folds(layer: Record, after: Record) -> bool:
    """Whether what follows a convolution is a factor and a shift of each of its channels."""
    if not after.kind.startswith(("affine_", "bn_")) or layer["use_relu"] or after.numbers["by_element"]:
        return False
    return not after.numbers.get("disabled") and after.arrays["gamma"].size == len(layer.arrays["filters"])


def _scale(layer: Record) -> tuple[Float64[np.ndarray, "..."], Float64[np.ndarray, "..."]]:
    """Factor and shift of an affine layer, or of a normalisation once it is trained, in float64."""
    gamma, beta = (layer.arrays[name].astype(np.float64) for name in ("gamma", "beta"))
    if "mean" in layer.arrays:
        gamma = gamma / np.sqrt(layer.arrays["variance"].astype(np.float64) + layer["epsilon"])
        beta = beta - gamma * layer.arrays["mean"]
    return gamma, beta


def _window(layer: Record) -> dict[str, Any]:
    pads = [layer["pad_y"], layer["pad_x"]]
    if not all(layer[name] for name in ("rows", "columns", "stride_y", "stride_x")):
        raise ImportFailed(f"A window of {layer.kind} has sizes {dict(layer.numbers)}, expected numbers above 0.")
    return {
        "kernel_shape": [layer["rows"], layer["columns"]],
        "strides": [layer["stride_y"], layer["stride_x"]],
        "pads": pads + pads,
    }


IMPORTER = Dlib()
