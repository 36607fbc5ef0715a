"""Records what TensorFlow gives for the networks of `tensorflow_networks`.

python -m importers.record_tensorflow      in tests/, where tensorflow-cpu 2.21 is installed beside this package
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from importers.tensorflow_networks import networks

FIXTURE = Path(__file__).parent / "fixtures" / "tensorflow_ops.npz"


def record(data: bytes, inputs: dict[str, np.ndarray], outputs: list[str]) -> list[np.ndarray]:
    """The outputs of a frozen graph in TensorFlow."""
    import tensorflow as tf

    tf1: Any = tf.compat.v1
    definition = tf1.GraphDef.FromString(data)
    with tf1.Graph().as_default() as graph:
        tf1.import_graph_def(definition, name="")
        tensors = [name if ":" in name else f"{name}:0" for name in outputs]
        with tf1.Session(graph=graph) as session:
            return list(session.run(tensors, {f"{name}:0": value for name, value in inputs.items()}))


def main() -> None:
    """Write the fixture."""
    found = {}
    for name, (graph, outputs) in networks():
        producer = 8 if "2015" in name else 175
        for output, value in zip(outputs, record(graph.bytes(producer), graph.inputs, outputs), strict=True):
            found[f"{name}|{output}"] = value
    np.savez_compressed(FIXTURE, **found)


if __name__ == "__main__":
    main()
