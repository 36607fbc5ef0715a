"""Import: foreign files of the user's own, to a stored model; and what every import shares, fetched or not."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from glia.core.card import Card, Graph, Licence, Parity, SourceFile
from glia.core.errors import ImportFailed, InputError
from glia.core.settings import Settings
from glia.importers.importer import ImportedGraph
from glia.importers.labels import distinct
from glia.importers.prove import prove
from glia.importers.sniff import importer_for
from glia.jobs.example import record_example
from glia.store.disk import sha256_of
from glia.store.store import Store
from glia.tasks.registry import find_tasks, task_named

MAX_FILES = 1000
"""Most files of one network: those of the browser come in dozens of shards."""


@dataclass(frozen=True)
class Wanted:
    """What the user says of a network, beside its files. What is None is taken from the files, or asked for."""

    name: str
    task: str | None = None
    service: str | None = None
    format: str | None = None
    licence: str = "unknown"
    labels: tuple[str, ...] | None = None
    activation: str | None = None
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    """For the importer: `architecture`, `outputs`, `input_size` ..."""


@dataclass(frozen=True)
class Written:
    """Graphs that an importer gave, on disk: role to what the card says of them, and files by their names."""

    graphs: dict[str, Graph]
    files: dict[str, Path | bytes]
    paths: dict[str, Path]


@contextmanager
def written(imported: Mapping[str, ImportedGraph]) -> Iterator[Written]:
    """The graphs in a folder that goes away again."""
    with tempfile.TemporaryDirectory(prefix="glia-import-") as folder:
        found = Written({}, {}, {})
        for role, graph in imported.items():
            file = "graph.onnx" if len(imported) == 1 else f"{role}.onnx"
            path = found.paths[role] = Path(folder) / file
            path.write_bytes(graph.model.SerializeToString())
            found.files[file] = path
            found.graphs[role] = Graph(file=file, inputs=graph.inputs, outputs=graph.outputs)
        yield found


def files_given(places: Sequence[Path]) -> dict[str, Path]:
    """Files by name; a folder stands for the files in it. Raises ImportFailed."""
    found: dict[str, Path] = {}
    for place in places:
        if not place.exists():
            raise ImportFailed(f"There is no file or folder {place}.")
        for name, path in _inside(place) if place.is_dir() else [(place.name, place)]:
            if name in found:
                raise ImportFailed(f"Two files are called {name}. Give each once.")
            found[name] = path
    if len(found) > MAX_FILES:
        raise ImportFailed(f"Expected at most {MAX_FILES} files of one network, received {len(found)}.")
    return found


def _inside(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files below a folder by their place in it, in order; hidden ones are left out."""
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in place.parts):
            yield place.as_posix(), path


def read_network(places: Sequence[Path], wanted: Wanted) -> tuple[str, dict[str, Path], dict[str, ImportedGraph]]:
    """Format, files and graphs. Raises ImportFailed; nothing is stored."""
    files = files_given(places)
    importer = importer_for(files, wanted.format)
    return importer.format, files, importer.read(files, dict(wanted.options))


def import_network(places: Sequence[Path], wanted: Wanted, settings: Settings) -> tuple[Card, list[str]]:
    """The stored card, and what a person should know. Raises ImportFailed, InputError; nothing half-made stays."""
    format, files, imported = read_network(places, wanted)
    with written(imported) as there:
        parities = {role: prove(graph, there.paths[role], format, files) for role, graph in imported.items()}
        parity = min(parities.values(), key=lambda one: one.oracle != "none")
        card, said = _card(wanted, imported, there.graphs, settings)
        card = card.model_copy(
            update={"parity": parity, "source_files": _sources(files), "source": f"imported: {format}"}
        )
        example = record_example(card, there.paths, settings)
        contents = dict(there.files)
        if example is not None:
            card, media = card.model_copy(update={"example": example[0]}), example[1]
            contents |= media
        stored = Store(settings.home).put(card, contents)
    notes = [note for graph in imported.values() for note in graph.notes]
    return stored, [*notes, *said, _words(parity)]


def _words(parity: Parity) -> str:
    if parity.oracle == "none":
        return f"parity: no second reader of this format here; {parity.probes} probes ran, every number finite"
    return f"parity: at most {parity.max_abs:.2g} off {parity.oracle} over {parity.probes} probes"


def _sources(files: Mapping[str, Path]) -> tuple[SourceFile, ...]:
    return tuple(
        SourceFile(file=name, sha256=sha256_of(path), bytes=path.stat().st_size) for name, path in files.items()
    )


