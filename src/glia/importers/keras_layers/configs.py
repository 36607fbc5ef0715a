"""The JSON that describes a Keras model, whichever version wrote it, as one kind of network.

    Keras 1     Sequential: a list of layers; Model: layers with `inbound_nodes`
    Keras 2     the same, or {"name", "layers"}; calls as [[layer, node, tensor, keywords?], ...]
    Keras 3     calls as {"args": [...], "kwargs": {...}} with `__keras_tensor__` as leaves

A network is a set of layers, and each layer a list of calls: a layer that is shared is called several times.

Source: keras/engine/topology.py of Keras 1.2.2 and 2.0.6, keras/src/models/functional.py of Keras 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from glia.core.errors import ImportFailed
from glia.importers.keras_layers.dialect import normalise

MAX_LAYERS = 20_000
MAX_DEPTH = 24
NETWORKS = {"Model", "Functional", "Sequential", "Container"}
WRAPPERS = {"TimeDistributed", "Bidirectional"}

Config = Mapping[str, Any]


@dataclass(frozen=True)
class Ref:
    """The `tensor`th output of the `node`th call of a layer."""

    layer: str
    node: int
    tensor: int


@dataclass(frozen=True)
class Word:
    """Text that a call is given: never the name of a tensor."""

    text: str


@dataclass(frozen=True)
class Call:
    """What a layer is called with: references, or constants."""

    inputs: tuple[Any, ...]
    keywords: Config = field(default_factory=dict)


@dataclass(frozen=True)
class Spec:
    """A layer: its settings, its calls, and what it holds inside."""

    name: str
    kind: str
    config: Config
    calls: tuple[Call, ...] = ()
    inner: Network | None = None
    """Of a model in a model."""
    wrapped: tuple[Spec, ...] = ()
    """Of TimeDistributed, Bidirectional."""
    module: str = ""
    """Where Keras 3 says that its class is: tells an operation `Add` from the layer."""


@dataclass(frozen=True)
class Network:
    """Layers by name in their order, and which tensors go in and come out."""

    name: str
    layers: Mapping[str, Spec]
    inputs: tuple[Ref, ...]
    outputs: tuple[Ref, ...]
    sequential: bool = False
    trainable: bool = True


def read_network(value: object, depth: int = 0) -> Network:
    """The network that a model's JSON describes. Raises ImportFailed."""
    model = _object(value, "a model")
    kind = model.get("class_name")
    if kind is None and "layers" in model:  # the bare config of a functional model
        kind, model = "Model", {"config": model}
    if not isinstance(kind, str) or kind not in NETWORKS:
        raise ImportFailed(
            f"Expected a Sequential or functional model, received the class {str(kind)[:100]!r}. Its code is not in "
            "the file: rebuild it from Keras' own layers and save it again."
        )
    if depth > MAX_DEPTH:
        raise ImportFailed(f"Models lie in models more than {MAX_DEPTH} deep. The file is damaged.")
    config = model.get("config")
    if isinstance(config, list) or kind == "Sequential":
        return _sequential(config, model, depth)
    return _functional(_object(config, "the config of a model"), depth)


def read_layer(value: object, depth: int = 0) -> Spec:
    """One layer, without its calls."""
    entry = _object(value, "a layer")
    if depth > MAX_DEPTH:
        raise ImportFailed(f"Layers lie in layers more than {MAX_DEPTH} deep. The file is damaged.")
    kind, config = entry.get("class_name"), entry.get("config", {})
    if not isinstance(kind, str):
        raise ImportFailed(f"Expected the class of a layer, received {str(kind)[:100]!r}. The file is damaged.")
    inner: Network | None = None
    wrapped: tuple[Spec, ...] = ()
    if kind in NETWORKS:
        inner = read_network(entry, depth + 1)
        name = entry.get("name") or inner.name
        return Spec(_name(name, kind), kind, {}, (), inner)
    kind, config = normalise(kind, _object(config, f"the config of {kind[:100]}"))
    if kind in WRAPPERS:
        wrapped = tuple(
            read_layer(config[key], depth + 1) for key in ("layer", "backward_layer") if config.get(key) is not None
        )
        if not wrapped:
            raise ImportFailed(f"A layer {kind} wraps nothing. The file is damaged.")
    name = entry.get("name") or config.get("name")
    module = entry.get("module") or ""
    return Spec(_name(name, kind), kind, config, (), inner, wrapped, str(module))


