"""The session on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from jaxtyping import Shaped

from glia.core.errors import InputError, StoreError
from glia.core.session import Tensors, TensorSpec

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(bool)": "bool",
    "tensor(string)": "bytes",
    **{f"tensor({kind}{bits})": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
}


def _specs(nodes: list[Any]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            node.name,
            _DTYPES.get(node.type, node.type),
            tuple(size if isinstance(size, int) else None for size in node.shape),
        )
        for node in nodes
    )


class OnnxSession:
    """A graph in ONNX Runtime's hands, on the CPU. `run` may be called from several threads at once."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        """`threads`: cores that one run uses. Raises StoreError for a file that the runtime refuses."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise StoreError(f"ONNX Runtime cannot load {path.name}: {str(error).splitlines()[0]}") from error
        self._threads = threads
        self.inputs = _specs(self._session.get_inputs())
        self.outputs = _specs(self._session.get_outputs())

    def run(self, tensors: Mapping[str, Shaped[np.ndarray, "..."]]) -> Tensors:
        """Every output, by name. Raises InputError for a tensor that does not fit the graph."""
        try:
            values = self._session.run(None, dict(tensors))
        except Exception as error:
            wanted = "; ".join(f"{spec.name} {spec.dtype} {list(spec.shape)}" for spec in self.inputs)
            came = "; ".join(f"{name} {value.dtype} {list(value.shape)}" for name, value in tensors.items())
            raise InputError(f"The graph takes {wanted}; received {came}: {str(error).splitlines()[0]}") from error
        return {spec.name: value for spec, value in zip(self.outputs, values, strict=True)}

    def facts(self) -> dict[str, Any]:
        """Runtime, provider, threads."""
        return {"runtime": f"onnxruntime {ort.__version__}", "provider": "cpu-fp32", "threads": self._threads}
