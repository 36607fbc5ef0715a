"""The walk: calls of layers in the order in which their inputs come to be, each through its rule into the graph."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from glia.core.errors import ImportFailed
from glia.importers.faults import Faults, input_failed, unsupported
from glia.importers.graph import GraphWriter
from glia.importers.importer import ImportedGraph
from glia.importers.keras_layers import (
    activations,
    attention,
    conv_recurrent,
    convolution,
    core,
    merging,
    normalization,
    pooling,
    recurrent,
)
from glia.importers.keras_layers.configs import Call, Network, Ref, Spec
from glia.importers.keras_layers.options import cut, input_size
from glia.importers.keras_layers.scope import Applied, Rule, Scope
from glia.importers.keras_layers.stored import Path, Weights
from glia.importers.layout import Layout

RULES: Mapping[str, Rule] = {
    **activations.RULES,
    **attention.RULES,
    **conv_recurrent.RULES,
    **convolution.RULES,
    **core.RULES,
    **merging.RULES,
    **normalization.RULES,
    **pooling.RULES,
    **recurrent.RULES,
}
MASK_PASSES = {
    "Activation", "Dropout", "SpatialDropout1D", "GaussianNoise", "GaussianDropout", "AlphaDropout", "Dense",
    "TimeDistributed", "LeakyReLU", "ReLU", "ELU", "PReLU", "ThresholdedReLU", "Softmax", "ActivityRegularization",
    "LayerNormalization", "BatchNormalization", "UnitNormalization", "Rescaling", "Embedding",
}  # fmt: skip
JOINS = {"Add", "Multiply", "Average", "Maximum", "Minimum", "Subtract", "Concatenate", "Merge"}
ANY_STEPS = {"Dense", "Activation", "Dropout", "LeakyReLU", "ReLU", "ELU", "GaussianNoise", "GaussianDropout"}
"""Layers that treat each step of a sequence by itself anyway."""
DTYPES = {"int32": np.int32, "int64": np.int64, "uint8": np.uint8, "bool": np.bool_}
MAX_CALLS = 50_000
OPEN = {3: ("t",), 4: ("h", "w"), 5: ("d", "h", "w")}


class Walk:
    """Writes a network and the networks in it."""

    def __init__(self, scope: Scope, weights: Weights, faults: Faults) -> None:
        self.scope = scope
        self.weights = weights
        self.faults = faults
        self.calls = 0

    def network(self, network: Network, given: Sequence[str], path: Path) -> list[str]:
        """The outputs of a network for handles as inputs."""
        values: dict[tuple[str, int], list[str]] = {}
        inputs = {ref.layer: handle for ref, handle in zip(network.inputs, given, strict=True)}
        needed = needed_calls(network)
        for name, number, call in order(network):
            if (name, number) not in needed:
                continue
            self.calls += 1
            if self.calls > MAX_CALLS:
                raise ImportFailed(f"The network calls layers more than {MAX_CALLS} times. The file is damaged.")
            spec = network.layers[name]
            if name in inputs and spec.kind == "InputLayer":
                values[name, number] = [inputs[name]]
                continue
            label = "/".join((*path, name))
            if spec.inner is not None:
                with self.faults.of(label, spec.kind):
                    handles = [_tensor(self._value(values, ref)) for ref in _inputs_of(call)]
                    values[name, number] = self.model(spec.inner, handles, (*path, name))
                continue
            graph = self.scope.graph
            with self.faults.of(label, spec.kind), graph.layer(label, spec.kind):
                applied = self._applied(spec, call, values, (*path, name), label)
                values[name, number] = self.layer(applied)
                self._pass_mask(applied, values[name, number])
        return [_tensor(self._value(values, ref)) for ref in network.outputs]

    def model(self, network: Network, handles: list[str], path: Path) -> list[str]:
        """A model that is called like a layer."""
        if len(handles) != len(network.inputs):
            raise ImportFailed(f"the model has {len(network.inputs)} inputs, it is given {len(handles)}")
        return self.network(network, handles, path)

    def layer(self, applied: Applied) -> list[str]:
        """The outputs of a layer."""
        spec = applied.spec
        if spec.kind == "TimeDistributed":
            return [self._each_step(applied)]
        rule = None
        if ".ops" in spec.module or (spec.kind in merging.OPERATIONS and spec.kind not in RULES):
            rule = merging.OPERATIONS.get(spec.kind)
        elif spec.kind in RULES:
            rule = RULES[spec.kind]
        if rule is None:
            raise unsupported(f"the layer {spec.kind[:100]!r}{_why(spec.kind)}")
        got = rule(applied)
        return got if isinstance(got, list) else [got]

    def _applied(
        self, spec: Spec, call: Call, values: Mapping[tuple[str, int], list[str]], path: Path, label: str
    ) -> Applied:
        def known(value: Any) -> Any:
            if isinstance(value, Ref):
                return self._value(values, value)
            return [known(entry) for entry in value] if isinstance(value, list) else value

        inputs = [known(value) for value in call.inputs]
        keywords = {key: known(value) for key, value in call.keywords.items()}
        mask = keywords.pop("mask", None)
        if isinstance(mask, str) and inputs and isinstance(inputs[0], str):
            self.scope.masks[inputs[0]] = self.scope.layout.last(mask)
        elif mask is not None:
            raise unsupported("several masks")
        return Applied(self.scope, label, spec, inputs, self.weights.get(path, []), keywords)

    def _value(self, values: Mapping[tuple[str, int], list[str]], ref: Any) -> Any:
        if not isinstance(ref, Ref):
            return ref
        found = values.get((ref.layer, ref.node))
        if found is None:
            raise input_failed(f"the output of {ref.layer} is missing")
        if not 0 <= ref.tensor < len(found):
            raise ImportFailed(f"it takes output {ref.tensor} of {ref.layer}, which has {len(found)}")
        return found[ref.tensor]

    def _pass_mask(self, applied: Applied, outputs: list[str]) -> None:
        """Hand on which steps count, where a layer does."""
        masks = self.scope.masks
        kind = applied.spec.kind
        handles = [value for value in applied.inputs if isinstance(value, str)]
        if kind in MASK_PASSES and handles and handles[0] in masks:
            masks.setdefault(outputs[0], masks[handles[0]])
        elif kind in JOINS and all(handle in masks for handle in handles) and handles:
            if len({masks[handle] for handle in handles}) > 1:
                raise unsupported("joining sequences of which different steps count")
            masks.setdefault(outputs[0], masks[handles[0]])

    def _each_step(self, applied: Applied) -> str:
        """A layer or a model on every step of a sequence: steps become samples, and sequences again."""
        scope, graph = self.scope, self.scope.graph
        inner = applied.spec.wrapped[0]
        path = tuple(applied.name.split("/"))
        if inner.kind in ANY_STEPS and applied.rank() == 3 and inner.inner is None:
            return self.layer(replace(applied, spec=inner))[0]
        x = applied.plain()
        shape = graph.shape(x)
        sizes = graph.known_shape(x, range(2, len(shape)))
        steps = graph.reshape(x, [-1, *sizes])
        if inner.inner is not None:
            (y,) = self.model(inner.inner, [steps], path)
        else:
            (y,) = self.layer(replace(applied, spec=inner, inputs=[steps]))
        y = scope.layout.last(y)
        after = graph.known_shape(y, range(1, graph.rank(y)))
        if isinstance(shape[1], int):
            return graph.reshape(y, [-1, shape[1], *after], applied.hint)
        start = graph.node("Slice", [graph.node("Shape", [x]), graph.ints("from", [0]), graph.ints("to", [2])])
        whole = graph.node("Concat", [start, graph.ints("sizes", list(after))], axis=0)
        return graph.node("Reshape", [y, whole], applied.hint)


def _why(kind: str) -> str:
    if kind == "Lambda":
        return " holds program code, which is not run: it"
    if kind in RULES:
        return ""
    return ", which is none of Keras' own or has no rule yet,"


def _tensor(value: Any) -> str:
    if not isinstance(value, str):
        raise ImportFailed(f"expected a tensor, received {str(value)[:100]}")
    return value


def _inputs_of(call: Call) -> list[Any]:
    return list(call.inputs) or [value for value in call.keywords.values() if isinstance(value, Ref)]


def order(network: Network) -> Iterator[tuple[str, int, Call]]:
    """All calls, each after those that it needs. Raises ImportFailed where some need each other."""
    waiting: dict[tuple[str, int], int] = {}
    needed_by: dict[tuple[str, int], list[tuple[str, int]]] = {}
    for name, spec in network.layers.items():
        for number, call in enumerate(spec.calls):
            needs = {(ref.layer, ref.node) for ref in _all_refs((*call.inputs, *call.keywords.values()))}
            for need in needs:
                if need[0] not in network.layers or not 0 <= need[1] < len(network.layers[need[0]].calls):
                    raise ImportFailed(f"{name[:200]} takes call {need[1]} of {need[0][:200]!r}, which is not there.")
                needed_by.setdefault(need, []).append((name, number))
            waiting[name, number] = len(needs)
    ready = deque(key for key, count in waiting.items() if not count)
    done = 0
    while ready:
        key = ready.popleft()
        done += 1
        yield key[0], key[1], network.layers[key[0]].calls[key[1]]
        for after in needed_by.get(key, ()):
            waiting[after] -= 1
            if not waiting[after]:
                ready.append(after)
    if done != len(waiting):
        raise ImportFailed(f"{len(waiting) - done} layers need each other's outputs. The file is damaged.")


def needed_calls(network: Network) -> set[tuple[str, int]]:
    """The calls that an output needs; what hangs beside them is left out."""
    waiting = [(ref.layer, ref.node) for ref in network.outputs]
    found: set[tuple[str, int]] = set()
    while waiting:
        key = waiting.pop()
        spec = network.layers.get(key[0])
        if key in found or spec is None or not 0 <= key[1] < len(spec.calls):
            continue
        found.add(key)
        call = spec.calls[key[1]]
        waiting += [(ref.layer, ref.node) for ref in _all_refs((*call.inputs, *call.keywords.values()))]
    return found


def _all_refs(values: Sequence[Any]) -> Iterator[Ref]:
    for value in values:
        if isinstance(value, Ref):
            yield value
        elif isinstance(value, list):
            yield from _all_refs(value)


# -- the whole ---------------------------------------------------------------------------------------------------------


def build(network: Network, weights: Weights, scope_of: Any, file: str, options: Mapping[str, Any]) -> ImportedGraph:
    """The graph of a network, with the options that all importers of Keras' layers share.

    `scope_of` makes the scope for a writer. Raises ImportFailed that tells all layers that cannot be written.
    """
    size, network = input_size(options), cut(network, options)
    if size is not None and len(network.inputs) > 1:
        raise ImportFailed(f"The option `input_size` is for networks of one input; this has {len(network.inputs)}.")
    graph = GraphWriter(file)
    scope: Scope = scope_of(graph, Layout(graph))
    faults = Faults(file)
    names = {ref.layer for ref in network.inputs}
    handles = []
    for ref in network.inputs:
        shape, kind = input_of(network, ref, size if len(names) == 1 else None)
        handles.append(graph.input(sanitised(ref.layer), shape, kind))
    given = [_as_float(graph, handle) for handle in handles]
    walk = Walk(scope, weights, faults)
    outputs: list[str] = []
    try:
        outputs = walk.network(network, given, ())
    except ImportFailed as error:
        faults.check()
        raise ImportFailed(f"{file}: {error.message}. The file is damaged.") from None
    faults.check()
    outputs = [scope.layout.last(handle) for handle in outputs]
    titles: list[str] = []
    for title, tensor in zip(_titles(network.outputs, handles), outputs, strict=True):
        known = graph.shape(tensor)
        graph.output(title, tensor, known if known and isinstance(known[0], int) else ["n", *known[1:]])
        titles.append(title)
    return _finished(graph, handles, titles, tuple(scope.notes))


def _titles(outputs: Sequence[Ref], taken: Sequence[str]) -> list[str]:
    """A name for each output: its layer's, with numbers where that tells too little."""
    found: list[str] = []
    several = len({ref.layer for ref in outputs}) < len(outputs)
    for ref in outputs:
        title = sanitised(f"{ref.layer}_{ref.node}_{ref.tensor}" if several else ref.layer)
        while title in {*taken, *found}:
            title += "_out"
        found.append(title)
    return found


