"""Writes tests/importers/fixtures: one state dict in both forms of torch.save. Needs torch; run once, by hand:

python tests/importers/make_fixtures.py
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import torch

FIXTURES = Path(__file__).parent / "fixtures"


def state() -> OrderedDict[str, torch.Tensor]:
    """Every type that is read, and views: shared, shifted, transposed, strided, without axes, empty."""
    base = torch.arange(12, dtype=torch.float32) / 4
    kinds = ("float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
    found = OrderedDict((kind, torch.tensor([0, 1, 3, 100]).to(getattr(torch, kind))) for kind in kinds)
    found["whole"] = base.reshape(3, 4)
    found["shifted"] = base[5:7]
    found["transposed"] = base.reshape(3, 4).T
    found["strided"] = base[1::3]
    found["scalar"] = torch.tensor(-1.5)
    found["empty"] = torch.zeros(0, 3)
    found["parameter"] = torch.nn.Parameter(torch.tensor([2.5, -2.5]))
    return found


if __name__ == "__main__":
    FIXTURES.mkdir(exist_ok=True)
    torch.save(state(), FIXTURES / "old.pth", _use_new_zipfile_serialization=False)
    torch.save(state(), FIXTURES / "zip.pth")
