"""Arrays of a Keras file, dealt out to the layers of a network.

    HDF5       group per layer, in the order of the attribute `layer_names`; in it `weight_names`; a model in a model
               has one group, with all its trained arrays first and the others after them
    Keras 0    groups `layer_<n>` with `param_<n>`
    .keras     layers/<class name>[_<n>]/vars/<n>, as deep as the layers nest; newer ones name each layer
    TF.js      a flat list of names `<layer>/<part>`

Source: keras/engine/topology.py (save_weights_to_hdf5_group) of Keras 2.0.6, keras/src/saving/saving_lib.py of Keras 3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from glia.core.errors import ImportFailed
from glia.importers.keras_layers.configs import Network, Spec
from glia.importers.keras_layers.hdf5 import Array, Group

Named = list[tuple[str, Array]]
Path = tuple[str, ...]
Weights = dict[Path, list[Array]]
MAX_CHUNKS = 10_000
GATES = {"LSTM": 4, "GRU": 3}


@dataclass(frozen=True)
class Stored:
    """Arrays with their names, by layer, in the file's order."""

    groups: dict[str, Named]
    version: str = ""
    backend: str = ""
    notes: list[str] = field(default_factory=list)


def chunked(group: Group, name: str) -> list[str]:
    """A list of text in one attribute, or in `<name>0`, `<name>1`, ... where it is long."""
    value = group.attributes.get(name)
    if value is not None:
        return [str(entry) for entry in value] if isinstance(value, list) else []
    found: list[str] = []
    for number in range(MAX_CHUNKS):
        part = group.attributes.get(f"{name}{number}")
        if not isinstance(part, list):
            break
        found += [str(entry) for entry in part]
    return found


def from_hdf5(root: Group) -> Stored:
    """The arrays of a whole model or a file of weights. Raises ImportFailed."""
    inside = root.groups.get("model_weights", root)
    version, backend = (
        str(inside.attributes.get(key) or root.attributes.get(key) or "") for key in ("keras_version", "backend")
    )
    if "nb_layers" in inside.attributes:
        return Stored(_numbered(inside), version, backend)
    names = chunked(inside, "layer_names")
    if not names and "layer_names" not in inside.attributes:
        raise ImportFailed(
            "The HDF5 file names no layers (attribute `layer_names`): it holds no network of Keras, or only a part."
        )
    groups: dict[str, Named] = {}
    for name in names:
        group = inside.groups.get(name)
        if group is None:  # a name with slashes nests
            group = _descend(inside, name)
        groups[name] = _named(group, name)
    return Stored(groups, version, backend)


def _descend(group: Group, name: str) -> Group:
    for part in name.split("/"):
        if part not in group.groups:
            raise ImportFailed(f"The layer {name[:200]!r} is announced but not there. The file is damaged.")
        group = group.groups[part]
    return group


def _named(group: Group, layer: str) -> Named:
    found: Named = []
    for name in chunked(group, "weight_names"):
        array = group.at(name) if name.strip("/") else None
        if array is None:
            raise ImportFailed(f"The weight {name[:200]!r} of {layer[:200]!r} is not there. The file is damaged.")
        found.append((name, array))
    return found


def _numbered(root: Group) -> dict[str, Named]:
    """Keras before 1.0: layers by number."""
    numbers = sorted(int(name[6:]) for name in root.groups if re.fullmatch(r"layer_\d{1,6}", name))
    groups: dict[str, Named] = {}
    for number in numbers:
        group = root.groups[f"layer_{number}"]
        count = len(group.arrays)
        pairs = [(f"param_{n}", group.arrays[f"param_{n}"]) for n in range(count) if f"param_{n}" in group.arrays]
        groups[f"layer_{number}"] = pairs
    return groups


# -- how many arrays a layer holds -------------------------------------------------------------------------------------

ONE_AND_BIAS = {
    "Dense", "Conv1D", "Conv2D", "Conv3D", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose",
    "DepthwiseConv1D", "DepthwiseConv2D", "LocallyConnected1D", "LocallyConnected2D", "MaxoutDense",
}  # fmt: skip
PLAIN = {"Embedding": 1, "PReLU": 1, "Bias": 1, "ParametricSoftplus": 2, "SReLU": 4, "RMSNormalization": 1}


