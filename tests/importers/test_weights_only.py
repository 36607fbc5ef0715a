"""Architectures whose weights come from PyTorch or safetensors, against torch, and published files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from foreign.case import run_case, run_graph
from foreign.weights_only import cases
from glia.core.errors import ImportFailed
from glia.importers.architectures import architecture_of, blazeface, resnet, silero_vad
from glia.importers.sniff import importer_for
from importers.test_weights_manifest import safetensors


def random_weights(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, np.ndarray]:
    rng, found = np.random.default_rng(seed), {}
    for name, shape in shapes.items():
        scale = 1 / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 0.3
        values = rng.normal(0, scale, shape)
        found[name] = (np.abs(values) + 0.5 if name.endswith("running_var") else values).astype(np.float32)
    return found


def resnet_shapes(deep: bool, groups: int = 1, blocks: int = 2) -> dict[str, tuple[int, ...]]:
    """Keys of a narrow one."""
    found: dict[str, tuple[int, ...]] = {}

    def conv(name: str, norm: str, *shape: int) -> None:
        found[f"{name}.weight"] = shape
        found.update({f"{norm}.{part}": shape[:1] for part in resnet.PARTS})

    conv("conv1", "bn1", 8, 3, 7, 7)
    into = 8
    for stage in range(1, 5):
        for block in range(blocks):
            name, inner = f"layer{stage}.{block}", 8 * stage
            out = 2 * inner if deep else inner
            kernels = (1, 3, 1) if deep else (3, 3)
            channels = [into, inner, inner, out] if deep else [into, inner, out]
            for number, kernel in enumerate(kernels):
                part = groups if deep and number == 1 else 1
                conv(f"{name}.conv{number + 1}", f"{name}.bn{number + 1}", channels[number + 1],
                     channels[number] // part, kernel, kernel)  # fmt: skip
            if into != out or (stage > 1 and block == 0):
                conv(f"{name}.downsample.0", f"{name}.downsample.1", out, into, 1, 1)
            into = out
    return found | {"fc.weight": (5, into), "fc.bias": (5,)}


@pytest.mark.parametrize(("deep", "groups"), [(False, 1), (True, 1), (True, 4)])
def test_resnets_give_what_torch_gives(tmp_path: Path, deep: bool, groups: int):
    torch = pytest.importorskip("torch", reason="torch is the oracle")
    from importers.torch_networks import resnet as reference

    weights = random_weights(resnet_shapes(deep, groups))
    torch.save({name: torch.from_numpy(value) for name, value in weights.items()}, tmp_path / "net.pth")
    files = {"model": tmp_path / "net.pth"}
    graph = importer_for(files).read(files, {})["model"]
    x = np.random.default_rng(1).normal(size=(2, 3, 65, 72)).astype(np.float32)
    found, expected = run_graph(graph)({"image": x})["logits"], reference(weights, x, groups)
    np.testing.assert_allclose(found, expected, atol=1e-4 * max(1, np.abs(expected).max()))
    assert graph.notes[0].startswith("26 layers" if deep else "18 layers")


def test_a_resnet_with_other_keys_is_refused_with_all_that_does_not_fit():
    weights = random_weights(resnet_shapes(False))
    weights["layer1.0.se.fc.weight"] = np.zeros((2, 2), np.float32)
    del weights["layer3.1.bn2.bias"]
    with pytest.raises(ImportFailed, match="2 faults"):
        architecture_of(None, weights).build(weights, {})
    del weights["conv1.weight"]
    with pytest.raises(ImportFailed, match=r"conv1\.weight"):
        architecture_of("resnet", weights).build(weights, {})


def test_blazeface_gives_what_torch_gives(tmp_path: Path):
    pytest.importorskip("torch", reason="torch is the oracle")
    from importers.torch_networks import blazeface as reference

    weights = random_weights(blazeface.shapes())
    files = {"w": safetensors(tmp_path / "w", weights)}
    run = run_graph(importer_for(files).read(files, {})["model"])
    x = np.random.default_rng(1).uniform(-1, 1, (2, 3, 128, 128)).astype(np.float32)
    for name, value in reference(weights, x).items():
        np.testing.assert_allclose(run({"image": x})[name], value, atol=1e-4 * max(1, np.abs(value).max()))


def test_the_detector_of_speech_takes_several_sounds_at_once():
    weights = random_weights(silero_vad.shapes())
    run = run_graph(architecture_of(None, weights).build(weights, {}))
    rng = np.random.default_rng(1)
    sound, state = rng.normal(size=(3, 576)).astype(np.float32), rng.normal(size=(2, 3, 128)).astype(np.float32)
    together = run({"input": sound, "state": state})
    for item in range(3):
        alone = run({"input": sound[item : item + 1], "state": state[:, item : item + 1]})
        np.testing.assert_allclose(alone["output"], together["output"][item : item + 1], atol=1e-5)
        np.testing.assert_allclose(alone["stateN"], together["stateN"][:, item : item + 1], atol=1e-5)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_published_weights_are_imported_or_refused(case):
    assert run_case(case).right
