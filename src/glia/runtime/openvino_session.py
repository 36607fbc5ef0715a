"""The session on OpenVINO. Imported only where tuning chose it, or tries it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from jaxtyping import Shaped

from glia.core.errors import StoreError
from glia.core.session import Tensors, TensorSpec
from glia.runtime.machine import cores
from glia.runtime.onnx_session import refused

_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}
"""Precision to the plugin's hint; an int8 graph says itself what is int8, its other layers stay as they are."""

_DTYPES = {
    "f16": "float16",
    "f32": "float32",
    "f64": "float64",
    "boolean": "bool",
    **{f"{short}{bits}": f"{kind}{bits}" for short, kind in (("i", "int"), ("u", "uint")) for bits in (8, 16, 32, 64)},
}


def _specs(ports: list[Any], names: list[str]) -> tuple[TensorSpec, ...]:
    found = []
    for port, name in zip(ports, names, strict=True):
        kind = port.get_element_type().get_type_name()
        shape = tuple(size.get_length() if size.is_static else None for size in port.get_partial_shape())
        found.append(TensorSpec(name, _DTYPES.get(kind, kind), shape))
    return tuple(found)


class OpenVinoSession:
    """A graph in OpenVINO's hands, on the CPU. `run` may be called from several threads at once."""

    def __init__(
        self, path: Path, threads: int = 1, lanes: int = 1, precision: str = "fp32", cache: Path | None = None
    ) -> None:
        """`threads`: cores of one run; `lanes`: runs at once; `cache`: a folder for what compiling makes.

        Raises StoreError for a file that the runtime refuses.
        """
        core = ov.Core()
        if cache is not None:
            core.set_property({"CACHE_DIR": str(cache)})
        # A run is handed to a stream's own thread, and a lane sleeps meanwhile: more lanes than cores fill the gaps,
        # more streams than cores would only hold memory.
        streams = max(1, min(lanes, cores() // max(1, threads)))
        options = {
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": streams * threads,
            "ENABLE_CPU_PINNING": False,
        }
        try:
            self._compiled = core.compile_model(str(path), "CPU", options)
        except Exception as error:
            raise StoreError(f"OpenVINO cannot load {path.name}: {str(error).strip().splitlines()[-1]}") from error
        # The binding sets itself up when it first sees an array, and deadlocks when two threads are first: one has the
        # C++ guard and waits for the interpreter's lock, the other has the lock and waits for the guard. So: here.
        ov.Tensor(np.zeros(1, np.float32), shared_memory=True)
        inputs, outputs = list(self._compiled.inputs), list(self._compiled.outputs)
        self.inputs = _specs(inputs, [_name(port) for port in inputs])
        self.outputs = _specs(outputs, [_name(port) for port in outputs])
        self._own = threading.local()
        self._facts = {
            "runtime": f"openvino {ov.__version__.partition('-')[0]}",
            "provider": f"cpu-{precision}",
            "threads": threads,
        }

    def run(self, tensors: Mapping[str, Shaped[np.ndarray, "..."]]) -> Tensors:
        """Every output, by name. Raises InputError for a tensor that does not fit the graph."""
        request = getattr(self._own, "request", None)
        try:
            if request is None:  # a request holds its buffers, so each thread has its own
                request = self._own.request = self._compiled.create_infer_request()
            for spec in self.inputs:
                if tensors[spec.name].dtype.name != spec.dtype:
                    raise TypeError(f"{spec.name} is {tensors[spec.name].dtype}")
            if len(tensors) != len(self.inputs):
                raise KeyError(f"{len(tensors)} tensors")
            given = {spec.name: np.ascontiguousarray(tensors[spec.name]) for spec in self.inputs}
            request.infer(given, share_inputs=True)
            return {
                spec.name: np.array(request.get_output_tensor(index).data) for index, spec in enumerate(self.outputs)
            }
        except Exception as error:
            raise refused(self.inputs, tensors, error, str(error).strip().splitlines()[-1]) from error

    def facts(self) -> dict[str, Any]:
        """Runtime, provider, threads."""
        return dict(self._facts)


def _name(port: Any) -> str:
    """The name that the ONNX file gives a tensor; compiling may add those of nodes, the port's own node keeps it."""
    names, own = port.get_names(), port.node.friendly_name.partition("/sink_port_")[0]
    return str(own if own in names else min(names))


def cpu_precisions() -> tuple[str, ...]:
    """What this CPU computes in by itself: fp32, and bf16 or fp16 where it has instructions for them."""
    found = ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ("fp32", *(name.lower() for name in ("BF16", "FP16") if name in found))
