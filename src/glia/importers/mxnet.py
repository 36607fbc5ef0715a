"""MXNet: a graph in JSON, and its arrays.

Neither file says the size of the input, unless the graph was saved with it; so rows and columns stay open. What only
training needs (labels) is left out.
Source: https://github.com/apache/mxnet
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from glia.core.errors import ImportFailed
from glia.importers.faults import Faults, input_failed, unsupported
from glia.importers.graph import GraphWriter
from glia.importers.importer import ImportedGraph, read_limited, refuse_unknown
from glia.importers.labels import MAX_LABEL_BYTES, read_labels
from glia.importers.mxnet_ops import arrays, layers
from glia.importers.mxnet_ops.files import Arrays, Node, is_params, is_symbol, read_params, read_symbol
from glia.importers.mxnet_ops.rules import RULES, Build
from glia.importers.names import clean
from glia.importers.options import MAX_INPUT, read_names, read_size

assert all((arrays, layers))  # they register their rules
MAX_SYMBOL_BYTES = 32 << 20
MAX_PARAMS_BYTES = 4 << 30
HEAD_BYTES = 1 << 16
BATCH = "n"
WITH_LABELS = {"SoftmaxOutput", "Softmax", "SVMOutput", "LogisticRegressionOutput", "LinearRegressionOutput",
               "MAERegressionOutput", "MakeLoss", "make_loss"}  # fmt: skip
"""Operators whose inputs behind the first are only compared with."""
RAW_ENDS = {"_contrib_MultiBoxDetection", "MultiBoxDetection"}
"""Operators that are left out: what they read becomes the output."""


class MXNet:
    """Networks of MXNet; options: `input_size` [px], `input_shapes` (name to sizes), `outputs` (nodes)."""

    format = "mxnet"

    def sniff(self, head: bytes, size: int) -> bool:
        """The graph in JSON, or the list of arrays."""
        return is_symbol(head) or is_params(head)

    def read(self, files: Mapping[str, Path], options: Mapping[str, Any]) -> dict[str, ImportedGraph]:
        """The network of role `model`. Raises ImportFailed."""
        refuse_unknown(options, {"input_size", "input_shapes", "outputs"})
        size, wanted = read_size(options.get("input_size")), read_names(options.get("outputs"))
        shapes = _read_shapes(options.get("input_shapes"))
        symbol, params, labels = _sort(files)
        nodes, heads = read_symbol(read_limited(symbol, MAX_SYMBOL_BYTES), symbol.name)
        weights = read_params(read_limited(params, MAX_PARAMS_BYTES), params.name)
        return {"model": _Network(symbol.name, nodes, heads, weights, size, shapes).write(wanted, labels)}


def _read_shapes(value: object) -> dict[str, tuple[int, ...]]:
    """The option `input_shapes`. Raises ImportFailed."""
    found: dict[str, tuple[int, ...]] = {}
    if value is not None and not isinstance(value, dict):
        raise ImportFailed(f"Expected `input_shapes` as name to list of sizes, received {str(value)[:100]}.")
    for name, sizes in (value or {}).items():
        given = list(sizes) if isinstance(sizes, list | tuple) else []
        if not 0 < len(given) <= 8 or not all(isinstance(size, int) and 0 < size <= MAX_INPUT for size in given):
            raise ImportFailed(f"Expected the shape of {str(name)[:100]!r} as a list, received {str(sizes)[:100]}.")
        found[str(name)] = tuple(given)
    return found


def _sort(files: Mapping[str, Path]) -> tuple[Path, Path, dict[str, Any]]:
    """The graph, the arrays and the labels, by their content. Raises ImportFailed."""
    symbols, params, labels, strangers = [], [], dict[str, Any](), []
    for path in files.values():
        try:
            with path.open("rb") as file:
                head = file.read(HEAD_BYTES)
        except OSError as error:
            raise ImportFailed(f"{path.name} cannot be read: {error.strerror}. Check the path.") from None
        if is_symbol(head):
            symbols.append(path)
        elif is_params(head):
            params.append(path)
        elif path.stat().st_size <= MAX_LABEL_BYTES and (found := read_labels(read_limited(path, MAX_LABEL_BYTES))):
            labels = found
        else:
            strangers.append(path.name)
    if len(symbols) != 1 or len(params) != 1 or strangers:
        raise ImportFailed(
            f"Expected a graph (-symbol.json) and its arrays (.params), received {len(symbols)} of the first, "
            f"{len(params)} of the second, and {strangers[:20]}."
        )
    return symbols[0], params[0], labels


class _Network:
    """One import: nodes to tensors."""

    def __init__(
        self,
        file: str,
        nodes: Sequence[Node],
        heads: Sequence[tuple[int, int]],
        weights: Arrays,
        size: tuple[int, int] | None,
        shapes: Mapping[str, tuple[int, ...]],
    ) -> None:
        self._file, self._nodes, self._heads, self._weights = file, nodes, list(heads), weights
        self._size, self._shapes = size, shapes
        self._build = Build(GraphWriter("mxnet"))
        self._tensors: dict[tuple[int, int], str] = {}
        self._failed: set[int] = set()
        self._notes: list[str] = []
        self._known: dict[str, Any] = {}

    def write(self, wanted: Sequence[str], labels: Mapping[str, Any]) -> ImportedGraph:
        """The finished graph. Raises ImportFailed with all nodes that cannot be written."""
        self._choose(wanted)
        needed, faults = self._needed(), Faults(self._file)
        for at, node in enumerate(self._nodes):
            if at not in needed:
                continue
            with faults.of(node.name[:100], node.op[:100]):
                self._write(at, node)
                continue
            self._failed.add(at)
        faults.check()
        graph = self._build.graph
        for at, which in self._heads:
            if (at, which) not in self._tensors:
                raise ImportFailed(f"{self._file}: {self._nodes[at].name[:100]} has no output {which} that is kept.")
            graph.output(f"{clean(self._nodes[at].name, 'node')}_output{which or ''}", self._tensors[at, which])
        return self._finished(labels)

    def _choose(self, wanted: Sequence[str]) -> None:
        """The outputs that were asked for; those that stand before what is left out."""
        names = {node.name: at for at, node in enumerate(self._nodes)}
        if wanted:
            plain = [name if name in names else name.removesuffix("_output") for name in wanted]
            if unknown := [name for name in plain if name not in names]:
                raise ImportFailed(f"No node is called {unknown[0][:100]!r}; the last ones are {list(names)[-10:]}.")
            self._heads = [(names[name], 0) for name in plain]
        ends = []
        for at, which in self._heads:
            node = self._nodes[at]
            if node.op in RAW_ENDS:
                ends += node.inputs
                self._notes.append(f"{node.op} {node.name[:100]!r} is left out: boxes are not computed in the graph.")
            elif node.op == "Group":
                ends += node.inputs
            else:
                ends.append((at, which))
        self._heads = list(dict.fromkeys(ends))

    def _needed(self) -> set[int]:
        """Nodes that an output is made from; labels are not."""
        found, stack = set[int](), [at for at, _ in self._heads]
        while stack:
            at = stack.pop()
            if at in found:
                continue
            found.add(at)
            node = self._nodes[at]
            links = node.inputs[:1] if node.op in WITH_LABELS else node.inputs
            stack += [link for link, _ in links]
        return found

    def _write(self, at: int, node: Node) -> None:
        if node.op == "null":
            self._tensors[at, 0] = self._variable(at, node)
            return
        links = node.inputs[:1] if node.op in WITH_LABELS else node.inputs
        if any(link in self._failed for link, _ in links):
            raise input_failed("its input failed")
        if node.op not in RULES:
            raise unsupported("this operator")
        if missing := [link for link in links if link not in self._tensors]:
            raise ImportFailed(f"it reads output {missing[0][1]} of {self._nodes[missing[0][0]].name[:100]!r}")
        self._build.node_, self._build.tensors = node, [self._tensors[link] for link in links] + self._unlinked(node)
        with self._build.graph.layer(node.name[:200], node.op):
            given = RULES[node.op](self._build, node)
        for which, tensor in enumerate([given] if isinstance(given, str) else given):
            self._tensors[at, which] = tensor

    def _unlinked(self, node: Node) -> list[str]:
        """The statistics of a normalisation, which old files leave out of its inputs and know by their names."""
        names = [f"{node.name}_moving_{part}" for part in ("mean", "var")]
        if not node.op.startswith("BatchNorm") or len(node.inputs) != 3 or not all(n in self._weights for n in names):
            return []
        return [self._build.graph.constant(clean(name), self._weights[name]) for name in names]

    def _variable(self, at: int, node: Node) -> str:
        """An array of the weights, or an input."""
        graph = self._build.graph
        if node.name in self._weights:
            return graph.constant(clean(node.name, "weight"), self._weights[node.name])
        return graph.input(clean(node.name, "data"), self._input_shape(at, node))

    def _input_shape(self, at: int, node: Node) -> list[int | str]:
        """Sizes of an input: as asked for, as the graph says, or as what reads it takes. Raises ImportFailed."""
        declared = self._shapes.get(node.name) or tuple(node.integers("__shape__"))
        if not declared or min(declared) < 0 or max(declared) > MAX_INPUT:
            declared = self._read_by(at)
        if not declared:
            raise ImportFailed(
                "it is neither among the weights nor an input whose shape can be told. Give the right arrays, or the "
                "option input_shapes"
            )
        shape: list[int | str] = [size or -1 for size in declared]
        shape[0] = BATCH
        if len(shape) == 4:
            if self._size is not None:
                shape[2:] = self._size
            elif node.name not in self._shapes:
                if all(size > 0 for size in declared[2:]):
                    self._known["size"] = list(declared[2:])
                else:
                    shape[2:] = ["h", "w"]
        return [f"{clean(node.name)}_{axis}" if size == -1 else size for axis, size in enumerate(shape)]

    def _read_by(self, at: int) -> tuple[int, ...]:
        """Sizes by the first weights that a variable meets; 0 for those that are open; empty where there are none."""
        followed = {at}
        for place, node in enumerate(self._nodes):
            if not node.inputs or node.inputs[0][0] not in followed:
                continue
            held = [self._weights.get(self._nodes[link].name) for link, _ in node.inputs[1:2]]
            weights = held[0] if held else None
            if node.op.startswith("Convolution") and weights is not None and weights.ndim > 2:
                return (1, weights.shape[1] * max(1, node.integer("num_group", 1)), *[0] * (weights.ndim - 2))
            if node.op == "Deconvolution" and weights is not None and weights.ndim > 2:
                return (1, weights.shape[0], *[0] * (weights.ndim - 2))
            if node.op == "FullyConnected" and weights is not None and weights.ndim == 2:
                return (1, weights.shape[1]) if node.flag("flatten", True) else ()
            if (node.op in RULES and len(node.inputs) == 1) or node.op.startswith("BatchNorm"):
                followed.add(place)
        return ()

    def _finished(self, labels: Mapping[str, Any]) -> ImportedGraph:
        model = self._build.graph.model()
        inputs, outputs = ([value.name for value in values] for values in (model.graph.input, model.graph.output))
        if not inputs:
            raise ImportFailed(f"{self._file}: nothing is left to put in: every variable is among the weights.")
        picture = len(inputs) == 1 and len(model.graph.input[0].type.tensor_type.shape.dim) == 4
        sizes = [dim.dim_value for output in model.graph.output for dim in output.type.tensor_type.shape.dim[1:]]
        if labels and len(labels["labels"]) in sizes:
            self._known |= labels
        elif labels:
            self._notes.append(f"A list of {len(labels['labels'])} labels was given, which fits no output.")
        return ImportedGraph(
            model,
            {"image": inputs[0]} if picture else {name: name for name in inputs},
            {"scores": outputs[0]} if len(outputs) == 1 else {name: name for name in outputs},
            tuple(self._notes),
            tuple(self._build.graph.layers),
            self._known,
        )


IMPORTER = MXNet()
