"""Networks whose files hold weights only: one module per family, found by its name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped

from glia.core.errors import ImportFailed
from glia.importers.importer import ImportedGraph

Weights = Mapping[str, Shaped[np.ndarray, "..."]]


@runtime_checkable
class Architecture(Protocol):
    """Puts weights by name into a graph. A module of this package declares its architecture as `ARCHITECTURE`."""

    name: str

    def build(self, weights: Weights, options: Mapping[str, Any]) -> ImportedGraph:
        """The network with these weights. Raises ImportFailed where keys, shapes or options do not fit."""
        ...


def architectures() -> dict[str, Architecture]:
    """Every known architecture by its name."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    found: dict[str, Architecture] = {}
    for module in modules:
        if hasattr(module, "ARCHITECTURE"):
            assert module.ARCHITECTURE.name not in found, f"two architectures are called {module.ARCHITECTURE.name}"
            found[module.ARCHITECTURE.name] = module.ARCHITECTURE
    return found


def architecture(name: object) -> Architecture:
    """The architecture of this name. Raises ImportFailed that lists the known ones."""
    known = architectures()
    if not isinstance(name, str) or name not in known:
        raise ImportFailed(
            "The file holds weights but no network: expected the option `architecture` to be one of "
            f"{sorted(known)}, received {name!r}."
        )
    return known[name]


def architecture_of(name: object, weights: Weights) -> Architecture:
    """The architecture of this name; without one, that whose own names (`marks`) are all among the weights'.

    Raises ImportFailed that lists the known ones.
    """
    if name is None:
        known = architectures().values()
        met = [one for one in known if (marks := getattr(one, "marks", frozenset[str]())) and marks <= set(weights)]
        if len(met) == 1:
            return met[0]
    return architecture(name)


def check_shapes(weights: Weights, expected: Mapping[str, tuple[int, ...]], ignored: str = "") -> None:
    """Raise one ImportFailed that lists every missing, surplus and wrongly shaped tensor.

    Surplus tensors whose name ends with `ignored` are let pass.
    """
    faults = [f"missing {key} {list(shape)}" for key, shape in expected.items() if key not in weights]
    for key, value in weights.items():
        if key not in expected:
            if not (ignored and key.endswith(ignored)):
                faults.append(f"surplus {key[:200]!r} {list(value.shape)}")
        elif value.shape != expected[key]:
            faults.append(f"{key} is {list(value.shape)} where {list(expected[key])} was expected")
        elif value.dtype.kind != "f":
            faults.append(f"{key} is of {value.dtype} where floats were expected")
        elif not np.isfinite(value).all():
            faults.append(f"{key} holds infinities or NaN")
    if faults:
        raise ImportFailed(
            f"The weights do not fit the architecture and its options; {len(faults)} faults: {'; '.join(faults)}."
        )
