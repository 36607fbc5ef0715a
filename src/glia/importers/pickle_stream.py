"""Pickle streams without pickle: an interpreter of the few opcodes that hold numbers, strings, lists, dicts and tuples.

A pickle is a program for a small stack machine. Python's own interpreter of it imports and calls whatever the stream
names, so a hostile file runs code. This one knows no import: a global is looked up in a table that the caller gives,
and what is not in the table is refused. It never compares, hashes or prints what a stream nests, so depth and cycles
do no harm; what remains to be bounded are the numbers of opcodes, of memo entries and of things on the stack.

Source: the comments of Lib/pickletools.py in CPython, which are the format's specification. Protocols up to 2 here;
those that pickles of numpy need beyond are in `numpy_pickle`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from glia.core.errors import ImportFailed

MAX_OPCODES = 4_000_000
MAX_STACK = 200_000
MAX_MARKS = 200
MAX_MEMO = 1_000_000
MAX_LONG_BYTES = 16
MAX_GLOBAL_BYTES = 200
MAX_PROTOCOL = 2


@dataclass(frozen=True)
class Symbol:
    """A global that a stream may name; stands for the Python object of that name and never is it.

    `build` gives the value of a call from the call's arguments; None forbids calls.
    """

    name: str
    build: Callable[[tuple[object, ...]], object] | None = None


@runtime_checkable
class Stateful(Protocol):
    """What a symbol's call gives where the pickle sets its state afterwards."""

    def set_state(self, state: object) -> None:
        """Take the state. Raises ImportFailed."""
        ...


def _no_reference(reference: object) -> object:
    raise ImportFailed("The pickle refers to data outside itself, expected none here. The file is damaged.")


