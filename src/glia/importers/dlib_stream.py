"""dlib's serialisation: integers, floats, strings, tensors and layers' details, one after another without any table.

An integer is a control byte (0x80: negative; low bits: how many bytes) and its magnitude, a float a mantissa and an
exponent of 2 as two integers, a boolean the letter 1 or 0. A tensor says its version, four sizes, and raw float32.

Source: dlib, serialize.h and dnn/layers.h (Boost Software Licence).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf, ldexp, nan, prod
from typing import Any

import numpy as np
from jaxtyping import Float32

from glia.core.errors import ImportFailed

MAX_TEXT_BYTES = 1 << 12
MAX_EXPONENT = 127
SPECIAL = {32000: inf, 32001: -inf, 32002: nan}
Array = Float32[np.ndarray, "..."]


class Stream:
    """Reads one value after the other; every read raises ImportFailed where the bytes are none such."""

    def __init__(self, data: bytes, file: str) -> None:
        self.data, self.file, self.at = data, file, 0

    def fault(self, expected: str, received: str) -> ImportFailed:
        """An error that tells where."""
        return ImportFailed(f"{self.file} at byte {self.at}: expected {expected}, received {received}.")

    def take(self, count: int) -> bytes:
        """So many bytes."""
        if count < 0 or self.at + count > len(self.data):
            raise self.fault(f"{count} bytes", f"{len(self.data) - self.at}: the file is cut short")
        self.at += count
        return self.data[self.at - count : self.at]

    def integer(self) -> int:
        """A number with its sign."""
        control = self.take(1)[0]
        size = control & 0x0F
        if control & 0x70 or not 1 <= size <= 8:
            raise self.fault("the control byte of an integer", f"0x{control:02x}")
        magnitude = int.from_bytes(self.take(size), "little")
        return -magnitude if control & 0x80 else magnitude

    def count(self, most: int) -> int:
        """A number from 0 to `most`."""
        value = self.integer()
        if not 0 <= value <= most:
            raise self.fault(f"a number from 0 to {most}", str(value))
        return value

    def version(self, *known: int) -> int:
        """The version of what follows."""
        value = self.integer()
        if value not in known:
            raise self.fault(f"a version out of {sorted(known)}", str(value))
        return value

    def real(self) -> float:
        """A float: mantissa, then exponent."""
        mantissa, exponent = self.integer(), self.integer()
        if exponent in SPECIAL:
            return SPECIAL[exponent]
        if not -2000 < exponent < 1100:
            raise self.fault("the exponent of a float", str(exponent))
        if abs(mantissa).bit_length() + exponent > MAX_EXPONENT:
            raise self.fault("a float of 32 bits", f"{mantissa} * 2^{exponent}")
        return ldexp(mantissa, exponent)

    def flag(self) -> bool:
        """A boolean."""
        letter = self.take(1)
        if letter not in (b"0", b"1"):
            raise self.fault("the letter 0 or 1", letter.hex())
        return letter == b"1"

    def text(self) -> str:
        """A string."""
        return self.take(self.count(MAX_TEXT_BYTES)).decode("utf-8", "replace")

    def begins_text(self, start: bytes) -> bool:
        """Whether a string that starts so is next."""
        return self.data[self.at : self.at + 1] == b"\x01" and self.data[self.at + 2 :].startswith(start) if (
            self.at + 2 + len(start) <= len(self.data)
        ) else False  # fmt: skip

    def tensor(self) -> Array:
        """Items, channels, rows, columns of float32."""
        self.version(2)
        shape = tuple(self.count(1 << 31) for _ in range(4))
        count = prod(shape)
        if 4 * count > len(self.data) - self.at:
            raise self.fault(f"a tensor of {list(shape)}", f"{len(self.data) - self.at} bytes more")
        return np.frombuffer(self.take(4 * count), "<f4").reshape(shape)

    def window(self) -> tuple[int, ...]:
        """The shape of a part of a layer's parameters."""
        self.version(1)
        return tuple(self.count(1 << 31) for _ in range(4))

    def matrix(self) -> Array:
        """Rows and columns, negative in the present form, and the numbers one by one."""
        rows, columns = abs(self.integer()), abs(self.integer())
        if rows * columns * 4 > len(self.data) - self.at:
            raise self.fault(f"a matrix of {rows} x {columns}", f"{len(self.data) - self.at} bytes more")
        return np.array([self.real() for _ in range(rows * columns)], np.float32).reshape(rows, columns)


@dataclass(frozen=True)
class Record:
    """What a file says of one layer; a marker is a tag or a skip, which say nothing."""

    kind: str
    numbers: Mapping[str, int | float | bool] = field(default_factory=dict)
    arrays: Mapping[str, Array] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.numbers[name]


MARKER = Record("marker")


def _parts(stream: Stream, params: Array, *names: str) -> dict[str, Array]:
    """The parameters cut up by windows that follow."""
    shapes, flat, found, at = [stream.window() for _ in names], params.reshape(-1), {}, 0
    if sum(prod(shape) for shape in shapes) != flat.size:
        raise stream.fault(f"parameters of {[list(shape) for shape in shapes]}", f"{flat.size} numbers")
    for name, shape in zip(names, shapes, strict=True):
        found[name] = _finite(stream, flat[at : at + prod(shape)].reshape(shape))
        at += prod(shape)
    return found


