"""Networks for the browser once more, in torch, from their published descriptions: the other side of parity."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

Weights = Mapping[str, np.ndarray]
MEAN = (122.782, 117.001, 104.298)


def _same(x: torch.Tensor, kernel: int, stride: int, value: float = 0) -> torch.Tensor:
    """TensorFlow's SAME: the odd pixel comes after."""
    pads = []
    for size in (x.shape[3], x.shape[2]):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads, value=value)


class Run:
    """Layers by name."""

    def __init__(self, weights: Weights) -> None:
        self.w = {name: torch.from_numpy(np.array(value, np.float64)) for name, value in weights.items()}

    def image(self, x: np.ndarray, mean: tuple[float, ...], divisor: float) -> torch.Tensor:
        return (torch.from_numpy(x.astype(np.float64)) - torch.tensor(mean).double().reshape(1, 3, 1, 1)) / divisor

    def filters(self, name: str, x: torch.Tensor, stride: int = 1, same: bool = True) -> torch.Tensor:
        kernel = self.w[name].permute(3, 2, 0, 1)
        return F.conv2d(_same(x, kernel.shape[2], stride) if same else x, kernel, stride=stride)

    def conv(self, name: str, x: torch.Tensor, stride: int = 1, same: bool = True) -> torch.Tensor:
        return self.filters(f"{name}/filters", x, stride, same) + self.w[f"{name}/bias"].reshape(1, -1, 1, 1)

    def separable(self, name: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        kernel = self.w[f"{name}/depthwise_filter"].permute(2, 3, 0, 1)
        y = F.conv2d(_same(x, kernel.shape[2], stride), kernel, stride=stride, groups=x.shape[1])
        return self.filters(f"{name}/pointwise_filter", y) + self.w[f"{name}/bias"].reshape(1, -1, 1, 1)

    def pool(self, x: torch.Tensor, size: int, stride: int) -> torch.Tensor:
        return F.max_pool2d(_same(x, size, stride, -torch.inf), size, stride)

    def dense(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ self.w[f"{name}/weights"] + self.w[f"{name}/bias"]


def tiny_face_detector(weights: Weights, x: np.ndarray) -> dict[str, np.ndarray]:
    run = Run(weights)
    y = F.leaky_relu(run.conv("conv0", run.image(x, (117.001, 114.697, 97.404), 256), same=False), 0.1)
    for number in range(1, 6):
        y = F.leaky_relu(run.separable(f"conv{number}", run.pool(y, 2, 2)), 0.1)
    return {"grid": run.conv("conv8", run.pool(y, 2, 1)).permute(0, 2, 3, 1).numpy()}


def age_gender_xception(weights: Weights, x: np.ndarray) -> dict[str, np.ndarray]:
    run = Run(weights)
    y = F.relu(run.conv("entry_flow/conv_in", run.image(x, MEAN, 256), 2))

    def reduce(name: str, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        z = run.separable(f"{name}/separable_conv1", F.relu(run.separable(f"{name}/separable_conv0", z)))
        return run.pool(z, 3, 2) + run.conv(f"{name}/expansion_conv", y, 2)

    y = reduce("entry_flow/reduction_block_0", y, y)
    y = reduce("entry_flow/reduction_block_1", y, F.relu(y))
    for block in range(2):
        z = y
        for number in range(3):
            z = run.separable(f"middle_flow/main_block_{block}/separable_conv{number}", F.relu(z))
        y = y + z
    y = reduce("exit_flow/reduction_block", y, F.relu(y))
    y = F.relu(run.separable("exit_flow/separable_conv", y)).mean((2, 3))
    return {"age": run.dense("fc/age", y).numpy(), "gender": run.dense("fc/gender", y).softmax(1).numpy()}


def face_dense(weights: Weights, x: np.ndarray) -> dict[str, np.ndarray]:
    run = Run(weights)
    y, large = run.image(x, MEAN, 255), "dense3/conv0/depthwise_filter" in weights
    for block in range(4 if large else 3):
        name = f"dense{block}"
        one = F.relu((run.conv if block == 0 else run.separable)(f"{name}/conv0", y, 2))
        two = run.separable(f"{name}/conv1", one)
        three = run.separable(f"{name}/conv2", F.relu(one + two))
        y = one + two + three
        if large:
            y = y + run.separable(f"{name}/conv3", F.relu(y))
        y = F.relu(y)
    out = run.dense("fc", y.mean((2, 3)))
    return {"landmarks": out.numpy()} if out.shape[1] == 136 else {"expressions": out.softmax(1).numpy()}


def face_recognition_resnet(weights: Weights, x: np.ndarray) -> dict[str, np.ndarray]:
    run = Run(weights)

    def conv(name: str, y: torch.Tensor, stride: int = 1, same: bool = True) -> torch.Tensor:
        y = run.conv(f"{name}/conv", y, stride, same)
        return y * run.w[f"{name}/scale/weights"][:, None, None] + run.w[f"{name}/scale/biases"][:, None, None]

    y = F.max_pool2d(F.relu(conv("conv32_down", run.image(x, MEAN, 256), 2, False)), 3, 2)
    names = list(dict.fromkeys(name.split("/")[0] for name in weights if "/conv1/" in name))
    for name in names:
        down = "down" in name
        z = conv(f"{name}/conv2", F.relu(conv(f"{name}/conv1", y, 2 if down else 1, not down)))
        y = F.avg_pool2d(y, 2, 2) if down else y
        most = [max(pair) for pair in zip(y.shape, z.shape, strict=True)]
        y, z = (F.pad(t, [0, most[3] - t.shape[3], 0, most[2] - t.shape[2], 0, most[1] - t.shape[1]]) for t in (y, z))
        y = F.relu(y + z)
    return {"embedding": (y.mean((2, 3)) @ run.w["fc"]).numpy()}


def fast_style_transfer(weights: Weights, x: np.ndarray) -> dict[str, np.ndarray]:
    run = Run(weights)
    y, at = torch.from_numpy(x.astype(np.float64)), 0

    def layer(y: torch.Tensor, stride: int) -> torch.Tensor:
        nonlocal at
        name, shift, scale = (f"Variable_{at + part}" if at + part else "Variable" for part in range(3))
        at += 3
        if stride > 0:
            y = run.filters(name, y, stride)
        else:
            y = F.conv_transpose2d(y, run.w[name].permute(3, 2, 0, 1), stride=2)[
                :, :, : 2 * y.shape[2], : 2 * y.shape[3]
            ]
        centred = y - y.mean((2, 3), keepdim=True)
        y = centred / torch.sqrt((centred**2).mean((2, 3), keepdim=True) + 1e-3)
        return y * run.w[scale][:, None, None] + run.w[shift][:, None, None]

    for stride in (1, 2, 2):
        y = F.relu(layer(y, stride))
    for _ in range(5):
        y = y + layer(F.relu(layer(y, 1)), 1)
    for _ in range(2):
        y = F.relu(layer(y, -2))
    return {"stylised": (torch.tanh(layer(y, 1)) * 150 + 127.5).numpy()}


def ssd_mobilenet_v1(weights: Weights, x: np.ndarray) -> dict[str, np.ndarray]:
    run = Run(weights)

    def point(name: str, y: torch.Tensor, stride: int) -> torch.Tensor:
        y = run.filters(f"{name}_pointwise/weights", y, stride)
        return (y + run.w[f"{name}_pointwise/convolution_bn_offset"][:, None, None]).clamp(0, 6)

    y = point("MobilenetV1/Conv2d_0", torch.from_numpy(x.astype(np.float64)) * 0.007843137718737125 - 1, 2)
    seen = []
    for number in range(1, 14):
        name = f"MobilenetV1/Conv2d_{number}"
        kernel = run.w[f"{name}_depthwise/depthwise_weights"].permute(2, 3, 0, 1)
        stride = 2 if number in (2, 4, 6, 12) else 1
        y = F.conv2d(_same(y, 3, stride), kernel, stride=stride, groups=len(kernel))
        norm = [
            run.w[f"{name}_depthwise/BatchNorm/{part}"] for part in ("moving_mean", "moving_variance", "gamma", "beta")
        ]
        y = F.batch_norm(y, *norm, eps=0.0010000000474974513).clamp(0, 6)
        y = point(name, y, 1)
        seen += [y] if number in (11, 13) else []
    for number in range(8):
        y = point(f"Prediction/Conv2d_{number}", y, 1 + number % 2)
        seen += [y] if number % 2 else []

    def rows(head: str, width: int) -> torch.Tensor:
        found = []
        for number, z in enumerate(seen):
            name = f"Prediction/BoxPredictor_{number}/{head}"
            z = run.filters(f"{name}/weights", z) + run.w[f"{name}/biases"][:, None, None]
            found.append(z.permute(0, 2, 3, 1).reshape(len(z), -1, width))
        return torch.cat(found, 1)

    code, anchors = rows("BoxEncodingPredictor", 4), run.w["Output/extra_dim"]
    height, width = anchors[..., 2] - anchors[..., 0], anchors[..., 3] - anchors[..., 1]
    row, column = anchors[..., 0] + height / 2, anchors[..., 1] + width / 2
    row, column = code[..., 0] / 10 * height + row, code[..., 1] / 10 * width + column
    height, width = torch.exp(code[..., 2] / 5) * height / 2, torch.exp(code[..., 3] / 5) * width / 2
    boxes = torch.stack([row - height, column - width, row + height, column + width], 2)
    return {"boxes": boxes.numpy(), "scores": rows("ClassPredictor", 3)[..., 1].sigmoid().numpy()}


REFERENCES: dict[str, Callable[[Weights, np.ndarray], dict[str, np.ndarray]]] = {
    "tiny-face-detector": tiny_face_detector,
    "age-gender-xception": age_gender_xception,
    "face-dense": face_dense,
    "face-recognition-resnet": face_recognition_resnet,
    "fast-style-transfer": fast_style_transfer,
    "ssd-mobilenet-v1": ssd_mobilenet_v1,
}
