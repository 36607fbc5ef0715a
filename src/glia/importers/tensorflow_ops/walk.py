"""The walk over a network's nodes, from what is wanted back to what it is computed from, into ONNX."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from glia.core.errors import ImportFailed
from glia.importers.faults import Faults, input_failed, unsupported
from glia.importers.graph import GraphWriter
from glia.importers.layout import Layout
from glia.importers.tensorflow_ops import entries
from glia.importers.tensorflow_ops.call import Call, Dead, Elements, Failed, Value
from glia.importers.tensorflow_ops.entries import Entry
from glia.importers.tensorflow_ops.functions import Body, Function
from glia.importers.tensorflow_ops.loops import ENTERS, EXITS, MAX_STEPS, NEXTS, Frame
from glia.importers.tensorflow_ops.nodes import STRING, Node, Source
from glia.importers.tensorflow_ops.numbers import Array, decode, finite
from glia.importers.tensorflow_ops.rules import RULES

MAX_WRITTEN = 60_000
MAX_DEPTH = 8
MAX_COMPUTED = 1 << 27
"""Elements of constants that are computed, all together."""
CALLS = {"PartitionedCall", "StatefulPartitionedCall"}
BRANCHES = {"If", "StatelessIf"}
WHILES = {"While", "StatelessWhile"}
_SILENT = {"Const", "Identity", "Placeholder", "PlaceholderWithDefault", "StopGradient", "Enter", "Exit"}
_FIRST_ONLY = {"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3", "_FusedBatchNormEx", "MaxPoolWithArgmax"}
"""Operators of whose outputs the first is the one that is meant."""


@dataclass(frozen=True)
class Signature:
    """What a file says its network takes and gives: tensors' names."""

    inputs: Sequence[str] = ()
    outputs: Sequence[str] = ()


@dataclass(frozen=True)
class Network:
    """A network and what its file says of it."""

    nodes: Mapping[str, Node]
    file: str
    values: Mapping[str, Array] = field(default_factory=dict)
    """The arrays of constants that lie beside the nodes, by node."""
    signature: Signature = Signature()
    known: Mapping[str, Any] = field(default_factory=dict)
    functions: Mapping[str, Function] = field(default_factory=dict)


class Scope:
    """The values of nodes: those of the network, of one call of a function, or of one step of a loop."""

    def __init__(self, body: Body, around: Scope | None = None, prefix: str = "", rows: bool = True) -> None:
        self.body = body
        self.values: dict[str, tuple[Value, ...]] = {}
        self.depth: int = 0 if around is None else around.depth + 1
        self.prefix = prefix
        """Of the names of its nodes: the calls that led here."""
        self.rows = rows
        """Whether its nodes are rows of the table of layers; the steps of a loop are not."""
        if self.depth > MAX_DEPTH:
            raise ImportFailed(f"loops and calls more than {MAX_DEPTH} deep are not supported")

    def find(self, name: str) -> tuple[Value, ...] | None:
        """The outputs of a node that is written in this scope; None where it is not."""
        return self.values.get(name)


