"""EfficientNet-Lite in PyTorch, written apart from the importer, as the oracle of the tests."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192))
LAST_STAGE = (1, 3, 1, 6, 320)


class SameConv(nn.Conv2d):
    """TensorFlow's SAME padding by explicit zeros, the odd one at the lower right."""

    def forward(self, x):
        pads = []
        for size in (x.shape[3], x.shape[2]):
            out = -(-size // self.stride[0])
            total = max(0, (out - 1) * self.stride[0] + self.kernel_size[0] - size)
            pads += [total // 2, total - total // 2]
        return functional.conv2d(functional.pad(x, pads), self.weight, None, self.stride, 0, 1, self.groups)


def conv(into, out, kernel, stride=1, groups=1):
    return SameConv(into, out, kernel, stride=stride, groups=groups, bias=False)


def norm(channels):
    return nn.BatchNorm2d(channels, eps=1e-3)


def channels_of(base, width):
    new = max(8, int(base * width + 4) // 8 * 8)
    return new + 8 if new < 0.9 * base * width else new


class Block(nn.Module):
    def __init__(self, into, out, kernel, stride, expansion):
        super().__init__()
        inside = into * expansion
        self.adds = stride == 1 and into == out
        if expansion != 1:
            self._expand_conv, self._bn0 = conv(into, inside, 1), norm(inside)
        self._depthwise_conv, self._bn1 = conv(inside, inside, kernel, stride, inside), norm(inside)
        self._project_conv, self._bn2 = conv(inside, out, 1), norm(out)

    def forward(self, x):
        y = functional.relu6(self._bn0(self._expand_conv(x))) if hasattr(self, "_expand_conv") else x
        y = functional.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.adds else y


class Lite(nn.Module):
    def __init__(self, width, depth, classes):
        super().__init__()
        self._conv_stem, self._bn0 = conv(3, 32, 3, 2), norm(32)
        self._blocks, into = nn.ModuleList(), 32
        for number, (repeats, kernel, stride, expansion, base) in enumerate((*STAGES, LAST_STAGE)):
            for i in range(repeats if number in (0, 6) else math.ceil(repeats * depth)):
                out = channels_of(base, width)
                self._blocks.append(Block(into, out, kernel, stride if i == 0 else 1, expansion))
                into = out
        self._conv_head, self._bn1 = conv(into, 1280, 1), norm(1280)
        self._fc = nn.Linear(1280, classes)

    def forward(self, x):
        x = functional.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        x = functional.relu6(self._bn1(self._conv_head(x)))
        return self._fc(x.mean((2, 3)))


def random_lite(width, depth, classes, seed=0):
    """With statistics as if trained, so that folding has something to fold."""
    torch.manual_seed(seed)
    network = Lite(width, depth, classes).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.5, 0.5)
            nn.init.normal_(module.running_mean, 0, 0.3)
            nn.init.uniform_(module.running_var, 0.3, 2)
    return network


def blazeface(weights, x):
    """BlazeFace of the front camera once more: outputs by name."""
    import torch.nn.functional as f

    w = {name: torch.from_numpy(value) for name, value in weights.items()}

    def conv(name: str, y: torch.Tensor, **more: int) -> torch.Tensor:
        return f.conv2d(y, w[f"{name}.weight"], w[f"{name}.bias"], **more)

    y, rows = torch.relu(conv("backbone1.0", f.pad(torch.from_numpy(x), (1, 2, 1, 2)), stride=2)), {}
    for backbone, scale in (("backbone1", "8"), ("backbone2", "16")):
        names = dict.fromkeys(
            name.rsplit(".convs", 1)[0] for name in weights if name.startswith(backbone) and "convs" in name
        )
        for name in names:
            half, channels = name in ("backbone1.4", "backbone1.7", "backbone2.0"), y.shape[1]
            z = f.pad(y, (0, 2, 0, 2)) if half else y
            z = conv(f"{name}.convs.0", z, stride=2 if half else 1, padding=0 if half else 1, groups=channels)
            z = conv(f"{name}.convs.1", z)
            y = f.max_pool2d(y, 2) if half else y
            y = torch.relu(z + f.pad(y, (0, 0, 0, 0, 0, z.shape[1] - channels)))
        for head, width in (("classifier", 1), ("regressor", 16)):
            cells = conv(f"{head}_{scale}", y).permute(0, 2, 3, 1).reshape(len(y), -1, width)
            rows[head] = torch.cat([rows[head], cells], 1) if head in rows else cells
    return {"classificators": rows["classifier"].numpy(), "regressors": rows["regressor"].numpy()}


def resnet(weights, x, groups=1):
    """ResNet with torchvision's keys once more: logits."""
    import torch.nn.functional as f

    w = {name: torch.from_numpy(value) for name, value in weights.items()}

    def conv(name: str, norm: str, y: torch.Tensor, **more: int) -> torch.Tensor:
        y = f.conv2d(y, w[f"{name}.weight"], **more)
        parts = (w[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return f.batch_norm(y, *parts, eps=1e-5)

    y = f.max_pool2d(torch.relu(conv("conv1", "bn1", torch.from_numpy(x), stride=2, padding=3)), 3, 2, 1)
    for name in dict.fromkeys(key.split(".conv")[0] for key in weights if key.startswith("layer") and ".conv" in key):
        stride = 2 if name.endswith(".0") and not name.startswith("layer1") else 1
        if f"{name}.conv3.weight" in w:
            z = torch.relu(conv(f"{name}.conv1", f"{name}.bn1", y))
            z = torch.relu(conv(f"{name}.conv2", f"{name}.bn2", z, stride=stride, padding=1, groups=groups))
            z = conv(f"{name}.conv3", f"{name}.bn3", z)
        else:
            z = torch.relu(conv(f"{name}.conv1", f"{name}.bn1", y, stride=stride, padding=1))
            z = conv(f"{name}.conv2", f"{name}.bn2", z, padding=1)
        if f"{name}.downsample.0.weight" in w:
            y = conv(f"{name}.downsample.0", f"{name}.downsample.1", y, stride=stride)
        y = torch.relu(y + z)
    return (y.mean((2, 3)) @ w["fc.weight"].T + w["fc.bias"]).numpy()