def _sequential(config: object, model: Config, depth: int) -> Network:
    """A chain, whose input is made where the first layer is none."""
    named = config if isinstance(config, dict) else {}
    entries = _list(named.get("layers") if named else config, "the layers of a Sequential model")
    if not entries or len(entries) > MAX_LAYERS:
        raise ImportFailed(f"A Sequential model has {len(entries)} layers, expected 1 to {MAX_LAYERS}.")
    name = str(named.get("name") or model.get("name") or "sequential")
    specs = [read_layer(entry, depth) for entry in entries]
    found: dict[str, Spec] = {}
    first = specs[0]
    if first.kind == "Merge" and isinstance(first.config.get("layers"), list):
        last, inputs = _merge_first(first, found, depth)
        specs = specs[1:]
    else:
        if first.kind != "InputLayer":
            shape = _shape_of(first, named, model)
            start = Spec(f"{first.name}_input", "InputLayer", {"batch_input_shape": shape, "dtype": _dtype_of(first)})
            specs.insert(0, start)
        last, inputs = None, ()
    for spec in specs:
        calls = (Call((Ref(last, 0, 0),)),) if last is not None else (Call(()),)
        found[_fresh(spec.name, found)] = replace(spec, calls=calls)
        inputs = inputs or (Ref(spec.name, 0, 0),)
        last = spec.name
    assert last is not None
    return Network(name, found, inputs, (Ref(last, 0, 0),), True, named.get("trainable", True) is not False)


def _merge_first(merge: Spec, found: dict[str, Spec], depth: int) -> tuple[str, tuple[Ref, ...]]:
    """Keras 1: a Sequential model that begins where others meet. Their layers join the chain's."""
    inputs: list[Ref] = []
    ends: list[Ref] = []
    for entry in merge.config["layers"]:
        branch = read_network(entry, depth + 1)
        for spec in branch.layers.values():
            if spec.name in found:
                raise ImportFailed(f"Two branches of {merge.name} hold a layer {spec.name}: sharing is not read here.")
            found[spec.name] = spec
        inputs += branch.inputs
        ends += branch.outputs
    found[merge.name] = Spec(merge.name, merge.kind, merge.config, (Call(tuple(ends)),))
    return merge.name, tuple(inputs)


def _shape_of(first: Spec, named: Config, model: Config) -> object:
    """The shape with batch axis that a chain without input layer begins with, from wherever a version keeps it."""
    inside = first
    while inside.inner is not None and inside.inner.layers:  # a model as first layer: its own input
        inside = next(iter(inside.inner.layers.values()))
    config = inside.config
    build = model.get("build_config")
    for shape in (
        config.get("batch_input_shape"),
        config.get("batch_shape"),
        named.get("build_input_shape"),
        build.get("input_shape") if isinstance(build, dict) else None,
    ):
        if isinstance(shape, list):
            return shape
    if isinstance(config.get("input_shape"), list):
        return [None, *config["input_shape"]]
    size, length = config.get("input_dim"), config.get("input_length")
    if first.kind == "Embedding":
        return [None, length]
    if isinstance(size, int):
        recurrent = first.kind in {"LSTM", "GRU", "SimpleRNN", "Conv1D"}
        return [None, length, size] if recurrent else [None, size]
    return None


def _dtype_of(first: Spec) -> object:
    return first.config.get("input_dtype") or first.config.get("dtype")


def _functional(config: Config, depth: int) -> Network:
    entries = _list(config.get("layers"), "the layers of a model")
    if not entries or len(entries) > MAX_LAYERS:
        raise ImportFailed(f"A model has {len(entries)} layers, expected 1 to {MAX_LAYERS}.")
    found: dict[str, Spec] = {}
    for entry in entries:
        spec = read_layer(entry, depth)
        nodes = _list(entry.get("inbound_nodes", []), f"the calls of {spec.name}")
        calls = tuple(_call(node) for node in nodes) or (Call(()),)
        if spec.name in found:
            raise ImportFailed(f"Two layers are called {spec.name}. The file is damaged.")
        found[spec.name] = replace(spec, calls=calls)
    inputs, outputs = (tuple(refs(config.get(key))) for key in ("input_layers", "output_layers"))
    outputs = tuple(_output_of(ref, found, entries) for ref in outputs)
    if late := _first_calls(found, outputs, entries):
        outputs = _moved(outputs, late)
        for name, spec in found.items():
            calls = tuple(Call(_moved(call.inputs, late), _moved(call.keywords, late)) for call in spec.calls)
            found[name] = replace(spec, calls=calls)
    if not inputs or not outputs:
        raise ImportFailed("A model names no inputs or no outputs. The file is damaged.")
    trainable = config.get("trainable", True) is not False
    return Network(str(config.get("name") or "model"), found, inputs, outputs, False, trainable)


def _first_calls(found: Mapping[str, Spec], outputs: tuple[Ref, ...], entries: list[Any]) -> set[str]:
    """Models whose calls are counted from 1: tf.keras counts the making of a model as its call 0."""
    numbers: dict[str, set[int]] = {}
    for ref in (*outputs, *(ref for spec in found.values() for call in spec.calls for ref in _refs_of(call))):
        numbers.setdefault(ref.layer, set()).add(ref.node)
    return {
        name
        for name, spec in found.items()
        if spec.inner is not None and name in numbers and min(numbers[name]) == 1
        and max(numbers[name]) == len(spec.calls) and not _is_new(entries)
    }  # fmt: skip