def _finite(stream: Stream, array: Array) -> Array:
    if not np.isfinite(array).all():
        raise stream.fault("weights", "infinities or NaN")
    return array


def _ints(stream: Stream, *names: str) -> dict[str, int | float | bool]:
    return {name: stream.count(1 << 20) for name in names}


def _con(stream: Stream, kind: str) -> Record:
    params = stream.tensor()
    numbers = _ints(stream, "filters", "rows", "columns", "stride_y", "stride_x", "pad_y", "pad_x")
    shapes_at = stream.at
    filters, biases = stream.window(), stream.window()
    stream.at = shapes_at
    if prod(filters) == params.size:  # made without a bias
        arrays = {"filters": _finite(stream, params.reshape(filters))}
        stream.window(), stream.window()
    else:
        assert len(biases) == 4
        arrays = _parts(stream, params, "filters", "biases")
    _ = [stream.real() for _ in range(4)]  # learning rates
    numbers["use_bias"] = stream.flag() if kind in ("con_5", "con_6") else True
    numbers["use_relu"] = stream.flag() if kind == "con_6" else False
    return Record(kind, numbers, arrays)


def _affine(stream: Stream, kind: str) -> Record:
    params = stream.tensor()
    if params.size:
        arrays = _parts(stream, params, "gamma", "beta")
    else:  # fused into the layer before
        arrays = {}
        stream.window(), stream.window()
    mode = stream.count(1)
    disabled = stream.flag() if kind == "affine_2" else False
    if not arrays and not disabled:
        raise stream.fault("parameters of an affine layer", "none")
    return Record(kind, {"by_element": mode == 1, "disabled": disabled}, arrays)


def _bn(stream: Stream, kind: str) -> Record:
    arrays = _parts(stream, stream.tensor(), "gamma", "beta")
    rest = [stream.tensor() for _ in range(4)]  # of the last batch, and running ones
    mean, variance = _finite(stream, rest[2]), _finite(stream, rest[3])
    _ = stream.integer(), stream.integer(), [stream.real() for _ in range(4)]
    epsilon = stream.real()
    if mean.shape != arrays["gamma"].shape or variance.shape != mean.shape or not (variance + epsilon > 0).all():
        raise stream.fault("a mean and a variance for each number", f"{list(mean.shape)}, {list(variance.shape)}")
    return Record(
        kind, {"epsilon": epsilon, "by_element": kind == "bn_fc2"}, arrays | {"mean": mean, "variance": variance}
    )


def _fc(stream: Stream, kind: str) -> Record:
    numbers = _ints(stream, "outputs", "inputs")
    params = stream.tensor()
    shapes = [stream.window(), stream.window()]
    plain = stream.count(1) == 1
    _ = [stream.real() for _ in range(4)]
    if kind == "fc_3":
        plain = not stream.flag() or plain
    outputs, inputs = int(numbers["outputs"]), int(numbers["inputs"])
    if params.size != (inputs + (0 if plain else 1)) * outputs:
        raise stream.fault(f"a matrix of {inputs} x {outputs}", f"{params.size} numbers, {shapes}")
    matrix = _finite(stream, params.reshape(-1, outputs))
    arrays = {"weights": matrix[:inputs]} | ({} if plain else {"biases": matrix[inputs]})
    return Record(kind, numbers, arrays)


def _pool(stream: Stream, kind: str) -> Record:
    return Record(kind, _ints(stream, "rows", "columns", "stride_y", "stride_x", "pad_y", "pad_x"))


LAYERS: dict[str, Callable[[Stream, str], Record]] = {
    **dict.fromkeys(("con_4", "con_5", "con_6"), _con),
    **dict.fromkeys(("affine_", "affine_2"), _affine),
    **dict.fromkeys(("bn_con2", "bn_fc2"), _bn),
    **dict.fromkeys(("fc_2", "fc_3"), _fc),
    **dict.fromkeys(("max_pool_2", "avg_pool_2"), _pool),
    "relu_": lambda stream, kind: Record(kind),
    "relu_2": lambda stream, kind: Record(kind, {"disabled": stream.flag()}),
    "add_prev_": lambda stream, kind: Record(kind),
}


def read_layer(stream: Stream) -> Record:
    """The details of a layer."""
    kind = stream.text()
    if kind not in LAYERS:
        raise stream.fault(f"a layer out of {sorted(LAYERS)}", repr(kind[:100]))
    return LAYERS[kind](stream, kind)


def skip_state(stream: Stream, kind: str) -> None:
    """What training left in a layer: flags, then gradients and outputs. Raises ImportFailed for one without weights."""
    ready = stream.flag()
    stream.flag(), stream.flag()
    for _ in range(3):
        stream.tensor()
    if not ready:
        raise stream.fault(f"a {kind} that was set up", "one that never saw data, and so has no weights")
