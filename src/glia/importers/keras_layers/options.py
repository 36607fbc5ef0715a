"""Options that all importers of Keras' layers share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glia.core.errors import ImportFailed


def input_size(options: Mapping[str, Any]) -> list[int | None] | None:
    """The option `input_size`: sizes of the input without its batch; None stays open. Raises ImportFailed."""
    value = options.get("input_size")
    if value is None:
        return None
    right = isinstance(value, list | tuple) and 0 < len(value) <= 5
    if not right or not all(one is None or (type(one) is int and 0 < one <= 1 << 20) for one in value):
        raise ImportFailed(
            f"Expected the option `input_size` to be sizes without the batch, as [224, 224, 3], received "
            f"{str(value)[:100]!r}."
        )
    return list(value)
