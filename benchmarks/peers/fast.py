"""Scaled decoding and a session as Glia's plan has it, by hand: of this are the twin and the machine's limit made."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image

from benchmarks.peers import plain


def planes(data: bytes) -> np.ndarray:
    """A JPEG decoded to no more pixels than needed, cropped, resized, normalised; float32 CHW."""
    how = plain.spec()
    least = math.ceil(max(how["size"]) / how["crop"])
    pixels = simplejpeg.decode_jpeg(data, "RGB", min_height=least, min_width=least)
    return plain.planes(Image.fromarray(pixels))


class Network:
    """The graph in the runtime and the precision that the specification names; `run` from any thread."""

    def __init__(self, lanes: int, threads: int) -> None:
        """`lanes`: how many will call `run` at once; `threads`: cores of one run."""
        how = plain.spec()
        self._run = _openvino(how, lanes, threads) if how["runtime"] == "openvino" else _onnxruntime(how, threads)
        self.run(np.zeros((3, *how["size"]), np.float32))  # OpenVINO's first run must be no other thread's first run

    def run(self, sample: np.ndarray) -> np.ndarray:
        """Float32 CHW to scores."""
        scores: np.ndarray = self._run(sample[None])
        return scores


def _onnxruntime(how: dict[str, Any], threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(how["graph"], options, providers=["CPUExecutionProvider"])
    return lambda batch: session.run(None, {how["input"]: batch})[0]


def _openvino(how: dict[str, Any], lanes: int, threads: int) -> Any:
    import threading

    import openvino

    options = {
        "INFERENCE_NUM_THREADS": lanes * threads,
        "NUM_STREAMS": lanes,
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": {"bf16": "bf16", "fp16": "f16"}.get(how["precision"], "f32"),
    }
    core = openvino.Core()
    compiled = core.compile_model(how["graph"], "CPU", options)
    own = threading.local()

    def run(batch: np.ndarray) -> np.ndarray:
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        own.request.infer({how["input"]: batch})
        scores: np.ndarray = own.request.get_output_tensor(0).data
        return scores

    return run
