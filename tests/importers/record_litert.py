"""Records what LiteRT gives for the test networks, and for published ones: run where `ai-edge-litert` is installed.

    PYTHONPATH=src:tests python tests/importers/record_litert.py

Inputs are seeded and not recorded; of long outputs every so many numbers are.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

FIXTURES = Path(__file__).parent / "fixtures" / "tflite"
PROBES = 2
MOST = 2000
"""Numbers of one output that are recorded, about."""


def thinned(output: np.ndarray) -> np.ndarray:
    """Every so many numbers of a long output."""
    flat = np.ravel(output)
    return flat[:: max(1, -(-flat.size // MOST))]


def run(data: bytes, name: str, pictures: bool, probes: int = PROBES) -> dict[str, np.ndarray]:
    """Outputs by `<probe>:<number of the output>`, and the file's hash."""
    from ai_edge_litert.interpreter import Interpreter

    from importers.tflite_networks import inputs_of
    from importers.tflite_probes import pictured

    interpreter = Interpreter(model_content=data)
    interpreter.allocate_tensors()
    found = {"sha256": np.frombuffer(hashlib.sha256(data).digest(), np.uint8)}
    for probe in range(probes):
        interpreter.reset_all_variables()
        details = interpreter.get_input_details()
        shapes = [(tuple(int(size) for size in entry["shape"]), entry["dtype"].__name__) for entry in details]
        values = (pictured if pictures else inputs_of)(shapes, name, probe)
        for entry, value in zip(details, values, strict=True):
            interpreter.set_tensor(entry["index"], value)
        interpreter.invoke()
        for number, entry in enumerate(interpreter.get_output_details()):
            found[f"{probe}:{number}"] = thinned(interpreter.get_tensor(entry["index"]))
    return found


def main() -> None:
    """All of them."""
    from importers.tflite_networks import NETWORKS, file_of
    from importers.tflite_probes import published

    FIXTURES.mkdir(parents=True, exist_ok=True)
    layers, hashes = {}, []
    for name in NETWORKS:
        found = run(file_of(name), name, False, 1)
        hashes.append(found.pop("sha256"))
        layers[name] = np.concatenate([value.astype(np.float32).reshape(-1) for value in found.values()])
    layers["sha256"] = np.stack(hashes)
    np.savez_compressed(FIXTURES / "layers.npz", **layers)
    for name, path in published(Path(__file__).parents[3] / "shared"):
        np.savez_compressed(FIXTURES / f"{name}.npz", **run(path.read_bytes(), name, True))


if __name__ == "__main__":
    main()
