"""Options that all importers of Keras' layers share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from glia.core.errors import ImportFailed
from glia.importers.keras_layers.configs import Network, Ref

SHARED_OPTIONS = {"input_size", "outputs"}
MAX_OUTPUTS = 1000


def cut(network: Network, options: Mapping[str, Any]) -> Network:
    """The network that ends at the layers which the option `outputs` names. Raises ImportFailed."""
    names = options.get("outputs")
    if names is None:
        return network
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list | tuple) or not 0 < len(names) <= MAX_OUTPUTS:
        raise ImportFailed(f"Expected the option `outputs` to be names of layers, received {str(names)[:100]!r}.")
    unknown = [str(name)[:100] for name in names if not isinstance(name, str) or name not in network.layers]
    if unknown:
        raise ImportFailed(f"Expected layers out of {list(network.layers)[:200]} as `outputs`, received {unknown}.")
    return replace(network, outputs=tuple(Ref(name, 0, 0) for name in names))


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
