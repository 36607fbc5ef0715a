"""Fetch: a catalog entry's verified bytes, imported, checked on its example, put in the store."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from glia.core.card import Card, Example, SourceFile
from glia.core.errors import ImportFailed, NoModel, NotFound, SourceError
from glia.core.settings import Settings
from glia.importers.sniff import importer_for
from glia.runtime.directory import Directory
from glia.runtime.plan import Plan
from glia.runtime.service import Service
from glia.runtime.sessions import open_session
from glia.store import catalog
from glia.store.catalog import Entry
from glia.store.disk import locked
from glia.store.sources import obtain
from glia.store.store import Store
from glia.tasks.registry import find_tasks, task_named

log = logging.getLogger("glia.fetch")

MAX_BYTES = 4 << 30

Progress = Callable[[int, int | None, str], None]
"""Bytes so far, bytes in all where known, what is being fetched."""


def starter() -> Entry:
    """The small network that a first start fetches."""
    return next(entry for entry in catalog.catalog().values() if entry.starter)


def fetch(name: str, settings: Settings, progress: Progress, report: Callable[[str], None]) -> Card:
    """The stored card of a catalog entry; at once where it is there already.

    `report` gets a line for each source that is passed over. Processes that fetch one name do it once.
    Raises NotFound, SourceError (each source with its reason), ImportFailed; nothing half-made stays.
    """
    entry = catalog.entry(name)
    if settings.permissive and not entry.permissive:
        raise SourceError(f"{name} is left out: its licence is {entry.licence.weights}, and GLIA_LICENCES=permissive.")
    store = Store(settings.home)
    lock = settings.home / "downloads" / f"{name}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with locked(lock):
        stored = stored_already(entry, store)
        if stored is not None:
            report(f"{name} is in the store already (version {stored.version})")
            return stored
        paths = {
            file.file: obtain(
                file,
                name=name,
                downloads=settings.home / "downloads",
                mirror=settings["mirror"] or None,
                progress=progress,
                report=report,
                max_bytes=MAX_BYTES,
            )
            for file in entry.files
        }
        card = import_entry(entry, paths, store, settings)
        for path in paths.values():
            path.unlink(missing_ok=True)  # the graph is what is kept; the hash of its source is on the card
        return card


def stored_already(entry: Entry, store: Store) -> Card | None:
    """The stored model that was made from the entry's very files."""
    wanted = {file.sha256 for file in entry.files}
    try:
        card = store.get(entry.name).card
    except NotFound:
        return None
    return card if {file.sha256 for file in card.source_files} == wanted else None


def import_entry(entry: Entry, paths: dict[str, Path], store: Store, settings: Settings) -> Card:
    """Foreign files to a stored model, whose example must give its recorded answer first."""
    importer = importer_for(paths, entry.format)
    imported = importer.read(paths, dict(entry.options))
    card = entry.card()
    graphs = {}
    with tempfile.TemporaryDirectory(prefix="glia-import-") as folder:
        contents: dict[str, Path | bytes] = {}
        for role, graph in imported.items():
            file = "graph.onnx" if len(imported) == 1 else f"{role}.onnx"
            contents[file] = Path(folder) / file
            (Path(folder) / file).write_bytes(graph.model.SerializeToString())
            named = {"inputs": dict(entry.inputs or graph.inputs), "outputs": dict(entry.outputs or graph.outputs)}
            graphs[role] = card.graphs["model"].model_copy(update={"file": file, **named})
        origin = tuple(
            SourceFile(file=file.file, sha256=file.sha256, bytes=file.bytes, source=file.sources[-1])
            for file in entry.files
        )
        card = card.model_copy(update={"graphs": graphs, "source_files": origin})
        if card.example is not None:
            card, media = _bring_example(card, card.example)
            contents |= media
            check_example(card, {role: Path(folder) / graph.file for role, graph in graphs.items()}, media, settings)
        return store.put(card, contents)


def _bring_example(card: Card, example: Example) -> tuple[Card, dict[str, bytes]]:
    """The card with its example's media beside it: `sample:NAME` becomes a file of the model."""
    media: dict[str, bytes] = {}
    fields: dict[str, Any] = {}
    for name, value in example.input.items():
        if isinstance(value, str) and value.startswith("sample:"):
            file = value.removeprefix("sample:")
            with as_file(files("glia.store") / "samples" / file) as path:
                media[f"example/{file}"] = path.read_bytes()
            value = f"example/{file}"
        fields[name] = value
    return card.model_copy(update={"example": example.model_copy(update={"input": fields})}), media


def check_example(card: Card, graphs: dict[str, Path], media: dict[str, bytes], settings: Settings) -> None:
    """Run the card's example. Raises ImportFailed where the answer is not the recorded one."""
    assert card.example is not None
    task = task_named(card.task, find_tasks(settings["tasks_dir"]))
    service = Service(task, card, {role: open_session(path, Plan()) for role, path in graphs.items()})
    fields = {
        name: media.get(value, value) if isinstance(value, str) else value for name, value in card.example.input.items()
    }
    answer = service.contract.answer_json(service.predict(service.contract.request(fields)))
    if not is_close(answer, card.example.output, card.example.tolerance):
        raise ImportFailed(
            f"{card.name}: its example gives {str(answer)[:200]}, recorded is {str(card.example.output)[:200]}. "
            "The import is wrong for these bytes; nothing was stored."
        )


def is_close(found: Any, recorded: Any, tolerance: float) -> bool:
    """Whether an answer is the recorded one, numbers within `tolerance`."""
    if isinstance(recorded, bool) or recorded is None or isinstance(recorded, str):
        return bool(found == recorded)
    if isinstance(recorded, int | float):
        return isinstance(found, int | float) and abs(found - recorded) <= tolerance
    if isinstance(recorded, list):
        return (
            isinstance(found, list)
            and len(found) >= len(recorded)
            and all(is_close(a, b, tolerance) for a, b in zip(found, recorded, strict=False))
        )
    return isinstance(found, dict) and all(
        key in found and is_close(found[key], value, tolerance) for key, value in recorded.items()
    )


def fetch_starter(settings: Settings, progress: Progress, report: Callable[[str], None]) -> Card | None:
    """The starter, when nothing in the store answers its service; None, with one line said, where it is left out."""
    entry = starter()
    try:
        Directory(settings).resolve(entry.service)
        return None
    except NoModel:
        pass
    if settings["starter"] == "no":
        report(f"The starter network is left out (GLIA_STARTER=no); later: glia fetch {entry.name}")
        return None
    report(f"Fetching the starter network {entry.name} ({entry.bytes / 1e6:.0f} MB)")
    try:
        return fetch(entry.name, settings, progress, lambda line: log.debug("%s", line))
    except SourceError as error:
        log.debug("no starter: %s", error.message)
        report(f"The starter network cannot be had from here (offline?); later: glia fetch {entry.name}")
        return None