class Walk:
    """Writes the nodes that are demanded, each once (in a loop: once a step), after what they read."""

    def __init__(self, network: Network, begins: Sequence[Entry], reserved: Iterable[str]) -> None:
        """`reserved`: names that belong to outputs."""
        self.network = network
        self.graph = GraphWriter(PurePosixPath(network.file).stem)
        self.layout = Layout(self.graph)
        self.faults = Faults(network.file)
        self.notes: list[str] = []
        self.begins: dict[Source, str] = {}
        self.top = Scope(Body.of(network.nodes))
        self._written = self._computed = 0
        self._constants: dict[tuple[int, str], str] = {}
        """The handles of constants, by the body they lie in and their name."""
        self._reserved = {*reserved, *(entry.name for entry in begins)}
        for entry in begins:
            assert entry.shape is not None
            shape = [size if size is not None else f"{entry.name}_{axis}" for axis, size in enumerate(entry.shape)]
            self.begins[entry.source] = self.graph.input(entry.name, shape, entry.dtype)
        for entry in begins:
            outputs = max(index for name, index in self.begins if name == entry.source[0]) + 1
            known = [self.begins.get((entry.source[0], index), Dead()) for index in range(outputs)]
            self.top.values[entry.source[0]] = tuple(known)

    def demand(self, targets: Sequence[Source], scope: Scope | None = None) -> list[Value]:
        """The values of tensors; what they are computed from is written first. Raises ImportFailed for circles."""
        scope = scope or self.top
        line = [name for name, _ in reversed(targets)]
        under_way: set[str] = set()
        while line:
            name = line[-1]
            if scope.find(name) is not None:
                line.pop()
                continue
            missing = [read for read in self._reads(name, scope) if scope.find(read) is None]
            if not missing:
                scope.values[name] = self._write(name, scope)
                under_way.discard(name)
                continue
            if name in under_way or not under_way.isdisjoint(missing):
                raise ImportFailed(
                    f"{self.network.file}: {name[:200]!r} is computed from itself: a loop of a form that is not known."
                )
            under_way.add(name)
            line.extend(missing)
        return [self._pick(target, scope) for target in targets]

    def all_outputs(self, end: Source) -> list[tuple[Source, Value]]:
        """Every output of a node that nobody reads, or the one that is meant."""
        values = self.top.values[end[0]]
        if self.network.nodes[end[0]].op in _FIRST_ONLY:
            values = values[:1]
        return [((end[0], index), value) for index, value in enumerate(values) if not isinstance(value, Dead)]

    def _reads(self, name: str, scope: Scope) -> list[str]:
        """The nodes that must be written before."""
        node, frames = scope.body.nodes.get(name), scope.body.frames
        if node is None:
            raise ImportFailed(f"{self.network.file}: a node reads {name[:200]!r}, which the file does not hold.")
        if name in frames.of_exit:
            return [enter.inputs[0][0] for enter in frames.of_exit[name].enters]
        return [read for read, _ in node.inputs]

    def _pick(self, target: Source, scope: Scope) -> Value:
        values = scope.find(target[0])
        assert values is not None
        if len(values) == 1 and isinstance(values[0], Failed):
            return values[0]
        if target[1] >= len(values):
            raise ImportFailed(f"{entries.shown(target)!r} is read, and its node gives {len(values)} tensors.")
        return values[target[1]]

    # -- one node ------------------------------------------------------------------------------------------------------

    def _write(self, name: str, scope: Scope) -> tuple[Value, ...]:
        """The outputs of a node, now that its inputs are there."""
        node, frames = scope.body.nodes[name], scope.body.frames
        self._written += 1
        if self._written > MAX_WRITTEN:
            raise ImportFailed(f"{self.network.file}: more than {MAX_WRITTEN} operators, its loops unrolled.")
        if name in frames.of_exit:
            return self._loop(name, scope)
        with self.faults.of(scope.prefix + name, node.op):
            values = [self._pick(read, scope) for read in node.inputs]
            if any(isinstance(value, Failed) for value in values):
                raise input_failed("its input failed")
            if any(isinstance(value, Dead) for value in values) and node.op not in ("Merge", "RefMerge"):
                return (Dead(),) * 8
            if name in frames.of_switch:
                return (values[0], values[0])
            if node.op in NEXTS | ENTERS | EXITS:
                raise ImportFailed("a loop of a form that is not known")
            if node.op in ("Const", "Placeholder", "PlaceholderV2", "PlaceholderWithDefault"):
                return (self._source(node, values, scope),)
            if node.op in CALLS or node.op in self.network.functions:
                key = "f" if node.op in CALLS else ""
                return self._function(node, key, values, scope, scope.rows)
            if not scope.rows or node.op in _SILENT:  # a loop's steps would fill the table
                return self._called(node, values, scope)
            with self.graph.layer(scope.prefix + name, node.op):
                return self._called(node, values, scope)
        return (Failed(),)

    def _called(self, node: Node, values: Sequence[Value], scope: Scope) -> tuple[Value, ...]:
        if node.op in BRANCHES:
            taken = self._truth(values[0] if values else Dead(), "the branch that is taken")
            return self._function(node, "then_branch" if taken else "else_branch", values[1:], scope, False)
        if node.op in WHILES:
            return self._while(node, values, scope)
        rule = RULES.get(node.op)
        if rule is None:
            raise unsupported("the operator")
        name = scope.prefix + node.name
        hint = f"{name}/{node.op}" if name in self._reserved else name
        try:
            given = rule(Call(node, values, self.graph, self.layout, hint, self.notes))
        except (ValueError, IndexError, KeyError, TypeError, OverflowError, ZeroDivisionError, MemoryError) as error:
            raise ImportFailed(
                f"its inputs or attributes do not fit ({str(error)[:200]}); the file is damaged"
            ) from None
        outputs = (given,) if isinstance(given, str | Elements | Dead | Failed) else tuple(given)
        self._count([output for output in outputs if output not in values])
        return outputs

    def _count(self, outputs: Sequence[Value]) -> None:
        """Raise ImportFailed where the constants that were computed grow beyond measure."""
        for output in outputs:
            value = self.layout.value(output) if isinstance(output, str) else None
            self._computed += value.size if value is not None else 0
        if self._computed > MAX_COMPUTED:
            raise ImportFailed(f"more than {MAX_COMPUTED} numbers are computed from constants")

    def _source(self, node: Node, values: Sequence[Value], scope: Scope) -> Value:
        """A constant, or a placeholder that is a setting with a default."""
        if node.op == "Const":
            key = (id(scope.body), node.name)  # inside a loop it is still one
            if key not in self._constants:
                self._constants[key] = self._constant(node, scope)
            return self._constants[key]
        if node.op == "PlaceholderWithDefault" and values:
            self.notes.append(f"The setting {node.name!r} has its default.")
            return values[0]
        if entries.is_setting(node):
            self.notes.append(f"The setting {node.name!r} is false: a network that answers does not train.")
            return self.graph.constant(f"{node.name}/false", np.array(False))
        if node.attributes.get("dtype") == STRING:
            raise ImportFailed("an input that is text is not supported; name the tensor behind it: the option `inputs`")
        raise ImportFailed("it is needed and was cut off; name it, or what is computed from it, among the `inputs`")

    def _constant(self, node: Node, scope: Scope) -> str:
        name = scope.prefix + node.name
        hint = f"{name}/Const" if name in self._reserved else name
        if hasattr(node.attributes.get("value"), "tensor_shape"):
            return self.graph.constant(hint, decode(node.attributes["value"]))
        if node.name not in self.network.values:
            raise ImportFailed("the numbers of a constant are missing; the file is damaged, or it is not frozen")
        value = self.network.values[node.name]
        return self.graph.constant(hint, finite(value.astype(np.float32) if value.dtype.kind == "f" else value))

    # -- functions -----------------------------------------------------------------------------------------------------

    def _function(self, node: Node, key: str, values: Sequence[Value], scope: Scope, rows: bool) -> tuple[Value, ...]:
        """What a function gives for these arguments; `key`: the attribute that names it, empty where the operator does.

        Raises ImportFailed where there is no such function.
        """
        name = node.attributes.get(key) if key else node.op
        function = self.network.functions.get(name) if isinstance(name, str) else None
        if function is None or len(function.arguments) != len(values):
            raise ImportFailed(
                f"it calls {str(name)[:200]!r} with {len(values)} inputs, for which there is no function"
            )
        inner = Scope(function.body, scope, f"{scope.prefix}{node.name}/", rows)
        inner.values.update({argument: (value,) for argument, value in zip(function.arguments, values, strict=True)})
        given = tuple(self.demand(function.returns, inner))
        if any(isinstance(value, Failed) for value in given):
            raise input_failed("its body failed")
        return given

    def _while(self, node: Node, values: Sequence[Value], scope: Scope) -> tuple[Value, ...]:
        """A loop whose condition and body are functions."""
        state = tuple(values)
        for _ in range(MAX_STEPS):
            (condition, *_) = self._function(node, "cond", state, scope, False) or (Failed(),)
            if not self._truth(condition, _STEPS):
                return state
            state = self._function(node, "body", state, scope, False)
        raise ImportFailed(f"a loop of more than {MAX_STEPS} steps is not supported")

    def _truth(self, value: Value, what: str) -> bool:
        """A condition that is constant. Raises ImportFailed; `what` depends on it."""
        found = self.graph.value(self.layout.last(value)) if isinstance(value, str) else None
        if found is None or found.size != 1:
            raise ImportFailed(
                f"{what} depends on the input, only what is decided beforehand is supported: a loop of known length. "
                "Give the option `input_size`, with all sizes"
            )
        return bool(found.ravel()[0])

    # -- loops ---------------------------------------------------------------------------------------------------------

    def _loop(self, name: str, scope: Scope) -> tuple[Value, ...]:
        """All steps of the loop that an Exit ends; the values of all its Exits are set."""
        frame = scope.body.frames.of_exit[name]
        for exit_name in frame.exits:
            scope.values[exit_name] = (Failed(),)
        with self.faults.of(frame.name, "while_loop"), self.graph.layer(frame.name, "while_loop"):
            state = self._steps(frame, scope)
            for exit_name, merge in frame.exits.items():
                scope.values[exit_name] = (state[merge],)
        return scope.values[name]

    def _steps(self, frame: Frame, scope: Scope) -> dict[str, Value]:
        """The variables after the last step, by their Merge."""
        if frame.condition is None:
            raise ImportFailed("a loop of a form that is not known")
        fixed = {enter.name: (self._pick(enter.inputs[0], scope),) for enter in frame.enters}
        if any(isinstance(value[0], Failed) for value in fixed.values()):
            raise input_failed("its input failed")
        state = {merge: fixed[enter][0] for merge, (enter, _) in frame.variables.items()}
        for _ in range(MAX_STEPS):
            step = Scope(scope.body, scope, scope.prefix, rows=False)
            step.values.update(fixed)
            step.values.update({merge: (value,) for merge, value in state.items()})
            (condition,) = self.demand([frame.condition], step)
            if isinstance(condition, Failed):
                raise input_failed("its condition failed")
            if not self._truth(condition, _STEPS):
                return state
            following = self.demand([last for _, last in frame.variables.values()], step)
            if any(isinstance(value, Failed) for value in following):
                raise input_failed("its body failed")
            state = dict(zip(frame.variables, following, strict=True))
        raise ImportFailed(f"a loop of more than {MAX_STEPS} steps is not supported")


_STEPS = "the number of steps of the loop"