def _is_new(entries: list[Any]) -> bool:
    """Whether calls are written as Keras 3 does."""
    return any(isinstance(node, dict) for entry in entries for node in entry.get("inbound_nodes", []))


def _refs_of(call: Call) -> Iterator[Ref]:
    waiting: list[Any] = [*call.inputs, *call.keywords.values()]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Ref):
            yield value
        elif isinstance(value, list):
            waiting += value


def _moved(value: Any, late: set[str]) -> Any:
    """References with calls counted from 0."""
    if isinstance(value, Ref):
        return Ref(value.layer, value.node - 1, value.tensor) if value.layer in late else value
    if isinstance(value, list | tuple):
        return type(value)(_moved(entry, late) for entry in value)
    if isinstance(value, dict):
        return {key: _moved(entry, late) for key, entry in value.items()}
    return value


def _output_of(ref: Ref, found: Mapping[str, Spec], entries: list[Any]) -> Ref:
    """Keras 3 counts the making of a model as its first call where it names outputs, and nowhere else."""
    spec = found.get(ref.layer)
    if spec is None or spec.inner is None or ref.node < 1 or not _is_new(entries):
        return ref
    if spec.inner.sequential and ref.node < len(spec.calls):
        return ref
    return Ref(ref.layer, ref.node - 1, ref.tensor)


def _call(node: object) -> Call:
    """A call in the words of any version."""
    if isinstance(node, dict):  # Keras 3
        args = _list(node.get("args", []), "the arguments of a call")
        keywords = _object(node.get("kwargs", {}), "the keywords of a call")
        return Call(tuple(_leaves(args)), {key: _leaf(value) for key, value in keywords.items()})
    entries = _list(node, "a call")
    if entries and isinstance(entries[0], str):  # tf.keras: a single tensor without the list around it
        entries = [entries]
    inputs: list[Any] = []
    keywords = {}
    for entry in entries:
        parts = _list(entry, "an input of a call")
        if len(parts) < 3:
            raise ImportFailed(f"Expected layer, node and tensor of an input, received {str(parts)[:200]}.")
        if parts[0] == "_CONSTANT_VALUE":
            inputs.append(_leaf(parts[2]))
        else:
            inputs.append(_ref(parts))
        if len(parts) > 3 and isinstance(parts[3], dict):
            keywords |= {key: _leaf(value) for key, value in parts[3].items()}
    return Call(tuple(inputs), keywords)


def _leaf(value: Any, depth: int = 0) -> Any:
    """A keyword's value with the tensors in it as references."""
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        return _ref(_object(value.get("config"), "a tensor").get("keras_history"))
    if _is_ref(value):
        return _ref(value)
    if isinstance(value, str):
        return Word(value)
    if isinstance(value, list) and depth < MAX_DEPTH:
        return [_leaf(entry, depth + 1) for entry in value]
    return value


def _leaves(args: list[Any], depth: int = 0) -> Iterator[Any]:
    """The arguments of a call of Keras 3; lists of tensors are laid open."""
    for value in args:
        leaf = _leaf(value)
        if isinstance(leaf, list) and any(isinstance(entry, Ref) for entry in leaf):
            yield from leaf
        else:
            yield leaf


def refs(value: object, depth: int = 0) -> Iterator[Ref]:
    """Every reference in a list, a nest of lists or a dict of them."""
    if _is_ref(value):
        yield _ref(value)
    elif isinstance(value, list | dict) and depth < MAX_DEPTH:
        for entry in value.values() if isinstance(value, dict) else value:
            yield from refs(entry, depth + 1)


def _is_ref(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and isinstance(value[0], str)
        and all(isinstance(entry, int) and not isinstance(entry, bool) for entry in value[1:])
    )


def _ref(value: object) -> Ref:
    parts = value if isinstance(value, list) else []
    if len(parts) < 3 or not _is_ref(parts[:3]):
        raise ImportFailed(f"Expected layer, node and tensor of an input, received {str(value)[:200]}.")
    return Ref(parts[0], parts[1], parts[2])


def _fresh(name: str, taken: Mapping[str, Spec]) -> str:
    if name in taken:
        raise ImportFailed(f"Two layers are called {name}. The file is damaged.")
    return name


def _name(value: object, kind: str) -> str:
    if not isinstance(value, str) or not value or len(value) > 500:
        raise ImportFailed(f"Expected a name of a layer {kind[:100]}, received {str(value)[:100]!r}.")
    return value


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ImportFailed(f"Expected an object as {what}, received {str(value)[:200]}. The file is damaged.")
    return value


def _list(value: object, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise ImportFailed(f"Expected a list as {what}, received {str(value)[:200]}. The file is damaged.")
    return value
