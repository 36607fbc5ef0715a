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

USUAL_ROWS = 8
"""Batches up to this count as one size: they come and go in any order."""

_PROVIDERS = {"cpu": ["CPUExecutionProvider"], "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"]}

FORBIDDEN = ["WeightBiasQuantization"]
"""It rounds the weights of layers that a quantised graph leaves in float on purpose, one step for all channels."""


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
    """A graph in ONNX Runtime's hands. `run` may be called from several threads at once."""

    def __init__(self, path: Path, threads: int = 1, device: str = "cpu", precision: str = "fp32") -> None:
        """`threads`: cores that one run uses; 0: all. `device`: cpu, or cuda where onnxruntime-gpu is installed.

        Raises StoreError for a file that the runtime refuses.
        """
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.enable_mem_pattern = False  # it keeps a plan of memory for every shape ever seen
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Without VNNI, products of unsigned and signed bytes saturate when they are added up: signed ones do not.
        options.add_session_config_entry("session.x64quantprecision", "1")
        try:
            self._session = ort.InferenceSession(
                str(path), options, providers=_PROVIDERS[device], disabled_optimizers=FORBIDDEN
            )
        except Exception as error:
            raise StoreError(f"ONNX Runtime cannot load {path.name}: {str(error).splitlines()[0]}") from error
        if _PROVIDERS[device][0] not in self._session.get_providers():
            raise StoreError(f"ONNX Runtime has no provider for {device} here. Tune the model again: glia tune NAME")
        self._facts = {
            "runtime": f"onnxruntime {ort.__version__}",
            "provider": f"{device}-{precision}",
            "threads": threads,
        }
        self.inputs = _specs(self._session.get_inputs())
        self.outputs = _specs(self._session.get_outputs())
        self._shrinking = ort.RunOptions()
        self._shrinking.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self._usual: object = None

    def run(self, tensors: Mapping[str, Shaped[np.ndarray, "..."]]) -> Tensors:
        """Every output, by name. Raises InputError for a tensor that does not fit the graph."""
        try:
            values = self._session.run(None, dict(tensors), self._memory_of(tensors))
        except Exception as error:
            raise refused(self.inputs, tensors, error) from error
        return {spec.name: value for spec, value in zip(self.outputs, values, strict=True)}

    def _memory_of(self, tensors: Mapping[str, Shaped[np.ndarray, "..."]]) -> ort.RunOptions | None:
        """Keep memory from run to run for the sizes that came first; give it back after a run of any other.

        The arena keeps the most that it was ever asked for, in pieces that fit other sizes badly: left alone, it grows
        with every new shape.
        """
        shapes = [value.shape[1:] if value.shape[:1] <= (USUAL_ROWS,) else value.shape for value in tensors.values()]
        if self._usual is None:
            self._usual = shapes
        return None if shapes == self._usual else self._shrinking

    def facts(self) -> dict[str, Any]:
        """Runtime, provider, threads."""
        return dict(self._facts)


def refused(
    specs: tuple[TensorSpec, ...], tensors: Mapping[str, Shaped[np.ndarray, "..."]], error: Exception, words: str = ""
) -> InputError:
    """What the graph takes, what came, and what the runtime said."""
    wanted = "; ".join(f"{spec.name} {spec.dtype} {list(spec.shape)}" for spec in specs)
    came = "; ".join(f"{name} {value.dtype} {list(value.shape)}" for name, value in tensors.items())
    return InputError(f"The graph takes {wanted}; received {came}: {words or str(error).strip().splitlines()[0]}")


def has_cuda() -> bool:
    """Whether this installation of ONNX Runtime can use a CUDA device."""
    return "CUDAExecutionProvider" in ort.get_available_providers()
