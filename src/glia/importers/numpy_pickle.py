"""Pickles of numpy arrays without pickle: those of Python 2 and 3, protocols 0 to 4.

An array is a call `_reconstruct(ndarray, (0,), 'b')` whose state `(version, shape, dtype, is_fortran, bytes)` follows;
a dtype is a call `dtype('f4', ...)` whose state holds the order of bytes. Python 2 writes bytes as text, which becomes
text of Latin-1 here, a character for each byte; Python 3 writes them in old protocols as a call of `_codecs.encode`.

Source: numpy/_core/src/multiarray/methods.c (array_reduce), descriptor.c (arraydescr_reduce); Lib/pickletools.py.
"""

from __future__ import annotations

import codecs
import math
import struct
from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import numpy as np
from jaxtyping import Shaped

from glia.core.errors import ImportFailed
from glia.importers.pickle_stream import OPCODES, PickleStream, Symbol

Array = Shaped[np.ndarray, "..."]
MAX_ELEMENTS = 1 << 29
MAX_DIMENSIONS = 16
MAX_LINE_BYTES = 1 << 31
MAX_DIGITS = 40
MAX_DEPTH = 50
MAX_VALUES = 1_000_000
NEWEST = 5
KINDS = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"}


def _fault(expected: str, received: object) -> ImportFailed:
    return ImportFailed(f"The pickle: expected {expected}, received {str(received)[:100]!r}. The file is damaged.")


class NumpyType:
    """A dtype in the making: its kind and size, then its order of bytes."""

    def __init__(self, arguments: tuple[object, ...]) -> None:
        name = _text(arguments[0]) if arguments else None
        if name not in KINDS:
            raise _fault(f"numbers as an array's type, one of {sorted(KINDS)}", name)
        self.dtype = np.dtype(name)

    def set_state(self, state: object) -> None:
        """The order of bytes is the second entry."""
        order = _text(state[1]) if isinstance(state, tuple) and len(state) > 1 else None
        if order == ">":
            self.dtype = self.dtype.newbyteorder(">")
        elif order not in ("<", "|", "="):
            raise _fault("an order of bytes", order)


class NumpyArray:
    """An array in the making: empty until its state has come."""

    def __init__(self) -> None:
        self.array: Array | None = None

    def set_state(self, state: object) -> None:
        """Shape, type and bytes, which must fit each other."""
        parts = state if isinstance(state, tuple) else ()
        parts = parts[1:] if len(parts) == 5 else parts
        if len(parts) != 4 or not isinstance(parts[1], NumpyType) or not isinstance(parts[0], tuple):
            raise _fault("an array's shape, type, order and bytes", type(state).__name__)
        shape, kind, is_fortran, raw = parts
        right = all(isinstance(size, int) and not isinstance(size, bool) and size >= 0 for size in shape)
        if not right or len(shape) > MAX_DIMENSIONS or prod(max(size, 1) for size in shape) > MAX_ELEMENTS:
            raise _fault("an array's shape", shape)
        data = _bytes(raw)
        if len(data) != prod(shape) * kind.dtype.itemsize:
            raise _fault(f"{prod(shape) * kind.dtype.itemsize} bytes for an array of {list(shape)}", len(data))
        array = np.frombuffer(data, np.dtype("u1") if kind.dtype.kind == "b" else kind.dtype)
        array = array.reshape(shape, order="F" if is_fortran is True else "C")
        array = array != 0 if kind.dtype.kind == "b" else array.astype(kind.dtype.newbyteorder("="))
        self.array = np.ascontiguousarray(array).reshape(shape)


def _text(value: object) -> str | None:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return value if isinstance(value, str) else None


