"""Age and gender of face-api: a tiny Xception on faces of 112 x 112 pixels.

Source: Chollet 2017, arXiv:1610.02357; face-api.js, src/xception and src/ageGenderNet (MIT).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glia.importers.architectures import Weights, check_shapes
from glia.importers.architectures.hwio import IMAGENET_MEAN, Layers, Shapes, conv_shapes, separable_shapes
from glia.importers.importer import ImportedGraph, refuse_unknown

REDUCTIONS = {
    "entry_flow/reduction_block_0": (32, 64),
    "entry_flow/reduction_block_1": (64, 128),
    "exit_flow/reduction_block": (128, 256),
}
MIDDLE = ("middle_flow/main_block_0", "middle_flow/main_block_1")
FEATURES = 512
SIZE = 112


def shapes() -> Shapes:
    """Every tensor by its name."""
    expected = conv_shapes("entry_flow/conv_in", 3, 32)
    for name, (into, out) in REDUCTIONS.items():
        expected |= separable_shapes(f"{name}/separable_conv0", into, out)
        expected |= separable_shapes(f"{name}/separable_conv1", out, out)
        expected |= conv_shapes(f"{name}/expansion_conv", into, out, 1)
    for name in MIDDLE:
        for number in range(3):
            expected |= separable_shapes(f"{name}/separable_conv{number}", 128, 128)
    expected |= separable_shapes("exit_flow/separable_conv", 256, FEATURES)
    for name, out in (("age", 1), ("gender", 2)):
        expected |= {f"fc/{name}/weights": (FEATURES, out), f"fc/{name}/bias": (out,)}
    return expected


class AgeGenderXception:
    """`image` [n, 3, 112, 112] to `age` [n, 1] in years and `gender` [n, 2]: male, female; no options."""

    name = "age-gender-xception"
    marks = frozenset({"entry_flow/conv_in/filters", "fc/age/weights", "fc/gender/weights"})

    def build(self, weights: Weights, options: Mapping[str, Any]) -> ImportedGraph:
        """The network with these weights. Raises ImportFailed."""
        refuse_unknown(options, set())
        check_shapes(weights, shapes())
        net = Layers(self.name, weights)
        x = net.relu(net.conv("entry_flow/conv_in", net.image(IMAGENET_MEAN, 256.0, SIZE), 2))
        for name in ("entry_flow/reduction_block_0", "entry_flow/reduction_block_1"):
            x = self._reduction(net, name, x, active=name.endswith("1"))
        for name in MIDDLE:
            y = x
            for number in range(3):
                y = net.separable(f"{name}/separable_conv{number}", net.relu(y))
            x = net.add(y, x)
        x = self._reduction(net, "exit_flow/reduction_block", x, active=True)
        x = net.flat_pool(net.relu(net.separable("exit_flow/separable_conv", x)), 7)
        gender = net.graph.node("Softmax", [net.dense("fc/gender", x)], "probabilities", axis=1)
        known = {"size": (SIZE, SIZE), "colour": "rgb"}
        return net.finish(
            {"age": net.dense("fc/age", x), "gender": gender}, known, "takes RGB of 0..255", "gender: male, female"
        )

    def _reduction(self, net: Layers, name: str, x: str, *, active: bool) -> str:
        """Two separable convolutions and half the size, plus the input by a shorter way."""
        y = net.separable(f"{name}/separable_conv0", net.relu(x) if active else x)
        y = net.separable(f"{name}/separable_conv1", net.relu(y))
        return net.add(net.max_pool(y, 3, 2), net.conv(f"{name}/expansion_conv", x, 2))


ARCHITECTURE = AgeGenderXception()
