"""The Open Inference Protocol on the wire: bodies to tensors, tensors to bodies.

Plain Python (struct, memoryview): a binary tensor is a slice of the body, and numbers in JSON need no numpy.
Source: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
Source: https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glia.api.http.body import parse_json
from glia.core.errors import InputError
from glia.core.parts import Buffer
from glia.serve.tensors import SIZES, Packed, join_elements, shown

DTYPES: Mapping[str, str] = {
    "BOOL": "bool",
    **{f"{kind.upper()}{bits}": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": f"float{bits}" for bits in (16, 32, 64)},
    "BYTES": "bytes",
}
"""The protocol's datatypes to dtypes."""

DATATYPES: Mapping[str, str] = {dtype: datatype for datatype, dtype in DTYPES.items()} | {"bfloat16": "BF16"}

_CODES: Mapping[str, str] = {
    "bool": "?",
    **{f"int{bits}": code for bits, code in ((8, "b"), (16, "h"), (32, "i"), (64, "q"))},
    **{f"uint{bits}": code for bits, code in ((8, "B"), (16, "H"), (32, "I"), (64, "Q"))},
    **{f"float{bits}": code for bits, code in ((16, "e"), (32, "f"), (64, "d"))},
}
"""Dtypes to struct's letters."""


@dataclass(frozen=True)
class Wanted:
    """An output that is asked for."""

    name: str
    binary: bool | None
    """Whether as raw bytes; as the whole request says where None."""

    classes: int
    """How many of its highest values, by name; 0 for the tensor itself."""


@dataclass(frozen=True)
class InferBody:
    """An inference request as it came."""

    id: str
    parameters: Mapping[str, Any]
    tensors: tuple[Packed, ...]
    outputs: tuple[Wanted, ...]
    from_text: bool
    """Whether the first tensor's elements are JSON strings, as they came."""

    def is_binary(self, name: str) -> bool:
        """Whether an output is wanted as raw bytes."""
        whole = self.parameters.get("binary_data_output") is True
        return next((whole if out.binary is None else out.binary for out in self.outputs if out.name == name), whole)


def parse(body: bytes, header_length: str | None) -> InferBody:
    """A body; `header_length` is its `Inference-Header-Content-Length`, without which all of it is JSON.

    Raises InputError for what is no inference request, or promises other bytes than it has.
    """
    size = len(body)
    if header_length is not None:
        size = int(header_length) if header_length.isascii() and header_length.isdigit() else -1
        if not 0 <= size <= len(body):
            raise InputError(
                f"Expected as Inference-Header-Content-Length the bytes of JSON before the tensors, at most the "
                f"{len(body):,} of the body, received {header_length[:40]!r}."
            )
    head = _object(parse_json(body[:size] if size < len(body) else body), "the body")
    inputs = _list(head.get("inputs"), "inputs")
    if not inputs:
        raise InputError("Expected at least one tensor in `inputs`, received none.")
    raw = _Raw(memoryview(body)[size:], header_length is not None)
    tensors = tuple(_tensor(_object(tensor, "a tensor of `inputs`"), raw) for tensor in inputs)
    raw.end()
    names = [tensor.name for tensor in tensors]
    if len(set(names)) < len(names):
        raise InputError(f"Expected each input once, received {', '.join(names)}.")
    id = head.get("id", "")
    if not isinstance(id, str):
        raise InputError(f"Expected text as `id`, received {type(id).__name__}.")
    outputs = tuple(_wanted(_object(output, "an output")) for output in _list(head.get("outputs"), "outputs"))
    text = "data" in inputs[0] and _parameters(inputs[0]).get("content_type") != "base64"
    return InferBody(id, _parameters(head), tensors, outputs, text)


class _Raw:
    """The bytes after the JSON, handed out in the order of the inputs."""

    def __init__(self, data: memoryview, announced: bool) -> None:
        self._data = data
        self._place = 0
        self._announced = announced

    def take(self, name: str, size: object) -> memoryview:
        if not self._announced:
            raise InputError(
                f"Tensor {name} has `binary_data_size`, but the request lacks the header "
                "Inference-Header-Content-Length, which says where its bytes begin."
            )
        left = len(self._data) - self._place
        if type(size) is not int or not 0 <= size <= left:
            raise InputError(
                f"Tensor {name}: expected a binary_data_size of at most the {left:,} bytes that follow, "
                f"received {size!r:.40}."
            )
        self._place += size
        return self._data[self._place - size : self._place]

    def end(self) -> None:
        left = len(self._data) - self._place
        if left:
            raise InputError(f"{left:,} bytes after the tensors belong to none of them.")


def _tensor(spec: Mapping[str, Any], raw: _Raw) -> Packed:
    name, datatype, shape = spec.get("name"), spec.get("datatype"), _list(spec.get("shape"), "shape")
    if not isinstance(name, str):
        raise InputError("Expected a name of each tensor in `inputs`, received one without.")
    if not isinstance(datatype, str) or datatype not in DTYPES:
        hint = " BF16 is not offered; send FP32, which holds every number of it." if datatype == "BF16" else ""
        raise InputError(f"Tensor {name}: expected one of {', '.join(DTYPES)}, received {datatype!r:.40}.{hint}")
    dtype, parameters = DTYPES[datatype], _parameters(spec)
    _no_shared_memory(name, parameters)
    Packed(name, dtype, tuple(shape), b"").check_shape()
    if "binary_data_size" in parameters:
        if "data" in spec:
            raise InputError(f"Tensor {name}: expected `data` or `binary_data_size`, received both.")
        data: Buffer = raw.take(name, parameters["binary_data_size"])
    else:
        data = _packed(name, dtype, shape, spec.get("data"))
    tensor = Packed(name, dtype, tuple(shape), data)
    tensor.check()
    if dtype == "bytes" and parameters.get("content_type") == "base64":
        tensor = Packed(name, dtype, tensor.shape, join_elements(_unbase64(name, one) for one in tensor.elements()))
    return tensor