class PickleStream:
    """Reads the pickles that follow each other in `data`, from `position` on.

    `symbols` maps `module.name` to what stands for it; `resolve` turns a persistent id into a value.
    Every fault of the stream is an ImportFailed.
    """

    def __init__(
        self,
        data: bytes,
        symbols: Mapping[str, Symbol],
        resolve: Callable[[object], object] = _no_reference,
        position: int = 0,
        opcodes: Mapping[int, Callable[[PickleStream], object]] | None = None,
        newest: int = MAX_PROTOCOL,
    ) -> None:
        self._opcodes = OPCODES if opcodes is None else opcodes
        self._newest = newest
        self.data = data
        self.position = position
        self._symbols = symbols
        self._resolve = resolve
        self._left = MAX_OPCODES
        self._stack: list[object] = []
        self._marks: list[int] = []
        self._memo: dict[int, object] = {}

    def read(self) -> object:
        """The value of the next pickle; `position` is then the byte after it."""
        self._stack, self._marks, self._memo = [], [], {}
        while (code := self.take(1)[0]) != STOP:
            step = self._opcodes.get(code)
            if step is None:
                raise self._fault(
                    f"opcode 0x{code:02x}", "the opcodes that hold tensors", "Save the state dict alone, not objects."
                )
            step(self)
            self._left -= 1
            if self._left < 0:
                raise self._fault(f"more than {MAX_OPCODES} opcodes", "a state dict")
            if len(self._stack) > MAX_STACK or len(self._marks) > MAX_MARKS or len(self._memo) > MAX_MEMO:
                raise self._fault(
                    f"{len(self._stack)} values on the stack, {len(self._marks)} marks, {len(self._memo)} memo entries",
                    f"at most {MAX_STACK}, {MAX_MARKS} and {MAX_MEMO}",
                )
        if self._marks or len(self._stack) != 1:
            raise self._fault(f"{len(self._stack)} values at its end", "one value")
        return self._stack[0]

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        start, self.position = self.position, self.position + count
        if self.position > len(self.data):
            self.position = start
            raise self._fault(f"only {len(self.data) - start} bytes more", f"{count} more bytes", "It is cut short.")
        return self.data[start : self.position]

    def number(self, layout: str) -> int:
        """The next integer, in the notation of `struct`."""
        value: int = struct.unpack(layout, self.take(struct.calcsize(layout)))[0]
        return value

    def text(self, length: int) -> str:
        """The next `length` bytes as a string."""
        raw = self.take(length)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise self._fault("bytes that are no UTF-8", "a string") from None

    def line(self) -> str:
        """The rest of the line as a string, without its end."""
        end = self.data.find(b"\n", self.position, self.position + MAX_GLOBAL_BYTES)
        if end < 0:
            raise self._fault("no end of line", f"a name of at most {MAX_GLOBAL_BYTES} bytes")
        value = self.text(end - self.position)
        self.position = end + 1
        return value

    def push(self, value: object) -> None:
        """Put a value on the stack."""
        self._stack.append(value)

    def pop(self) -> object:
        """Take the top of the stack, never what lies below the last mark."""
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise self._fault("an empty stack", "a value on it")
        return self._stack.pop()

    def top(self) -> object:
        """Look at the top of the stack."""
        value = self.pop()
        self._stack.append(value)
        return value

    def mark(self) -> None:
        """Remember the height of the stack."""
        self._marks.append(len(self._stack))

    def pop_to_mark(self) -> list[object]:
        """Take everything above the last mark."""
        if not self._marks:
            raise self._fault("no mark", "a mark on the stack")
        start = self._marks.pop()
        values = self._stack[start:]
        del self._stack[start:]
        return values

    def remember(self, key: int | None = None) -> None:
        """Put the top of the stack into the memo, under the next number unless one is given."""
        self._memo[len(self._memo) if key is None else key] = self.top()

    def recall(self, key: int) -> None:
        """Push what the memo holds under `key`."""
        if key not in self._memo:
            raise self._fault(f"memo entry {key}, never written", "an entry written before")
        self.push(self._memo[key])

    def extend(self, items: list[object]) -> None:
        """Append `items` to the list on top of the stack."""
        target = self.top()
        if not isinstance(target, list):
            raise self._fault(f"a {type(target).__name__} to append to", "a list")
        target.extend(items)

    def update(self, items: list[object]) -> None:
        """Set keys and values, one after the other in `items`, in the dict on top of the stack."""
        target = self.top()
        if not isinstance(target, dict):
            raise self._fault(f"a {type(target).__name__} to set items of", "a dict")
        if len(items) % 2:
            raise self._fault("a key without value", "pairs of key and value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[self.key(key)] = value

    def key(self, value: object) -> str | int:
        """A dict's key: only strings and 64-bit integers, whose hashes cannot be made to collide at will."""
        if isinstance(value, str) or (isinstance(value, int) and -(2**63) <= value < 2**63):
            return value
        raise self._fault(f"a {type(value).__name__} as key of a dict", "a string or a 64-bit integer")

    def long(self) -> None:
        """Push an integer of up to 16 bytes, little endian, two's complement."""
        size = self.number("<B")
        if size > MAX_LONG_BYTES:
            raise self._fault(f"an integer of {size} bytes", f"at most {MAX_LONG_BYTES}")
        self.push(int.from_bytes(self.take(size), "little", signed=True))

    def protocol(self) -> None:
        """Check the protocol's number."""
        if (version := self.number("<B")) > self._newest:
            raise self._fault(f"protocol {version}", f"at most {self._newest}", "Save with torch.save's defaults.")

    def symbol(self) -> None:
        """Push what stands for the global that the next two lines name."""
        self.push_symbol(f"{self.line()}.{self.line()}")

    def push_symbol(self, name: str) -> None:
        """Push what stands for a global."""
        if name not in self._symbols:
            raise self._fault(
                f"the global {name!r}",
                "only what a state dict needs (" + ", ".join(sorted(self._symbols)) + ")",
                "Save the state dict alone: torch.save(model.state_dict(), path).",
            )
        self.push(self._symbols[name])

    def reduce(self) -> None:
        """Call a symbol with a tuple of arguments."""
        arguments, target = self.pop(), self.pop()
        if not isinstance(target, Symbol) or target.build is None:
            name = target.name if isinstance(target, Symbol) else f"a {type(target).__name__}"
            raise self._fault(f"a call of {name}", "a call that makes a tensor or a dict")
        if not isinstance(arguments, tuple):
            raise self._fault(f"a {type(arguments).__name__} as arguments of {target.name}", "a tuple")
        self.push(target.build(arguments))

    def build(self) -> None:
        """Set the state of what takes one; drop the attributes of a dict (an OrderedDict's `_metadata`, say)."""
        state = self.pop()
        if isinstance(target := self.top(), Stateful):
            target.set_state(state)
        elif not isinstance(target, dict):
            raise self._fault(f"attributes of a {type(target).__name__}", "attributes of a dict only")

    def persistent(self) -> None:
        """Replace a persistent id by what it refers to."""
        self.push(self._resolve(self.pop()))

    def _fault(
        self, received: str, expected: str, remedy: str = "The file is damaged or holds more than tensors."
    ) -> ImportFailed:
        return ImportFailed(f"The pickle at byte {self.position}: expected {expected}, received {received}. {remedy}")


STOP = ord(".")


def _tuple_of(count: int) -> Callable[[PickleStream], None]:
    def step(stream: PickleStream) -> None:
        values = [stream.pop() for _ in range(count)]
        stream.push(tuple(reversed(values)))

    return step


OPCODES: dict[int, Callable[[PickleStream], object]] = {
    0x80: PickleStream.protocol,
    ord("N"): lambda s: s.push(None),
    0x88: lambda s: s.push(True),
    0x89: lambda s: s.push(False),
    ord("J"): lambda s: s.push(s.number("<i")),
    ord("K"): lambda s: s.push(s.number("<B")),
    ord("M"): lambda s: s.push(s.number("<H")),
    0x8A: PickleStream.long,
    ord("G"): lambda s: s.push(struct.unpack(">d", s.take(8))[0]),
    ord("X"): lambda s: s.push(s.text(s.number("<I"))),
    ord("T"): lambda s: s.push(s.text(s.number("<I"))),
    ord("U"): lambda s: s.push(s.text(s.number("<B"))),
    ord("}"): lambda s: s.push({}),
    ord("]"): lambda s: s.push([]),
    ord(")"): lambda s: s.push(()),
    0x85: _tuple_of(1),
    0x86: _tuple_of(2),
    0x87: _tuple_of(3),
    ord("("): PickleStream.mark,
    ord("t"): lambda s: s.push(tuple(s.pop_to_mark())),
    ord("0"): PickleStream.pop,
    ord("1"): PickleStream.pop_to_mark,
    ord("2"): lambda s: s.push(s.top()),
    ord("a"): lambda s: s.extend([s.pop()]),
    ord("e"): lambda s: s.extend(s.pop_to_mark()),
    ord("s"): lambda s: s.update([s.pop(), s.pop()][::-1]),
    ord("u"): lambda s: s.update(s.pop_to_mark()),
    ord("q"): lambda s: s.remember(s.number("<B")),
    ord("r"): lambda s: s.remember(s.number("<I")),
    ord("h"): lambda s: s.recall(s.number("<B")),
    ord("j"): lambda s: s.recall(s.number("<I")),
    ord("c"): PickleStream.symbol,
    ord("R"): PickleStream.reduce,
    ord("b"): PickleStream.build,
    ord("Q"): PickleStream.persistent,
}
