"""Where a model comes from: the version of Keras and what computed for it, of which numbers depend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from glia.core.errors import ImportFailed
from glia.importers.graph import GraphWriter
from glia.importers.keras_layers.dialect import version_of
from glia.importers.keras_layers.scope import Scope
from glia.importers.keras_layers.stored import Stored
from glia.importers.layout import Layout

BACKENDS = ("tensorflow", "theano", "cntk", "torch", "jax")


@dataclass(frozen=True)
class Origin:
    """The words of a file, `2.2.4-tf` and `tensorflow` say."""

    version: str
    backend: str
    is_tfjs: bool = False

    def scope(self, graph: GraphWriter, layout: Layout) -> Scope:
        """What rules have to know of it."""
        version = (2, 9) if self.is_tfjs else version_of(self.version)
        is_tf = not self.is_tfjs and (version >= (2, 4) or "-tf" in self.version)
        slope = (1 / 6, 0.5) if version[0] >= 3 else (0.2, 0.5)
        scope = Scope(graph, layout, version, is_tf, self.backend == "theano", slope)
        if scope.is_theano:
            scope.note("trained with Theano, whose convolutions turn their kernels: they were turned")
        return scope


def origin(version: object, backend: object, stored: Stored | None, options: Mapping[str, Any]) -> Origin:
    """The origin as model and weights tell it, or the option `backend`.

    Keras 1 does not tell what computed: there TensorFlow's weights are called `...:0`, Theano's are not.
    """
    chosen = options.get("backend")
    if chosen is not None and chosen not in BACKENDS:
        raise ImportFailed(
            f"Expected the option `backend` to be one of {list(BACKENDS)}, received {str(chosen)[:100]!r}."
        )
    words = str(version or "") or (stored.version if stored else "")
    if isinstance(chosen, str):
        return Origin(words, chosen)
    if stored is not None and stored.backend:
        return Origin(words, stored.backend)
    if stored is not None and version_of(stored.version or words)[0] < 3:
        names = [name for pairs in stored.groups.values() for name, _ in pairs]
        if names and not any(name.endswith(":0") for name in names):
            return Origin(words, "theano")
        if version_of(stored.version)[0] == 1:
            return Origin(words, "tensorflow")
    return Origin(words, str(backend or "tensorflow"))