def _packed(name: str, dtype: str, shape: Sequence[int], data: object) -> bytes:
    """JSON data, flat or nested as the shape says, to its buffer."""
    flat = _flat(name, shape, data)
    try:
        if dtype == "bytes":
            if not all(isinstance(text, str) for text in flat):
                raise ValueError("text is its elements")
            return join_elements(text.encode() for text in flat)
        if dtype == "bool":
            if not all(value is True or value is False or value in (0, 1) for value in flat):
                raise ValueError("true and false are its elements")
            return bytes(flat)
        if not all(type(value) in (int, float) for value in flat):
            raise ValueError("numbers are its elements")
        return struct.Struct(f"<{len(flat)}{_CODES[dtype]}").pack(*flat)
    except (struct.error, OverflowError, ValueError) as error:
        raise InputError(f"Tensor {name}: its data are not all of datatype {DATATYPES[dtype]} ({error}).") from error


def _flat(name: str, shape: Sequence[int], data: object) -> list[Any]:
    if not isinstance(data, list):
        raise InputError(f"Tensor {name}: expected `data` as a list, received {type(data).__name__}.")
    flat = data
    if len(shape) > 1 and data and isinstance(data[0], list):
        for size in shape[1:]:
            # Each row is looked at: lengths that differ could add up to the right sum.
            if not all(isinstance(row, list) and len(row) == size for row in flat):
                raise InputError(
                    f"Tensor {name}: expected lists in each other as {shown(shape)} says, or one flat list."
                )
            flat = list(itertools.chain.from_iterable(flat))
    count = math.prod(shape)
    if len(flat) != count:
        raise InputError(f"Tensor {name}: {shown(shape)} takes {count:,} elements, received {len(flat):,}.")
    return flat


def _unbase64(name: str, text: Buffer) -> bytes:
    try:
        return base64.b64decode(bytes(text), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"Tensor {name}: expected base64 as its content_type says, received other text.") from error


def _wanted(spec: Mapping[str, Any]) -> Wanted:
    name, parameters = spec.get("name"), _parameters(spec)
    if not isinstance(name, str):
        raise InputError("Expected a name of each tensor in `outputs`, received one without.")
    _no_shared_memory(name, parameters)
    binary, classes = parameters.get("binary_data"), parameters.get("classification", 0)
    if not (binary is None or isinstance(binary, bool)):
        raise InputError(f"Output {name}: expected true or false as binary_data, received {binary!r:.40}.")
    if type(classes) is not int or classes < 0:
        raise InputError(f"Output {name}: expected a number from 1 as classification, received {classes!r:.40}.")
    return Wanted(name, binary, classes)


def _no_shared_memory(name: str, parameters: Mapping[str, Any]) -> None:
    if "shared_memory_region" in parameters:
        raise InputError(f"Tensor {name}: shared memory is not offered; send its bytes in the body.")


def _object(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"Expected an object as {what}, received {type(value).__name__}.")
    return value


def _list(value: Any, what: str) -> list[Any]:
    if value is None and what == "outputs":
        return []
    if not isinstance(value, list):
        raise InputError(f"Expected a list as `{what}`, received {type(value).__name__}.")
    return value


def _parameters(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    return _object(spec.get("parameters") or {}, "`parameters`")


def render(request: InferBody, model: Mapping[str, str], outputs: Iterable[Packed]) -> tuple[bytes, int | None]:
    """The body of an answer, and the bytes of JSON before its tensors where any is binary.

    Raises InputError for numbers that JSON cannot express.
    """
    specs: list[dict[str, Any]] = []
    buffers: list[Buffer] = []
    for tensor in outputs:
        spec = {"name": tensor.name, "datatype": DATATYPES[tensor.dtype], "shape": list(tensor.shape)}
        if request.is_binary(tensor.name):
            buffers.append(tensor.data)
            specs.append(spec | {"parameters": {"binary_data_size": len(tensor.data)}})
        else:
            specs.append(spec | {"data": _values(tensor)})
    head = {**model, **({"id": request.id} if request.id else {}), "outputs": specs}
    try:
        text = json.dumps(head, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except ValueError as error:
        raise InputError(
            "An output holds infinity or what is no number, for which JSON has no words. Ask for binary_data."
        ) from error
    return b"".join([text, *buffers]), len(text) if buffers else None


def _values(tensor: Packed) -> list[Any]:
    if tensor.dtype != "bytes":
        count = len(tensor.data) // SIZES[tensor.dtype]
        return list(struct.Struct(f"<{count}{_CODES[tensor.dtype]}").unpack(tensor.data))
    try:
        return [str(element, "utf-8") for element in tensor.elements()]
    except UnicodeDecodeError as error:
        raise InputError(
            f"Output {tensor.name} is no text, for which JSON has no words. Ask for binary_data."
        ) from error
