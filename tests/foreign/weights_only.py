"""State dicts of PyTorch and safetensors: weights alone, of networks that are known, and of one that is not."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

from foreign.case import Case, Probe
from glia.importers.importer import ImportedGraph
from glia.importers.pytorch import read_state_dict
from glia.importers.safetensors_file import read_safetensors
from house import SHARED

TWINS = {
    "encoder.0.reparam_conv": "conv1",
    "encoder.1.reparam_conv": "conv2",
    "encoder.2.reparam_conv": "conv3",
    "encoder.3.reparam_conv": "conv4",
    "decoder.rnn": "lstm_cell",
    "decoder.decoder.2": "final_conv",
}
"""Layers of the export to those of the weights."""


def _with_weights(twin: Path, weights: Mapping[str, np.ndarray]) -> bytes:
    """The published graph, which is of another training, with these weights in its branch for 16 kHz."""
    model = onnx.load(twin)
    (choice,) = (node for node in model.graph.node if node.op_type == "If")
    (branch,) = (entry.g for entry in choice.attribute if entry.name == "then_branch")
    left = set(weights) - {"stft_conv.weight"}
    for node in branch.node:
        for long, short in TWINS.items():
            if node.op_type == "Constant" and f"{long}." in node.output[0]:
                name = f"{short}.{node.output[0].rpartition('.')[2]}"
                node.attribute[0].t.CopyFrom(numpy_helper.from_array(weights[name]))
                left.remove(name)
    assert not left
    return model.SerializeToString()


def _silero(path: Path, twin: Path) -> Callable[[ImportedGraph], Sequence[Probe]]:
    """What the network's export gives with these weights, for three pieces of sound in turn."""

    def probes(graph: ImportedGraph) -> Sequence[Probe]:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        data = _with_weights(twin, read_safetensors(path))
        session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        rng, state, found = np.random.default_rng(0), np.zeros((2, 1, 128), np.float32), []
        for loud in (0.01, 0.1, 0.3):
            sound = (rng.normal(size=(1, 576)) * loud).astype(np.float32)
            output, new = session.run(None, {"input": sound, "state": state, "sr": np.array(16000)})
            found.append(Probe({"input": sound, "state": state}, {"output": output, "stateN": new}))
            state = new
        return found

    return probes


def _blazeface(path: Path) -> Callable[[ImportedGraph], Sequence[Probe]]:
    def probes(graph: ImportedGraph) -> Sequence[Probe]:
        from importers.torch_networks import blazeface

        x = np.random.default_rng(0).uniform(-1, 1, (1, 3, 128, 128)).astype(np.float32)
        return [Probe({"image": x}, blazeface(read_state_dict(path), x))]

    return probes


def cases() -> list[Case]:
    """All of them."""
    found = []
    silero = SHARED / "interop/safetensors/silero-vad-16k/silero_vad_16k.safetensors"
    twin = SHARED / "weights/speech-vad-silero-onnx/silero_vad.onnx"
    if silero.exists():
        probes = _silero(silero, twin) if twin.exists() else lambda graph: ()
        oracle = "the network's export in ONNX Runtime" if twin.exists() else "none"
        found.append(Case("safetensors", "silero-vad-16k", {"model": silero}, oracle, probes))
    face = SHARED / "interop/pytorch/blazeface/blazeface.pth"
    if face.exists():
        known = importlib.util.find_spec("torch") is not None
        probes = _blazeface(face) if known else lambda graph: ()
        found.append(Case("pytorch", "blazeface", {"model": face}, "torch" if known else "none", probes))
    tutorial = SHARED / "interop/pytorch/winml-cifar-pytorch/myFirstModel.pth"
    if tutorial.exists():
        words = "holds weights but no network: expected the option `architecture`"
        found.append(Case("pytorch", "winml-cifar-pytorch", {"model": tutorial}, "none", refused=words))
    return found
