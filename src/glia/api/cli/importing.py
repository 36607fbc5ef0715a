"""`glia import`: a network in the file its authors saved, to a model in the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from glia.api.cli.options import screen, side, with_settings
from glia.api.cli.tune import arrive
from glia.core.errors import InputError
from glia.core.settings import Settings
from glia.importers.importer import ImportedGraph
from glia.importers.labels import distinct
from glia.jobs.importing import Wanted, import_network, read_network
from glia.store.labels import labels as vocabulary

INTERPOLATIONS = ("bilinear", "bicubic", "lanczos", "nearest")


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--name", help="What the model is called in the store.")
@click.option("--explain", is_flag=True, help="Print the table of layers: what became of each. Alone, stores nothing.")
@click.option("--task", help="What the network is for; said by its input and output where they leave one.")
@click.option("--service", help="The service that it may answer; without it, a service of its own name.")
@click.option("--format", "format_name", help="The format, where the files are of several.")
@click.option("--architecture", help="The network's design, for files that hold weights only.")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="A further word for the importer.")
@click.option("--labels", help="A file with a line a class, a vocabulary (imagenet-1k), or `none`: numbers.")
@click.option("--size", help="HEIGHTxWIDTH of the picture that the network takes [px].")
@click.option("--mean", help="Subtracted from each colour, of 0..255: three numbers by comma, or one.")
@click.option("--std", help="Each colour is divided by this, after the mean: three numbers by comma, or one.")
@click.option("--colour", type=click.Choice(["rgb", "bgr"]), help="Order of colours.")
@click.option("--crop", type=float, help="Share of the short side that the central crop keeps [1].")
@click.option("--interpolation", type=click.Choice(INTERPOLATIONS), help="How pictures are resized [bilinear].")
@click.option("--activation", type=click.Choice(["logits", "probabilities"]), help="What the outputs are.")
@click.option("--licence", default="unknown", help="SPDX id of the licence of the weights, or research-only.")
@click.option("--no-tune", is_flag=True, help="Do not measure how this machine runs it best (some seconds).")
@with_settings()
def import_command(
    settings: Settings,
    files: tuple[Path, ...],
    name: str | None,
    explain: bool,
    task: str | None,
    service: str | None,
    format_name: str | None,
    architecture: str | None,
    options: tuple[str, ...],
    licence: str,
    no_tune: bool,
    **card: str | float | None,
) -> None:
    """Import a published network, without the framework that wrote it; prove it, and store it ready to serve.

    FILE: all files of the network (definition, weights, shards, mean), or a folder with them. What the files do not say
    (labels, mean, colours) is asked for.
    """
    wanted = Wanted(
        name=name or "unnamed",
        task=task,
        service=service,
        format=format_name,
        licence=licence,
        labels=_labels(card["labels"]),
        activation=str(card["activation"]) if card["activation"] else None,
        preprocessing=_preprocessing(card),
        options=_options(options) | ({"architecture": architecture} if architecture else {}),
    )
    if explain:
        format, _, graphs = read_network(files, wanted)
        for role, graph in graphs.items():
            _explain(role if len(graphs) > 1 else format, graph)
    if name is None:
        if explain:
            return
        raise InputError("Expected a name for the model: --name N.")
    stored, said = import_network(files, wanted, settings)
    for line in said:
        side().print(escape(line), style="dim", soft_wrap=True)
    used = stored.service or stored.name
    side().print(f"{stored.id} is in the store; ask it: glia predict {used} FILE")
    if not no_tune:
        arrive(stored.name, settings)


def _labels(given: object) -> tuple[str, ...] | None:
    """The classes' names from a file or a vocabulary. Raises InputError, NotFound."""
    if given is None or given == "none":
        return None if given is None else ()
    path = Path(str(given))
    if not path.is_file():
        return vocabulary(str(given))[1]
    if path.stat().st_size > 16 << 20:
        raise InputError(f"Expected a file of labels of at most 16 MB, received {path}.")
    lines = [line.strip() for line in path.read_text("utf-8", "replace").splitlines() if line.strip()]
    return distinct([_without_id(line) for line in lines])


def _without_id(line: str) -> str:
    """`n01440764 tench, Tinca tinca` names `tench`; other lines stay as they are."""
    head, _, rest = line.partition(" ")
    is_synset = head[:1] == "n" and head[1:].isdigit() and len(head) == 9
    return rest.partition(",")[0].strip() if is_synset and rest else line


def _preprocessing(card: Mapping[str, Any]) -> dict[str, Any]:
    """What was said of the picture. Raises InputError."""
    found: dict[str, Any] = {key: card[key] for key in ("colour", "crop", "interpolation") if card[key] is not None}
    for key in ("mean", "std"):
        if card[key] is not None:
            numbers = _numbers(str(card[key]), ",", f"--{key}")
            if len(numbers) not in (1, 3):
                raise InputError(f"Expected one number or three as --{key}, received {card[key]!r}.")
            found[key] = numbers * 3 if len(numbers) == 1 else numbers
    if card["size"] is not None:
        size = _numbers(str(card["size"]).lower(), "x", "--size")
        if len(size) not in (1, 2) or any(side != int(side) or side < 1 for side in size):
            raise InputError(f"Expected HEIGHTxWIDTH in whole pixels as --size, received {card['size']!r}.")
        found["size"] = [int(side) for side in (size * 2 if len(size) == 1 else size)]
    return found


def _numbers(text: str, mark: str, flag: str) -> list[float]:
    try:
        return [float(part) for part in text.split(mark)]
    except ValueError as error:
        raise InputError(f"Expected numbers as {flag}, received {text!r}.") from error


def _options(given: Sequence[str]) -> dict[str, Any]:
    """KEY=VALUE to options: whole numbers, numbers and lists by comma become such. Raises InputError."""
    found: dict[str, Any] = {}
    for pair in given:
        key, mark, value = pair.partition("=")
        if not mark or not key:
            raise InputError(f"Expected --option KEY=VALUE, received {pair!r}.")
        parts = [_plain(part) for part in value.split(",")]
        found[key] = parts if len(parts) > 1 else parts[0]
    return found


def _plain(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _explain(title: str, graph: ImportedGraph) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold", title=escape(title), title_justify="left")
    for column in ("layer", "kind", "ONNX", "shape", "parameters"):
        table.add_column(column, overflow="fold", justify="right" if column == "parameters" else "left")
    for layer in graph.layers:
        shape = " x ".join("?" if size is None else str(size) for size in layer.shape)
        nodes = " ".join(layer.nodes) or "(folded)"
        count = f"{layer.parameters:,}" if layer.parameters else ""
        table.add_row(*map(escape, (layer.name, layer.kind, nodes, shape, count)))
    screen().print(table)
    total = sum(layer.parameters for layer in graph.layers)
    screen().print(f"{len(graph.layers)} layers, {total:,} parameters, {len(graph.model.graph.node)} ONNX nodes")
    for note in graph.notes:
        screen().print(escape(note), style="dim", soft_wrap=True)