def counts(spec: Spec) -> tuple[int, int]:
    """How many trained and untrained arrays a layer has; none for kinds that are unknown."""
    config = spec.config
    bias = int(config.get("use_bias", True) is not False)
    trained, rest = 0, 0
    if spec.kind in ONE_AND_BIAS:
        trained = 1 + bias
    elif spec.kind.startswith("SeparableConv") or spec.kind == "Highway":
        trained = (4 if bias else 2) if spec.kind == "Highway" else 2 + bias
    elif spec.kind in PLAIN:
        trained = PLAIN[spec.kind]
    elif spec.kind in {"LSTM", "GRU", "SimpleRNN", "ConvLSTM2D"}:
        old = "inner_init" in config and config.get("consume_less") != "gpu"
        trained = 3 * GATES.get(spec.kind, 1) if old else 2 + bias
    elif spec.kind in {"CuDNNLSTM", "CuDNNGRU"}:
        trained = 3
    elif spec.kind in {"BatchNormalization", "LayerNormalization", "GroupNormalization"}:
        trained = int(config.get("scale", True) is not False) + int(config.get("center", True) is not False)
        rest = 2 if spec.kind == "BatchNormalization" else 0
    elif spec.kind in {"Attention", "AdditiveAttention"}:
        trained = int(config.get("use_scale", spec.kind == "AdditiveAttention") is True)
    elif spec.kind == "MultiHeadAttention":
        trained = 8 if bias else 4
    elif spec.kind == "Normalization" and config.get("mean") is None:
        rest = 3
    elif spec.kind == "Bidirectional":
        each = [counts(inner) for inner in spec.wrapped]
        trained, rest = (sum(part) * (2 if len(each) == 1 else 1) for part in zip(*each, strict=True))
    elif spec.kind == "TimeDistributed" and spec.wrapped[0].inner is None:
        trained, rest = counts(spec.wrapped[0])
    return (trained, rest) if config.get("trainable", True) is not False else (0, trained + rest)


def _model_in(spec: Spec) -> Network | None:
    """The model that a layer is, or that it spreads over time."""
    if spec.inner is not None:
        return spec.inner
    return spec.wrapped[0].inner if spec.kind == "TimeDistributed" else None


def leaves(network: Network, path: Path = ()) -> Iterator[tuple[Path, Spec]]:
    """Every layer that is no model, by the names of the models it lies in and its own."""
    for name, spec in network.layers.items():
        inner = _model_in(spec)
        if inner is None:
            yield (*path, name), spec
        else:
            yield from leaves(inner, (*path, name))


# -- dealing -----------------------------------------------------------------------------------------------------------


def deal(network: Network, stored: Stored) -> Weights:
    """Every layer's arrays, by its path. Names decide; where they are others, the order does. Raises ImportFailed."""
    found: Weights = {}
    if _deal_by_name(network, stored.groups, (), found):
        return _checked(found)
    wanted = [(name, spec) for name, spec in network.layers.items() if _count(spec)]
    held = [(name, pairs) for name, pairs in stored.groups.items() if pairs]
    if [_count(spec) for _, spec in wanted] != [len(pairs) for _, pairs in held]:
        raise ImportFailed(
            f"The network has {len(wanted)} layers with weights, {[name for name, _ in wanted][:30]}, the file holds "
            f"{len(held)}, {[name for name, _ in held][:30]}, of other names and numbers. Give the weights of this "
            "network."
        )
    stored.notes.append("layers and weights have different names; they were matched by their order")
    for (name, spec), (_, pairs) in zip(wanted, held, strict=True):
        _hand(spec, (name,), pairs, found)
    return _checked(found)


def _count(spec: Spec) -> int:
    inner = _model_in(spec)
    if inner is None:
        return sum(counts(spec))
    return sum(_count(entry) for entry in inner.layers.values())


def _deal_by_name(network: Network, groups: Mapping[str, Named], path: Path, found: Weights) -> bool:
    for name, spec in network.layers.items():
        inner = _model_in(spec)
        if name in groups:
            _hand(spec, (*path, name), groups[name], found)
        elif inner is not None:  # Keras 1 stores the layers of a chain in a chain beside each other
            if not _deal_by_name(inner, groups, (*path, name), found):
                return False
        elif _count(spec):
            return False
    return True


def _hand(spec: Spec, path: Path, pairs: Named, found: Weights) -> None:
    inner = _model_in(spec)
    if inner is None:
        found[path] = [array for _, array in pairs]
    elif not _by_part(inner, path, pairs, found):
        _by_order(inner, path, pairs, found)


def _by_part(network: Network, path: Path, pairs: Named, found: Weights) -> bool:
    """Deal the arrays of a model in a model by the names of its layers, which are parts of the arrays' names."""
    inside = [(at, spec) for at, spec in leaves(network, path) if sum(counts(spec))]
    by_name = {at[-1]: at for at, _ in inside}
    if len(by_name) != len(inside):
        return False
    dealt: Weights = {at: [] for at, _ in inside}
    for name, array in pairs:
        owner = next((by_name[part] for part in reversed(name.split("/")[:-1]) if part in by_name), None)
        if owner is None:
            return False
        dealt[owner].append(array)
    if any(len(dealt[at]) != sum(counts(spec)) for at, spec in inside):
        return False
    found |= dealt
    return True


