"""Everything that a network holds and ONNX, or Glia, cannot say: collected, and told at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from glia.core.errors import ImportFailed

MOST_SHOWN = 30


def input_failed(words: str) -> ImportFailed:
    """The fault of a layer whose input comes from one that failed: what is told is where it began."""
    return ImportFailed(words, follows=True)


@dataclass
class Faults:
    """Layers that could not be written."""

    file: str
    """The file that the network came in, for the message."""
    found: list[tuple[str, str, str]] = field(default_factory=list)
    """Layer, operator, and what is the matter."""

    @contextmanager
    def of(self, layer: str, operator: str) -> Iterator[None]:
        """Collect what is raised inside, instead of raising it."""
        try:
            yield
        except ImportFailed as error:
            if not error.details.get("follows"):
                self.found.append((layer, operator, error.message))

    def check(self) -> None:
        """Raise ImportFailed with all of them, if there are any."""
        if not self.found:
            return
        shown = [f"{layer} ({operator}): {words}" for layer, operator, words in self.found[:MOST_SHOWN]]
        more = f" and {len(self.found) - MOST_SHOWN} more" if len(self.found) > MOST_SHOWN else ""
        raise ImportFailed(
            f"{self.file}: {len(self.found)} layers cannot be imported: {'; '.join(shown)}{more}. Nothing was stored."
        )


def unsupported(what: str) -> ImportFailed:
    """The fault of an operator, or a way of using it, for which there is no rule."""
    return ImportFailed(f"{what} is not supported")
