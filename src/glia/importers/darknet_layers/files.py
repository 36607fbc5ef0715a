"""Darknet's two files: sections of `key=value`, and float32 numbers in the order of the sections.

    weights   int32 major, minor, revision; images seen, as uint64 from version 0.2 on, else as uint32; then the numbers

Source: src/parser.c of https://github.com/AlexeyAB/darknet
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from math import prod

import numpy as np
from jaxtyping import Float32

from glia.core.errors import ImportFailed
from glia.importers.windows import MAX_WINDOW

MAX_SECTIONS = 10_000
MAX_KEYS = 200
LARGEST = float(np.finfo(np.float32).max)
ALIASES = {"conv": "convolutional", "conn": "connected", "max": "maxpool", "avg": "avgpool", "soft": "softmax",
           "network": "net", "deconv": "deconvolutional", "gaussian_yolo": "Gaussian_yolo"}  # fmt: skip
_SECTION = re.compile(r"\[\s*([A-Za-z0-9_]+)\s*\]")
_KINDS = re.compile(
    r"(?m)^\s*\[(?:conv|convolutional|connected|conn|maxpool|avgpool|route|shortcut|softmax|upsample|reorg|activation|"
    r"dropout|yolo|region|rnn|crnn|lstm|gru)\]"
)
_COMMENTS = re.compile(r"(?m)^\s*[#;].*$")
_INTEGER = re.compile(r"\s*([+-]?\d{1,9})")


@dataclass
class Section:
    """A layer as the text has it."""

    kind: str
    index: int
    """Its place among the layers; -1 for the first section, which is about the network."""
    options: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """`<kind>_<index>`: Darknet has no names."""
        return f"{self.kind}_{self.index}"

    def integer(self, key: str, default: int) -> int:
        """An option as a number, read as far as it is one. Raises ImportFailed where it is none."""
        if key not in self.options:
            return default
        match = _INTEGER.match(self.options[key])
        if match is None:
            raise ImportFailed(f"its option {key} is {self.options[key][:50]!r}, expected a number")
        return int(match[1])

    def size(self, key: str, default: int, least: int = 1) -> int:
        """A number that counts pixels, channels or steps."""
        value = self.integer(key, default)
        if not least <= value <= MAX_WINDOW:
            raise ImportFailed(f"its option {key} is {value}, expected {least} to {MAX_WINDOW}")
        return value

    def number(self, key: str, default: float) -> float:
        """An option as a finite number."""
        try:
            value = float(self.options.get(key, default))
        except ValueError:
            value = float("nan")
        if not abs(value) <= LARGEST:
            raise ImportFailed(f"its option {key} is {self.options[key][:50]!r}, expected a number")
        return value

    def integers(self, key: str) -> list[int]:
        """An option as numbers with commas between them."""
        parts = [part for part in self.options.get(key, "").split(",") if part.strip()]
        found = [_INTEGER.match(part) for part in parts]
        if not all(found):
            raise ImportFailed(f"its option {key} is {self.options[key][:50]!r}, expected numbers")
        return [int(match[1]) for match in found if match]


def is_cfg(head: bytes) -> bool:
    """Whether a file begins with the section about a network, and has one of a layer."""
    if b"\0" in head:
        return False
    text = _COMMENTS.sub("", head.decode("utf-8", "replace"))
    return bool(re.match(r"\s*\[(?:net|network)\]", text) and _KINDS.search(text))


def read_cfg(text: str, file: str) -> tuple[Section, list[Section]]:
    """The section about the network, and the layers. Raises ImportFailed."""
    sections: list[Section] = []
    for number, line in enumerate(text.splitlines(), 1):
        line = "".join(line.split())
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":
            match = _SECTION.match(line)
            if match is None or len(sections) > MAX_SECTIONS:
                raise ImportFailed(f"{file}, line {number}: expected [section], or fewer of them.")
            sections.append(Section(ALIASES.get(match[1], match[1]), len(sections) - 1))
            continue
        key, equals, value = line.partition("=")
        if not equals or not sections or len(sections[-1].options) > MAX_KEYS:
            raise ImportFailed(f"{file}, line {number}: expected key=value in a section, received {line[:50]!r}.")
        sections[-1].options.setdefault(key, value)  # the first one counts
    if len(sections) < 2 or sections[0].kind != "net":
        raise ImportFailed(f"{file}: expected [net] and sections of layers, received {len(sections)} sections.")
    return sections[0], sections[1:]


class Numbers:
    """A file of weights, read from its front to its end."""

    def __init__(self, data: bytes, file: str) -> None:
        """Reads the head. Raises ImportFailed."""
        self._data, self._file = data, file
        if len(data) < 20:
            raise ImportFailed(f"{file} has {len(data)} bytes, too few for Darknet's weights.")
        major, minor, _ = struct.unpack_from("<3i", data)
        if not 0 <= major < 100_000 or not 0 <= minor < 100_000:
            raise ImportFailed(f"{file}: its version is {major}.{minor}. It is no file of Darknet's weights.")
        self._at = 20 if major * 10 + minor >= 2 and major < 1000 and minor < 1000 else 16
        self.transposed = major > 1000 or minor > 1000
        """Whether the matrices of inner products lie as (inputs, outputs)."""

    def take(self, *shape: int) -> Float32[np.ndarray, "..."]:
        """The next numbers. Raises ImportFailed where too few are left, or they are not finite."""
        count, left = prod(shape), (len(self._data) - self._at) // 4
        if count > left:
            raise ImportFailed(
                f"it needs {count} numbers of shape {list(shape)}, {left} are left in {self._file}. "
                "The weights belong to another cfg, or are cut short"
            )
        values = np.frombuffer(self._data, "<f4", count, self._at).astype(np.float32)
        self._at += 4 * count
        if not np.isfinite(values).all():
            raise ImportFailed(f"its weights hold NaN or infinity. {self._file} is damaged, or belongs to another cfg")
        return values.reshape(shape)

    def check_end(self) -> None:
        """Raise ImportFailed where numbers are left over."""
        if self._at != len(self._data):
            raise ImportFailed(
                f"{len(self._data) - self._at} bytes of {self._file} are left over after the last layer: the weights "
                "belong to another cfg."
            )
