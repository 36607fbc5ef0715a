"""Lists of labels that lie beside a network: a line for each class."""

from __future__ import annotations

import re
from typing import Any

MAX_LABEL_BYTES = 1 << 20
MAX_LABELS = 100_000
_WITH_ID = re.compile(r"(n\d{8})\s+(\S.*)")


def read_labels(data: bytes) -> dict[str, Any]:
    """`labels`, and `label_ids` where each line begins with a WordNet id; empty for what is no list of labels."""
    if len(data) > MAX_LABEL_BYTES:
        return {}
    try:
        lines = data.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        return {}
    while lines and not lines[-1].strip():
        lines.pop()
    lines = [line.strip() for line in lines]
    if not 0 < len(lines) <= MAX_LABELS or not all(line.isprintable() for line in lines):
        return {}
    found = [_WITH_ID.fullmatch(line) for line in lines]
    if all(found):
        return {"labels": [match[2] for match in found if match], "label_ids": [match[1] for match in found if match]}
    return {"labels": lines}
