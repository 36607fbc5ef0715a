"""Label vocabularies that several networks share: the ids and names of the classes, in the networks' order."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.resources import files

from glia.core.card import NAME_PATTERN
from glia.core.errors import NotFound


@lru_cache
def labels(name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The ids and the names of a vocabulary such as `imagenet-1k`, each unique. Raises NotFound.

    The names of `imagenet-1k` are the first synonyms of WordNet's synsets; where two classes share one, a word in
    brackets tells them apart (the cranes, the maillots).
    """
    there = files("glia.store") / "labels"
    path = there / f"{name}.txt"
    if not re.fullmatch(NAME_PATTERN, name) or not path.is_file():
        known = ", ".join(sorted(file.name.removesuffix(".txt") for file in there.iterdir()))
        raise NotFound(f"expected a label vocabulary, received {name[:120]!r}; there are: {known}")
    rows = [line.split("\t") for line in path.read_text("utf-8").splitlines()]
    return tuple(row[0] for row in rows), tuple(row[1] for row in rows)
