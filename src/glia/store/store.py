"""Models on disk, by name and version: put, get, list, delete, roll back.

    ROOT/models/NAME/default      which versions there are, which is the default, and which were before it
    ROOT/models/NAME/lock         held by whoever changes NAME
    ROOT/models/NAME/3/           card.json and the files of version 3; never changed
    ROOT/staging/                 what is being written or removed

The replacement of `default` is the moment at which a change happens: a version folder that it does not name does not
exist. A process killed before leaves the old state, one killed after leaves the new, and the next `put` of the name
clears what is left over. Nothing is opened by an import, nothing created by reading.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from glia.core.card import NAME_PATTERN, Card
from glia.core.errors import Conflict, InputError, NotFound, StoreError
from glia.store.disk import locked, replace_file, sha256_of, staging_folder, sync_folder, write_hashed

CARD_FILE = "card.json"
HISTORY_LENGTH = 100

_FILE_NAME = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]{0,99}/)?[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_log = logging.getLogger(__name__)

Cards = list[Card]


@dataclass(frozen=True)
class Stored:
    """A model in the store: its card, and the folder with its files."""

    card: Card
    folder: Path

    def path(self, file: str) -> Path:
        """Where a file of the model lies. Raises NotFound for one that it lacks or that lies outside its folder."""
        path = self.folder / file
        if not _FILE_NAME.fullmatch(file) or not path.is_file():
            raise NotFound(f"expected a file of {self.card.id}, received {file!r}; its card names its files")
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise NotFound(
                f"expected a file of {self.card.id}, but {file!r} is a link out of the store; fetch it again"
            )
        return path


class _Index(BaseModel):
    """The content of `default`: the versions that exist, the defaults up to today's, the highest number ever given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    versions: tuple[int, ...] = ()
    history: tuple[int, ...] = ()
    last: int = 0

    def with_default(self, version: int) -> _Index:
        """The same versions with another default."""
        if self.history[-1:] == (version,):
            return self
        return self.model_copy(update={"history": (*self.history, version)[-HISTORY_LENGTH:]})

    def with_version(self, version: int) -> _Index:
        """One version more; the first of a name is its default."""
        more = self.model_copy(update={"versions": (*self.versions, version), "last": version})
        return more if self.history else more.with_default(version)

    def without(self, version: int) -> _Index:
        """One version less; the default before it takes over, or else the newest version that remains."""
        versions = tuple(other for other in self.versions if other != version)
        history: list[int] = []
        for other in self.history:
            if other != version and history[-1:] != [other]:
                history.append(other)
        if versions and not history:
            history = [max(versions)]
        return self.model_copy(update={"versions": versions, "history": tuple(history)})


def split_ref(ref: str) -> tuple[str, int | None]:
    """`NAME` or `NAME@VERSION` to its parts. Raises InputError for anything else."""
    name, mark, version = ref.partition("@")
    if not re.fullmatch(NAME_PATTERN, name) or (mark and not _VERSION.fullmatch(version)):
        raise InputError(
            f"expected NAME or NAME@VERSION, with a name of small letters, digits, '.', '_' and '-', "
            f"and a version from 1, received {ref[:120]!r}; `glia models` lists them"
        )
    return name, int(version) if mark else None


