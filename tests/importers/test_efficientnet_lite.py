"""EfficientNet-Lite from weights: structure without torch, numbers against torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from glia.core.errors import ImportFailed, SourceError
from glia.importers.architectures.efficientnet_lite import ARCHITECTURE, blocks, rounded, shapes
from glia.importers.pytorch import IMPORTER, read_state_dict
from glia.store.catalog import entry
from glia.store.sources import obtain

SMALL = {"width": 0.25, "depth": 0.5, "classes": 7}
SIZES = ((1, 32, 32), (3, 33, 47), (2, 64, 31), (1, 7, 5), (1, 1, 1))


def random_weights(seed: int = 0) -> dict[str, np.ndarray]:
    """Weights of the small network, such that no layer blows up."""
    rng = np.random.default_rng(seed)
    found = {}
    for key, shape in shapes(**SMALL).items():
        scale = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.2
        values = rng.normal(0, scale, shape)
        found[key] = (np.abs(values) + 0.5 if key.endswith("running_var") else values).astype(np.float32)
    return found


def session(model) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def picture(n: int, h: int, w: int) -> np.ndarray:
    return np.random.default_rng(h * w).uniform(-1, 1, (n, 3, h, w)).astype(np.float32)


def test_channels_and_repeats_are_those_of_lite2():
    found = list(blocks(1.1, 1.2))
    repeats = {16: 1, 24: 3, 48: 3, 88: 4, 120: 4, 208: 5, 352: 1}
    assert [block.after for block in found] == [channels for channels, count in repeats.items() for _ in range(count)]
    assert rounded(16, 1.1) == 16
    assert rounded(32, 0.1) == 8


def test_a_batch_gives_what_its_pictures_give_one_by_one():
    graph = ARCHITECTURE.build(random_weights(), SMALL)
    run = session(graph.model)
    assert (graph.inputs, graph.outputs) == ({"image": "image"}, {"logits": "logits"})
    assert run.get_inputs()[0].shape == ["n", 3, "h", "w"]
    assert run.get_outputs()[0].shape == ["n", 7]
    for n, h, w in SIZES:
        x = picture(n, h, w)
        together = run.run(None, {"image": x})[0]
        single = np.concatenate([run.run(None, {"image": x[i : i + 1]})[0] for i in range(n)])
        np.testing.assert_allclose(together, single, atol=1e-5)


def test_the_same_weights_give_the_same_bytes():
    made = [ARCHITECTURE.build(random_weights(), SMALL).model.SerializeToString(deterministic=True) for _ in range(2)]
    assert made[0] == made[1]


def test_every_key_that_does_not_fit_is_listed():
    weights = random_weights()
    del weights["_fc.bias"]
    weights["_conv_head.weight"] = weights["_conv_head.weight"][:-1]
    weights["_bn1.weight"] = weights["_bn1.weight"].astype(np.int64)
    weights["_bn0.bias"] = np.full(32, np.nan, np.float32)
    weights["stranger"] = np.zeros(3, np.float32)
    weights["_bn0.num_batches_tracked"] = np.array(1)
    with pytest.raises(ImportFailed, match="5 faults") as error:
        ARCHITECTURE.build(weights, SMALL)
    for part in ("missing _fc.bias [7]", "surplus 'stranger' [3]", "_conv_head.weight is [1279", "int64", "NaN"):
        assert part in error.value.message


@pytest.mark.parametrize(
    "wrong", [{"width": 0}, {"depth": "1"}, {"width": float("nan")}, {"classes": 0}, {"clases": 7}, {"width": True}]
)
def test_options_that_make_no_sense_fail_the_import(wrong: dict[str, object]):
    with pytest.raises(ImportFailed, match="option"):
        ARCHITECTURE.build(random_weights(), SMALL | wrong)


def test_negative_variances_fail_the_import():
    weights = random_weights()
    weights["_bn0.running_var"] = np.full(32, -1, np.float32)
    with pytest.raises(ImportFailed, match="negative variances"):
        ARCHITECTURE.build(weights, SMALL)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(("width", "depth"), [(0.25, 0.5), (0.4, 1.2)])
def test_logits_equal_those_of_torch(tmp_path: Path, zipped: bool, width: float, depth: float):
    torch = pytest.importorskip("torch", reason="torch is the oracle")
    from importers.torch_networks import random_lite

    network = random_lite(width, depth, 7)
    path = tmp_path / "weights"
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=zipped)
    options = {"architecture": "efficientnet-lite", "width": width, "depth": depth, "classes": 7}
    run = session(IMPORTER.read({"weights": path}, options)["model"].model)
    for n, h, w in SIZES:
        x = picture(n, h, w)
        with torch.no_grad():
            expected = network(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(
            run.run(None, {"image": x})[0], expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max()
        )


def published_lite0(folder: Path) -> Path:
    """The weights that the catalog names, from whatever source can be reached."""
    file = entry("imagenet-efficientnet-lite0").files[0]
    try:
        return obtain(
            file,
            name="imagenet-efficientnet-lite0",
            downloads=folder,
            progress=lambda done, total, what: None,
            report=lambda line: None,
        )
    except SourceError as error:
        pytest.skip(f"no source of the published weights can be reached: {error.message[:200]}")


def test_published_weights_give_the_logits_of_torch(tmp_path: Path):
    torch = pytest.importorskip("torch", reason="torch is the oracle")
    weights = published_lite0(tmp_path)
    from importers.torch_networks import Lite

    network = Lite(1.0, 1.0, 1000).eval()
    network.load_state_dict(torch.load(weights, weights_only=True))
    for name, array in read_state_dict(weights).items():
        np.testing.assert_array_equal(array, network.state_dict()[name].numpy(), strict=True)
    options = {"architecture": "efficientnet-lite", "width": 1.0, "depth": 1.0, "resolution": 224}
    run = session(IMPORTER.read({"weights": weights}, options)["model"].model)
    for n, h, w in ((1, 224, 224), (2, 225, 223), (1, 97, 331), (3, 33, 32)):
        x = picture(n, h, w)
        with torch.no_grad():
            expected = network(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(run.run(None, {"image": x})[0], expected, atol=5e-5)
