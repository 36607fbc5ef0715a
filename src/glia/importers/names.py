"""Names of foreign tensors as names in ONNX."""

from __future__ import annotations

import re

MAX_CHARACTERS = 120


def clean(name: str, default: str = "tensor") -> str:
    """A name with letters, digits and `_ . / - :` only, of at most 120 characters."""
    return re.sub(r"[^\w./:-]", "_", name, flags=re.ASCII)[:MAX_CHARACTERS] or default