def _finished(graph: GraphWriter, inputs: list[str], outputs: list[str], notes: tuple[str, ...]) -> ImportedGraph:
    model = graph.model()
    names = [value.name for value in model.graph.output]
    picture = len(inputs) == 1 and graph.rank(inputs[0]) == 4
    made = {"image": inputs[0]} if picture else {name: name for name in inputs}
    given = {"scores": names[0]} if picture and len(names) == 1 else {name: name for name in names}
    return ImportedGraph(model, made, given, notes, tuple(graph.layers))


def _as_float(graph: GraphWriter, handle: str) -> str:
    kind = graph.dtype(handle)
    if kind == np.uint8 or kind == np.bool_:
        return graph.node("Cast", [handle], f"{handle}_float", to=1)
    return handle


def input_of(network: Network, ref: Ref, size: Sequence[int | None] | None) -> tuple[list[int | str], Any]:
    """Shape and type of an input: the batch is open, and so is what the file leaves open. Raises ImportFailed."""
    spec = network.layers.get(ref.layer)
    if spec is None:
        raise ImportFailed(f"The input {ref.layer[:200]!r} is no layer of the network. The file is damaged.")
    shape = spec.config.get("batch_input_shape") or spec.config.get("batch_shape")
    if shape is None and isinstance(spec.config.get("shape"), list):
        shape = [None, *spec.config["shape"]]
    if shape is None and size is not None:
        shape = [None] * (len(size) + 1)
    if not isinstance(shape, list) or not 1 <= len(shape) <= 6:
        raise ImportFailed(
            f"The file does not say of what shape the input {ref.layer} is. Give the option `input_size`: its sizes "
            "without the batch, as [224, 224, 3]."
        )
    if size is not None and len(size) != len(shape) - 1:
        raise ImportFailed(f"The option `input_size` has {len(size)} sizes, the input {ref.layer} {len(shape) - 1}.")
    found: list[int | str] = ["n"]
    open_names = iter(OPEN.get(len(shape), ()))
    for axis, told in enumerate(shape[1:], 1):
        wanted = size[axis - 1] if size is not None else None
        if told is not None and (isinstance(told, bool) or not isinstance(told, int) or not 0 < told <= 1 << 24):
            raise ImportFailed(f"The input {ref.layer} has the shape {str(shape)[:100]}, which cannot be.")
        if told is not None and wanted not in (None, told):
            raise ImportFailed(f"The input {ref.layer} is fixed at {shape[1:]}, `input_size` says {list(size or ())}.")
        if told is None and wanted is None:
            name = next(open_names, f"axis{axis}")
            found.append(name if len(network.inputs) == 1 else f"{sanitised(ref.layer)}_{name}")
        else:
            found.append(told if told is not None else wanted or 1)
    kind = spec.config.get("input_dtype") or spec.config.get("dtype")
    return found, DTYPES.get(kind, np.float32) if isinstance(kind, str) else np.float32


def sanitised(name: str) -> str:
    """A name as ONNX takes it."""
    return re.sub(r"[^A-Za-z0-9_./:-]", "_", name)[:200] or "tensor"
