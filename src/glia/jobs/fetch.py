"""Fetch: a catalog entry's verified bytes, imported, checked on its example, put in the store."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from glia.core.card import Card, SourceFile
from glia.core.errors import NoModel, NotFound, SourceError
from glia.core.settings import Settings
from glia.importers.importer import ImportedGraph
from glia.importers.labels import distinct
from glia.importers.sniff import importer_for
from glia.jobs.example import bring_example, check_example
from glia.jobs.importing import of_graph, written
from glia.runtime.directory import Directory
from glia.store import catalog
from glia.store.catalog import Entry
from glia.store.disk import locked
from glia.store.sources import obtain
from glia.store.store import Store

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
    with by_their_names(paths) as files:
        imported = importer_for(files, entry.format).read(files, dict(entry.options))
    card = with_known(entry.card(), next(iter(imported.values())))
    with written(imported) as there:
        named = {"inputs": dict(entry.inputs), "outputs": dict(entry.outputs)}
        named = {side: names for side, names in named.items() if names}
        graphs = {role: graph.model_copy(update=named) for role, graph in there.graphs.items()}
        origin = tuple(
            SourceFile(file=file.file, sha256=file.sha256, bytes=file.bytes, source=file.sources[-1])
            for file in entry.files
        )
        card = card.model_copy(update={"graphs": graphs, "source_files": origin})
        contents = dict(there.files)
        if card.example is not None:
            card, media = bring_example(card, card.example)
            contents |= media
            check_example(card, there.paths, media, settings)
        return store.put(card, contents)


@contextmanager
def by_their_names(paths: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
    """Downloads, which lie under their hashes, under the names that they have in the catalog: files name each other."""
    with tempfile.TemporaryDirectory(prefix="glia-fetch-") as folder:
        found = {}
        for name, path in paths.items():
            found[name] = Path(folder) / name
            found[name].parent.mkdir(parents=True, exist_ok=True)
            found[name].symlink_to(path.resolve())
        yield found


def with_known(card: Card, graph: ImportedGraph) -> Card:
    """The card with what the files say, where the entry says nothing."""
    known = dict(graph.known)
    labels = tuple(known.pop("labels", ()))
    update: dict[str, Any] = {} if card.labels or not labels else {"labels": distinct(labels)}
    if card.preprocessing:
        update["preprocessing"] = {**of_graph(graph), **card.preprocessing}
    return card.model_copy(update=update)


def fetch_starter(settings: Settings, progress: Progress, report: Callable[[str], None]) -> Card | None:
    """The starter, when nothing in the store answers its service; None, with one line said, where it is left out."""
    entry = starter()
    try:
        Directory(settings).resolve(entry.service or entry.name)
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