def _bytes(value: object) -> bytes:
    """Raw numbers: bytes, or text with a character for each."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        try:
            return value.encode("latin-1")
        except UnicodeEncodeError:
            pass
    raise _fault("the bytes of an array", type(value).__name__)


def _reconstruct(arguments: tuple[object, ...]) -> NumpyArray:
    if len(arguments) != 3 or not isinstance(arguments[0], Symbol):
        raise _fault("an array made of its class, shape and type", f"{len(arguments)} values")
    return NumpyArray()


def _scalar(arguments: tuple[object, ...]) -> NumpyArray:
    if len(arguments) != 2 or not isinstance(arguments[0], NumpyType):
        raise _fault("a number made of its type and bytes", f"{len(arguments)} values")
    made = NumpyArray()
    made.set_state(((), arguments[0], False, arguments[1]))
    return made


def _encode(arguments: tuple[object, ...]) -> bytes:
    if len(arguments) != 2 or _text(arguments[1]) not in ("latin1", "latin-1", "ascii"):
        raise _fault("bytes written as Latin-1", f"{len(arguments)} values")
    return _bytes(arguments[0])


def _no_bytes(arguments: tuple[object, ...]) -> bytes:
    """How Python 3 writes empty bytes in old protocols."""
    if arguments:
        raise _fault("empty bytes", f"{len(arguments)} values")
    return b""


def _ordered(arguments: tuple[object, ...]) -> dict[object, object]:
    if arguments:
        raise _fault("an OrderedDict without arguments", f"{len(arguments)} values")
    return {}


def _inside(arguments: tuple[object, ...]) -> object:
    """Arrays that lay on a GPU are pickled as a call around the array."""
    if len(arguments) != 1 or not isinstance(arguments[0], NumpyArray):
        raise _fault("an array of a GPU made of an array", f"{len(arguments)} values")
    return arguments[0]


SYMBOLS: dict[str, Symbol] = {
    symbol.name: symbol
    for symbol in (
        *(Symbol(f"numpy.{core}.multiarray._reconstruct", _reconstruct) for core in ("core", "_core")),
        *(Symbol(f"numpy.{core}.multiarray.scalar", _scalar) for core in ("core", "_core")),
        Symbol("numpy.ndarray"),
        Symbol("numpy.dtype", NumpyType),
        Symbol("_codecs.encode", _encode),
        Symbol("__builtin__.bytes", _no_bytes),
        Symbol("collections.OrderedDict", _ordered),
        Symbol("theano.sandbox.cuda.type.CudaNdarray_unpickler", _inside),
    )
}


def _line(stream: PickleStream) -> bytes:
    """The rest of a line, as long as it is."""
    end = stream.data.find(b"\n", stream.position)
    if end < 0 or end - stream.position > MAX_LINE_BYTES:
        raise _fault("an end of line", "none")
    value = stream.data[stream.position : end]
    stream.position = end + 1
    return value


def _integer(stream: PickleStream) -> int | bool:
    text = _line(stream).removesuffix(b"L")
    if text in (b"00", b"01"):
        return text == b"01"
    if len(text) > MAX_DIGITS or not text.lstrip(b"-").isdigit():
        raise _fault("a whole number", text)
    return int(text)


def _float(stream: PickleStream) -> float:
    text = _line(stream)
    try:
        value = float(text) if len(text) <= MAX_DIGITS else math.nan
    except ValueError:
        value = math.nan
    if math.isnan(value) and text != b"nan":
        raise _fault("a number", text)
    return value


def _quoted(stream: PickleStream) -> str:
    """Text of Python 2 in quotes, with escapes."""
    raw = _line(stream).rstrip()
    if len(raw) < 2 or raw[:1] != raw[-1:] or raw[:1] not in (b"'", b'"'):
        raise _fault("text in quotes", raw[:20])
    try:
        plain, _ = codecs.escape_decode(raw[1:-1])
    except ValueError:
        raise _fault("text with escapes", raw[:20]) from None
    return bytes(plain).decode("latin-1")


def _unicode(stream: PickleStream) -> str:
    raw = _line(stream)
    try:
        return raw.decode("raw-unicode-escape")
    except UnicodeDecodeError:
        raise _fault("text", raw[:20]) from None


def _key(stream: PickleStream) -> int:
    number = _integer(stream)
    if number < 0:
        raise _fault("a number of the memo", number)
    return int(number)


def _pairs(stream: PickleStream) -> None:
    items = stream.pop_to_mark()
    stream.push({})
    stream.update(items)


def _global(stream: PickleStream) -> None:
    """The global that the two texts on the stack name."""
    name, module = _text(stream.pop()), _text(stream.pop())
    stream.push_symbol(f"{module}.{name}")


def _latin(layout: str) -> Callable[[PickleStream], None]:
    return lambda stream: stream.push(stream.take(_size(stream, layout)).decode("latin-1"))


def _raw(layout: str) -> Callable[[PickleStream], None]:
    return lambda stream: stream.push(stream.take(_size(stream, layout)))


def _size(stream: PickleStream, layout: str) -> int:
    size = stream.number(layout)
    if size < 0:
        raise _fault("a length", size)
    return size


NUMPY_OPCODES: Mapping[int, Callable[[PickleStream], object]] = OPCODES | {
    ord("T"): _latin("<i"),
    ord("U"): _latin("<B"),
    ord("B"): _raw("<I"),
    ord("C"): _raw("<B"),
    ord("S"): lambda s: s.push(_quoted(s)),
    ord("V"): lambda s: s.push(_unicode(s)),
    ord("I"): lambda s: s.push(_integer(s)),
    ord("L"): lambda s: s.push(_integer(s)),
    ord("F"): lambda s: s.push(_float(s)),
    ord("p"): lambda s: s.remember(_key(s)),
    ord("g"): lambda s: s.recall(_key(s)),
    ord("l"): lambda s: s.push(s.pop_to_mark()),
    ord("d"): _pairs,
    0x8C: lambda s: s.push(s.text(s.number("<B"))),
    0x8D: lambda s: s.push(s.text(_size(s, "<q"))),
    0x8E: _raw("<q"),
    0x93: _global,
    0x94: lambda s: s.remember(),
    0x95: lambda s: s.take(8),  # a frame: the next so many bytes could be read at once
}


def read_pickle(data: bytes) -> object:
    """Lists, dicts, numbers, text and arrays of a pickle. Raises ImportFailed."""
    stream = PickleStream(data, SYMBOLS, opcodes=NUMPY_OPCODES, newest=NEWEST)
    try:
        value = stream.read()
    except (struct.error, RecursionError) as error:
        raise _fault("a pickle of numpy arrays", type(error).__name__) from None
    return value


def arrays_in(value: object) -> list[Array]:
    """All arrays of nested lists and tuples, in their order. Raises ImportFailed for anything else in them."""
    found: list[Array] = []
    waiting: list[tuple[Any, int]] = [(value, 0)]
    met = 0
    while waiting:
        entry, depth = waiting.pop()
        met += 1
        if depth > MAX_DEPTH or met > MAX_VALUES:
            raise _fault(f"lists of arrays, at most {MAX_DEPTH} deep", "more")
        if isinstance(entry, NumpyArray):
            if entry.array is None:
                raise _fault("an array with its numbers", "one without")
            found.append(entry.array)
        elif isinstance(entry, list | tuple):
            waiting += [(inner, depth + 1) for inner in reversed(entry)]
        else:
            raise _fault("arrays only", type(entry).__name__)
    return found