def _card(
    wanted: Wanted, imported: Mapping[str, ImportedGraph], graphs: dict[str, Graph], settings: Settings
) -> tuple[Card, list[str]]:
    """The card, and what was taken from the network itself. Raises InputError that names every flag that is needed."""
    graph, said = next(iter(imported.values())), []
    task_name = wanted.task
    if task_name is None:
        task_name = _looks_like(graph)
        said.append(f"task: {task_name}, by its input and output (--task says otherwise)")
    task = task_named(task_name, find_tasks(settings["tasks_dir"]))
    labels = wanted.labels if wanted.labels is not None else graph.known.get("labels")
    preprocessing = {**of_graph(graph), **wanted.preprocessing}
    values = {"labels": labels, **preprocessing}
    missing = [name for name in task.card_needs if values.get(name) is None]
    if missing:
        raise InputError(
            f"The files do not say what {task.name} must know: {', '.join(missing)}. "
            f"Say it: {' '.join(_FLAGS[name] for name in missing)}"
        )
    activation = wanted.activation or _activation(graph)
    if wanted.activation is None:
        said.append(f"activation: {activation}, by the network's last operator")
    try:
        card = Card(
            name=wanted.name,
            task=task.name,
            title=wanted.name,
            service=wanted.service,
            licence=Licence(weights=wanted.licence),
            graphs=graphs,
            preprocessing=preprocessing if task.card_needs else {},  # what nobody would read
            activation=activation,
            labels=distinct(labels or ()),
        )
    except ValidationError as error:
        raise InputError(f"The card cannot be: {error.errors()[0]['msg']} ({error.errors()[0]['loc']}).") from error
    _check_labels(card, graph)
    return card, said


_FLAGS = {
    "labels": "--labels FILE (a line a class) or --labels imagenet-1k",
    "size": "--size HEIGHTxWIDTH",
    "mean": "--mean 104,117,123 (or one number; of 0..255)",
    "std": "--std 1 (or three numbers)",
    "colour": "--colour rgb|bgr",
}
"""How each thing that a card needs is said at the command line."""


def _shape(graph: ImportedGraph, name: str, *, output: bool = False) -> list[int | None]:
    values = graph.model.graph.output if output else graph.model.graph.input
    (value,) = [value for value in values if value.name == name]
    return [dim.dim_value if dim.HasField("dim_value") else None for dim in value.type.tensor_type.shape.dim]


def _looks_like(graph: ImportedGraph) -> str:
    """The task of a network by what it takes and gives; tensors through it, where that leaves it open."""
    if len(graph.inputs) == len(graph.outputs) == 1:
        given = _shape(graph, next(iter(graph.inputs.values())))
        taken = _shape(graph, next(iter(graph.outputs.values())), output=True)
        is_picture = len(given) == 4 and 3 in (given[1], given[3])
        if is_picture and len(taken) >= 2 and all(size == 1 for size in taken[2:]):
            return "image-classification"
    return "tensor-inference"


_OF_PICTURES = ("size", "mean", "std", "colour", "crop", "interpolation")
"""What files may say of the pictures that a network takes."""


def of_graph(graph: ImportedGraph) -> dict[str, Any]:
    """What the graph and the files that it was made of say of a picture: size, layout, type, mean, colours."""
    known = {key: graph.known[key] for key in _OF_PICTURES if key in graph.known}
    tensor = graph.inputs.get("image") or next(iter(graph.inputs.values()))
    shape = _shape(graph, tensor)
    if len(shape) != 4 or 3 not in (shape[1], shape[3]):
        return known
    layout = "nchw" if shape[1] == 3 else "nhwc"
    size = shape[2:] if layout == "nchw" else shape[1:3]
    (value,) = [value for value in graph.model.graph.input if value.name == tensor]
    integers = value.type.tensor_type.elem_type == 2  # uint8
    return {
        "layout": layout,
        **({"size": size} if None not in size else {}),
        **({"dtype": "uint8", "mean": [0, 0, 0], "std": [1, 1, 1]} if integers else {}),
        **known,
    }


def _activation(graph: ImportedGraph) -> str:
    """Whether the only output is made by a softmax or sigmoid, through operators that change no number."""
    makers = {name: node for node in graph.model.graph.node for name in node.output}
    name = next(iter(graph.outputs.values()))
    while name in makers:
        node = makers[name]
        if node.op_type in ("Softmax", "Sigmoid"):
            return "probabilities"
        if node.op_type not in (
            "Identity",
            "Reshape",
            "Flatten",
            "Squeeze",
            "Transpose",
            "QuantizeLinear",
            "DequantizeLinear",
        ):
            break
        name = node.input[0]
    return "logits"


def _check_labels(card: Card, graph: ImportedGraph) -> None:
    """As many labels as the network gives numbers. Raises InputError."""
    if not card.labels or len(graph.outputs) != 1:
        return
    shape = _shape(graph, next(iter(graph.outputs.values())), output=True)
    count = int(np.prod([size for size in shape[1:] if size]))
    if None not in shape[1:] and count != len(card.labels):
        raise InputError(
            f"The network gives {count} numbers, and there are {len(card.labels)} labels. One each, please."
        )