class Store:
    """The models under `root` (GLIA_HOME). Safe for several processes at once.

    Every method raises InputError for a name that cannot be one, and NotFound for one that is not there.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._models = root / "models"
        self._staging = root / "staging"

    def put(self, card: Card, files: Mapping[str, Path | bytes], *, make_default: bool = True) -> Card:
        """Store a model as the next version of its name; its card, with the version and the hashes of its graphs.

        `files` names each file of the model (`graph.onnx`, `example/cat.jpg`) with its bytes or where they lie.
        The first version of a name is its default in any case. Raises StoreError where a graph's file is missing
        or the disk refuses.
        """
        _check_files(card, files)
        folder = self._folder(card.name)
        try:
            with staging_folder(self._staging) as staged, locked(folder / "lock"):
                model = staged / "model"
                index = self._index(card.name)
                version = index.last + 1
                stored = _write_model(model, card.model_copy(update={"version": version}), files)
                self._clear(folder, index, staged)
                os.rename(model, folder / str(version))
                sync_folder(folder)
                sync_folder(self._models)
                index = index.with_version(version)
                self._commit(card.name, index.with_default(version) if make_default else index)
        except OSError as error:
            raise StoreError(
                f"expected to write {card.name} to the store, received {error.strerror or error} "
                f"({error.filename or self.root}); check that the files are there, the free space, and who may write"
            ) from error
        return stored

    def get(self, ref: str, *, verify: bool = True) -> Stored:
        """The model `NAME` (its default version) or `NAME@VERSION`.

        With `verify` the sha256 of every graph is computed and compared (about a second per 1.5 GB).
        Raises StoreError for a damaged model.
        """
        name, version = split_ref(ref)
        wanted = self._existing(name, version)
        folder = self._folder(name) / str(wanted)
        try:
            stored = Stored(_read_card(folder, name, wanted), folder)
            if verify:
                _verify(stored)
        except StoreError:
            self._existing(name, wanted)  # deleted meanwhile is not found, not damaged
            raise
        return stored

    def list(self, *, every_version: bool = False) -> Cards:
        """The cards of the default versions, or of all, by name and version; a damaged card is logged and left out."""
        cards = []
        for name in self._names():
            index = self._index(name)
            for version in sorted(index.versions) if every_version else index.history[-1:]:
                try:
                    cards.append(self.get(f"{name}@{version}", verify=False).card)
                except (StoreError, NotFound) as error:
                    _log.warning("left out of the list: %s", error)
        return cards

    def stamp(self) -> tuple[object, ...]:
        """Differs whenever a model was put, deleted or given another default; cheap to ask for."""
        found = []
        with suppress(OSError), os.scandir(self._models) as folders:
            for folder in folders:
                with suppress(OSError):
                    state = os.stat(os.path.join(folder.path, "default"))
                    found.append((folder.name, state.st_ino, state.st_mtime_ns))
        return tuple(sorted(found))

    def versions(self, name: str) -> tuple[int, ...]:
        """The versions of a model, oldest first."""
        self._existing(name, None)
        return tuple(sorted(self._index(name).versions))

    def default(self, name: str) -> int:
        """The version that `NAME` alone means."""
        return self._existing(name, None)

    def set_default(self, name: str, version: int) -> None:
        """Let `NAME` alone mean this version from now on."""
        self._existing(name, version)
        with locked(self._folder(name) / "lock"):
            self._existing(name, version)
            self._commit(name, self._index(name).with_default(version))

    def roll_back(self, name: str) -> int:
        """Make the default before today's the default again; its version. Raises Conflict where there is none."""
        self._existing(name, None)
        with locked(self._folder(name) / "lock"):
            index = self._index(name)
            if len(index.history) < 2:
                raise Conflict(
                    f"expected an earlier default of {name} to roll back to, received none; "
                    f"its versions are {', '.join(map(str, index.versions))}: set the default to one of them"
                )
            history = index.history[:-1]
            self._commit(name, index.model_copy(update={"history": history}))
            return history[-1]

    def delete(self, ref: str) -> None:
        """Remove `NAME@VERSION`, or `NAME`'s default version.

        The default before it takes over, or else the newest version that remains. The number is never given again.
        """
        name, version = split_ref(ref)
        self._existing(name, version)
        with locked(self._folder(name) / "lock"), staging_folder(self._staging) as staged:
            version = self._existing(name, version)
            index = self._index(name).without(version)
            self._commit(name, index)
            self._clear(self._folder(name), index, staged)
            sync_folder(self._folder(name))

    def _names(self) -> tuple[str, ...]:
        """The names that have a version, sorted."""
        if not self._models.is_dir():
            return ()
        found = sorted(path.name for path in self._models.iterdir() if re.fullmatch(NAME_PATTERN, path.name))
        return tuple(name for name in found if self._index(name).versions)

    def _folder(self, name: str) -> Path:
        """The folder of a name, which must not be a link. Raises InputError for what is not a name."""
        if split_ref(name)[1] is not None:
            raise InputError(f"expected a model's name without a version, received {name!r}; leave out '@' and after")
        folder = self._models / name
        if folder.is_symlink():
            raise StoreError(f"expected a folder at {folder}, received a link; links are not followed: remove it")
        return folder

    def _index(self, name: str) -> _Index:
        """What `default` says; empty for a name that never was."""
        path = self._folder(name) / "default"
        try:
            return _Index.model_validate_json(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return _Index()
        except (ValidationError, OSError) as error:
            raise StoreError(
                f"expected the versions of {name} in {path}, received a damaged file; restore it"
            ) from error

    def _commit(self, name: str, index: _Index) -> None:
        """The moment at which a change happens; the caller holds the name's lock."""
        replace_file(self._folder(name) / "default", index.model_dump_json().encode())

    def _existing(self, name: str, version: int | None) -> int:
        """`version`, or the default, if it is there. Raises NotFound with the nearest names."""
        index = self._index(name)
        if not index.versions:
            near = difflib.get_close_matches(name, self._names(), 3, 0.5)
            advice = f"did you mean {' or '.join(near)}?" if near else "fetch, import or train it first"
            raise NotFound(f"expected a model in the store, received {name!r}; {advice}", nearest=near)
        if version is None:
            return index.history[-1]
        if version not in index.versions:
            there = ", ".join(map(str, index.versions))
            raise NotFound(f"expected a version of {name}, received {version}; there are {there}", name=name)
        return version

    def _clear(self, folder: Path, index: _Index, staged: Path) -> None:
        """Move the version folders that do not exist by the index into a staging folder, which is about to go."""
        for left_over in tuple(folder.iterdir()):
            if _VERSION.fullmatch(left_over.name) and int(left_over.name) not in index.versions:
                os.rename(left_over, staged / f"removed-{left_over.name}")


def _check_files(card: Card, files: Mapping[str, Path | bytes]) -> None:
    """Raise InputError for a name that could lie elsewhere, StoreError for a graph without its file."""
    for file in files:
        if not _FILE_NAME.fullmatch(file) or file == CARD_FILE or file.startswith(f"{CARD_FILE}/"):
            raise InputError(
                f"expected plain file names, at most one folder deep, received {file[:120]!r}; "
                f"use letters, digits, '.', '_' and '-' ({CARD_FILE} is the card's)"
            )
    missing = sorted({graph.file for graph in card.graphs.values()} - set(files))
    if missing:
        raise StoreError(f"expected the graphs of {card.name}, missing {', '.join(missing)}; pass them in files")


def _write_model(folder: Path, card: Card, files: Mapping[str, Path | bytes]) -> Card:
    """Write the files and the card into a new folder, synced; the card with the hashes of its graphs."""
    folder.mkdir()
    written: dict[str, tuple[str, int]] = {}
    for file, source in files.items():
        target = folder / file
        target.parent.mkdir(exist_ok=True)
        written[file] = write_hashed(target, source)
    graphs = {
        role: graph.model_copy(update=dict(zip(("sha256", "bytes"), written[graph.file], strict=True)))
        for role, graph in card.graphs.items()
    }
    card = card.model_copy(update={"graphs": graphs})
    write_hashed(folder / CARD_FILE, card.model_dump_json(indent=1).encode())
    for child in folder.iterdir():
        if child.is_dir():
            sync_folder(child)
    sync_folder(folder)
    return card


def _read_card(folder: Path, name: str, version: int) -> Card:
    """The card of a version folder. Raises StoreError for one that is damaged or of another model."""
    try:
        if folder.is_symlink() or (folder / CARD_FILE).is_symlink():
            raise OSError("is a link")
        card = Card.model_validate_json((folder / CARD_FILE).read_bytes())
    except (OSError, ValidationError) as error:
        raise _damaged(f"{name}@{version}", CARD_FILE, "a file that cannot be read") from error
    if (card.name, card.version) != (name, version):
        raise _damaged(f"{name}@{version}", CARD_FILE, f"the card of {card.id}")
    return card


def _verify(stored: Stored) -> None:
    """Compare every graph with the size and the sha256 on the card. Raises StoreError at the first difference."""
    for graph in stored.card.graphs.values():
        try:
            path = stored.path(graph.file)
            right = path.stat().st_size == graph.bytes and sha256_of(path) == graph.sha256
        except (NotFound, OSError) as error:
            raise _damaged(stored.card.id, graph.file, "no such file") from error
        if not right:
            raise _damaged(stored.card.id, graph.file, "other bytes")


def _damaged(model: str, file: str, received: str) -> StoreError:
    return StoreError(
        f"expected {file} of {model} as it was stored, received {received}; "
        f"the model is damaged: delete {model} and fetch, import or train it again",
        model=model,
        file=file,
    )