def _by_order(network: Network, path: Path, pairs: Named, found: Weights) -> None:
    """Deal by order: what is trained of every layer, then what is not."""
    inside = list(leaves(network, path))
    needed = sum(sum(counts(spec)) for _, spec in inside)
    if needed != len(pairs):
        raise ImportFailed(
            f"The model {'/'.join(path)[:200]} needs {needed} arrays, the file holds {len(pairs)} for it. "
            "Give the weights of this network."
        )
    arrays = [array for _, array in pairs]
    at = 0
    for which in (0, 1):
        for where, spec in inside:
            count = counts(spec)[which]
            found.setdefault(where, []).extend(arrays[at : at + count])
            at += count


def from_names(network: Network, arrays: Mapping[str, Array]) -> Weights:
    """Deal a flat list of `<layer>/<part>`, as TensorFlow.js keeps it. Raises ImportFailed."""
    found: Weights = {}
    pairs = [(name, value) for name, value in arrays.items()]
    if not _by_part(network, (), pairs, found):
        groups: dict[str, Named] = {}
        for name, value in pairs:
            groups.setdefault(name.split("/")[0], []).append((name, value))
        return deal(network, Stored(groups))
    return _checked(found)


# -- .keras ------------------------------------------------------------------------------------------------------------

PARTS = {
    "LSTM": ("cell",),
    "GRU": ("cell",),
    "SimpleRNN": ("cell",),
    "MultiHeadAttention": ("query_dense", "key_dense", "value_dense", "output_dense"),
}


def from_vars(network: Network, root: Group) -> Weights:
    """The arrays of a `.keras` zip or a file `.weights.h5`. Raises ImportFailed."""
    found: Weights = {}
    _walk_vars(network, root, (), found)
    return _checked(found)


def _walk_vars(network: Network, group: Group, path: Path, found: Weights) -> None:
    held = group.groups.get("layers") or group.groups.get("_layer_checkpoint_dependencies") or Group()
    named = {str(inner.groups["vars"].attributes.get("name")): inner for inner in held.groups.values() if _vars(inner)}
    met: dict[str, int] = {}
    for name, spec in network.layers.items():
        snake = snake_case(spec.kind)
        number = met.get(snake, 0)
        met[snake] = number + 1
        own = named.get(name) or held.groups.get(f"{snake}_{number}" if number else snake) or held.groups.get(name)
        if own is not None:
            _take(spec, own, (*path, name), found)


def _vars(group: Group) -> bool:
    return "vars" in group.groups and isinstance(group.groups["vars"].attributes.get("name"), str)


def _take(spec: Spec, group: Group, path: Path, found: Weights) -> None:
    if spec.inner is not None:
        _walk_vars(spec.inner, group, path, found)
    elif spec.kind == "TimeDistributed":
        inner, inside = spec.wrapped[0], group.groups.get("layer", Group())
        if inner.inner is not None:
            _walk_vars(inner.inner, inside, path, found)
        else:
            found[path] = _numbers(inner.kind, inside)
    elif spec.kind == "Bidirectional":
        sides = [group.groups.get(side, Group()) for side in ("forward_layer", "backward_layer")]
        found[path] = [array for side in sides for array in _numbers(spec.wrapped[0].kind, side)]
    else:
        found[path] = _numbers(spec.kind, group)


def _numbers(kind: str, group: Group) -> list[Array]:
    arrays: list[Array] = []
    for part in PARTS.get(kind, ("",)):
        inside = group.groups.get(part) or group.groups.get(f"_{part}") or Group() if part else group
        own = inside.groups.get("vars", Group()).arrays
        arrays += [own[name] for name in sorted(own, key=lambda name: (len(name), name))]
    return arrays


def snake_case(kind: str) -> str:
    """The name of a class as Keras 3 turns it into a name of a layer."""
    name = re.sub(r"\W+", "", kind)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _checked(weights: Weights) -> Weights:
    """Floats as float32; none of them infinite."""
    faults: list[str] = []
    for path, arrays in weights.items():
        for at, array in enumerate(arrays):
            if array.dtype.kind == "f":
                with np.errstate(over="ignore"):
                    arrays[at] = array.astype(np.float32)
                if not np.isfinite(arrays[at]).all():
                    faults.append("/".join(path)[:200])
    if faults:
        raise ImportFailed(
            f"The weights of {len(faults)} arrays hold infinities or NaN: {sorted(set(faults))[:20]}. "
            "The file is damaged, or its training failed."
        )
    return weights
