"""int8 beside bf16 and fp32 on one stored network: the guard's verdicts and the time of one run.

    python benchmarks/quantisation.py NAME PICTURES.npz     (NAME in the store; an npz as `glia evaluate` reads it)

300 of the pictures calibrate; verdicts are on the others and on the guard's own set. Times: one thread, batch 1,
medians of ratios to ONNX Runtime fp32, runs interleaved.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino

from glia.core.session import Tensors
from glia.core.settings import Settings
from glia.data.image import Image
from glia.evaluate.examples import read_examples
from glia.runtime.directory import Directory
from glia.runtime.guard import Outputs, before_softmax, compare, outputs_of
from glia.runtime.onnx_session import OnnxSession
from glia.runtime.quantise import quantise
from glia.store.guard import guard_pictures
from glia.store.store import Store

Run = Callable[[Tensors], Any]


def openvino_run(path: Path, precision: str, sample: Tensors) -> Run:
    """One sample through OpenVINO."""
    core = openvino.Core()
    model = core.read_model(path)
    model.reshape({name: [1, *value.shape] for name, value in sample.items()})
    how = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
    request = core.compile_model(model, "CPU", how).create_infer_request()
    return lambda each: request.infer({name: value[None] for name, value in each.items()})[0][0].copy()


def onnx_run(path: Path) -> Run:
    """One sample through ONNX Runtime."""
    session = OnnxSession(path)
    return lambda each: next(iter(outputs_of(session, [each]).values()))[0]


def times(runs: dict[str, Run], sample: Tensors, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of interleaved runs."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run(sample)
            found[name].append(1000 * (time.perf_counter() - start))
    return found


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--rounds", type=int, default=61)
    given = parser.parse_args()
    settings = Settings({})
    resolved = Directory(settings).resolve(given.name)
    card, task = resolved.card, resolved.task

    def samples(images: Sequence[Image]) -> list[Tensors]:
        return [task.preprocess(resolved.contract.request({"image": image}), card) for image in images]

    pictures = samples([Image(each.read()) for each in read_examples(given.pictures)])
    order = np.random.default_rng(0).permutation(len(pictures))
    calibration, unseen = [pictures[i] for i in order[:300]], [pictures[i] for i in order[300:]]
    sets: dict[str, list[Tensors]] = {"unseen": unseen, "guard": samples(list(guard_pictures()))}
    stored = Store(settings.home).get(card.id).path(card.graph().file)
    with tempfile.TemporaryDirectory() as folder:
        fp32, int8 = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        start = time.perf_counter()
        made = quantise(stored, calibration, int8, bool(card.labels), lambda line: None)
        sys.stdout.write(f"{card.id}: {time.perf_counter() - start:.0f} s, in float: {list(made.floats)}\n")
        onnx.save(before_softmax(onnx.load(stored)), fp32)
        onnx.save(before_softmax(onnx.load(int8)), int8)
        runs = {"onnxruntime fp32": onnx_run(fp32), "onnxruntime int8": onnx_run(int8)}
        for name, path, precision in (("fp32", fp32, "f32"), ("bf16", fp32, "bf16"), ("int8", int8, "f32")):
            runs[f"openvino {name}"] = openvino_run(path, precision, unseen[0])
        runs["openvino int8, rest bf16"] = openvino_run(int8, "bf16", unseen[0])
        answers: dict[str, Outputs] = {
            name: {kind: [run(each) for each in group] for kind, group in sets.items()} for name, run in runs.items()
        }
        spent = times(runs, unseen[0], given.rounds)
        base = spent["onnxruntime fp32"]
        for name in runs:
            ratio = statistics.median(one / other for one, other in zip(spent[name], base, strict=True))
            verdicts = {kind: compare(answers["onnxruntime fp32"][kind], answers[name][kind], True) for kind in sets}
            told = "; ".join(
                f"{kind} {'pass' if v.passed else 'FAIL'} {v.changed}/{v.n_sure} {v.cosine_mean:.5f}"
                for kind, v in verdicts.items()
            )
            sys.stdout.write(f"{name:26s} {statistics.median(spent[name]):6.2f} ms {ratio:.2f}  {told}\n")


if __name__ == "__main__":
    main()
