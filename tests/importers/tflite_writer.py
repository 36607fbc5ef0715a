"""Writes TFLite files for tests: tensors, operators, options by the names that the importer reads them by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np

from glia.importers.tflite_ops.names import BUILTIN, CUSTOM, FIELDS

KINDS = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "bool": 6, "int16": 7, "int8": 9}
_UNION = (
    "CONV_2D DEPTHWISE_CONV_2D - - POOL SVDF RNN FULLY_CONNECTED SOFTMAX CONCATENATION ADD L2_NORMALIZATION "
    "LOCAL_RESPONSE_NORMALIZATION LSTM RESIZE_BILINEAR - RESHAPE - SPACE_TO_DEPTH - MUL PAD GATHER BATCH_TO_SPACE_ND "
    "SPACE_TO_BATCH_ND TRANSPOSE REDUCER SUB DIV SQUEEZE SEQUENCE_RNN STRIDED_SLICE EXP TOPK_V2 SPLIT LOG_SOFTMAX CAST "
    "DEQUANTIZE MAXIMUM ARG_MAX LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE TRANSPOSE_CONV - TILE "
    "EXPAND_DIMS EQUAL NOT_EQUAL SHAPE POW ARG_MIN FAKE_QUANT PACK LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK "
    "FLOOR_DIV SQUARE ZEROS_LIKE FILL BIDIRECTIONAL_SEQUENCE_LSTM BIDIRECTIONAL_SEQUENCE_RNN "
    "UNIDIRECTIONAL_SEQUENCE_LSTM FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS "
    "SPLIT_V - REVERSE_V2 ADD_N GATHER_ND COS WHERE RANK REVERSE_SEQUENCE - QUANTIZE - HARD_SWISH - - DEPTH_TO_SPACE - "
    "- SCATTER_ND SELECT_V2 - - BATCH_MATMUL CUMSUM - BROADCAST_TO - CONV_3D - - - - - - - - - GELU"
)
UNION = _UNION.split()
VERSIONS = {"BROADCAST_TO": 2}
SHARED = {
    "AVERAGE_POOL_2D": "POOL",
    "MAX_POOL_2D": "POOL",
    "L2_POOL_2D": "POOL",
    "UNIDIRECTIONAL_SEQUENCE_RNN": "SEQUENCE_RNN",
    "MINIMUM": "MAXIMUM",
    **dict.fromkeys(("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "REDUCE_ANY", "REDUCE_ALL"), "REDUCER"),
}


class Writer:
    """One graph; tensors are known by their numbers."""

    def __init__(self) -> None:
        self.builder = flatbuffers.Builder(1024)
        self.buffers: list[bytes] = [b""]
        self.tensors: list[dict[str, Any]] = []
        self.operators: list[tuple[str, Sequence[int], Sequence[int], dict[str, Any], bytes]] = []
        self.inputs: list[int] = []
        self.metadata: dict[str, bytes] = {}

    def tensor(
        self,
        shape: Sequence[int] = (),
        kind: str = "float32",
        scale: float | Sequence[float] = (),
        zero: int | Sequence[int] = 0,
        axis: int = 0,
        **more: Any,
    ) -> int:
        """One that is computed."""
        scale = [scale] if isinstance(scale, float | int) else list(scale)
        zero = [zero] * len(scale) if isinstance(zero, int) else list(zero)
        name = f"t{len(self.tensors)}"
        self.tensors.append(
            {"name": name, "shape": shape, "kind": kind, "scale": scale, "zero": zero, "axis": axis, "buffer": 0} | more
        )
        return len(self.tensors) - 1

    def input(self, shape: Sequence[int], kind: str = "float32", **more: Any) -> int:
        """One that comes in."""
        self.inputs.append(self.tensor(shape, kind, **more))
        return self.inputs[-1]

    def constant(self, value: Any, kind: str | None = None, **more: Any) -> int:
        """One whose numbers are in the file."""
        array = np.asarray(value)
        kind = kind or {"float64": "float32", "int64": "int32"}.get(str(array.dtype), str(array.dtype))
        self.buffers.append(array.astype(kind).tobytes())
        return self.tensor(array.shape, kind, **more, buffer=len(self.buffers) - 1)

    def op(self, kind: str, inputs: Sequence[int], outputs: int | Sequence[int] = 1, **options: Any) -> Any:
        """An operator; `outputs`: how many floats it makes, or tensors that are there. The output, or a list."""
        custom = options.pop("custom", b"")
        made = [self.tensor() for _ in range(outputs)] if isinstance(outputs, int) else list(outputs)
        self.operators.append((kind, inputs, made, options, custom))
        return made[0] if len(made) == 1 else made

    def finish(self, outputs: Sequence[int]) -> bytes:
        """The file."""
        b = self.builder
        metadata = []
        for name, content in self.metadata.items():
            self.buffers.append(content)
            metadata.append(self._table([("text", 0, name), ("<I", 1, len(self.buffers) - 1)]))
        buffers = [self._table([("bytes", 0, data)] if data else []) for data in self.buffers]
        kinds = list(dict.fromkeys(kind for kind, *_ in self.operators))
        codes = [self._code(kind) for kind in kinds]
        tensors = [self._tensor(entry) for entry in self.tensors]
        operators = [self._operator(kinds.index(entry[0]), *entry) for entry in self.operators]
        ends = [("ints", 1, self.inputs), ("ints", 2, outputs)]
        graph = self._table([("tables", 0, tensors), *ends, ("tables", 3, operators)])
        fields: list[Any] = [("<I", 0, 3), ("tables", 1, codes), ("tables", 2, [graph]), ("tables", 4, buffers)]
        b.Finish(self._table([*fields, ("tables", 6, metadata)]), b"TFL3")
        return bytes(b.Output())

    def _code(self, kind: str) -> int:
        if kind.startswith("CUSTOM "):
            return self._table([("<b", 0, CUSTOM), ("text", 1, kind[7:]), ("<i", 3, CUSTOM)])
        number = BUILTIN.index(kind)
        return self._table([("<b", 0, min(number, 127)), ("<i", 2, VERSIONS.get(kind, 1)), ("<i", 3, number)])

    def _tensor(self, entry: dict[str, Any]) -> int:
        fields: list[Any] = [("ints", 0, entry["shape"]), ("<b", 1, KINDS[entry["kind"]]), ("<I", 2, entry["buffer"])]
        if entry["scale"]:
            quantised = [("floats", 2, entry["scale"]), ("longs", 3, entry["zero"]), ("<i", 6, entry["axis"])]
            fields.append(("table", 4, self._table(quantised)))
        if "signature" in entry:
            fields.append(("ints", 7, entry["signature"]))
        return self._table([*fields, ("text", 3, entry["name"]), ("<?", 5, entry.get("variable", False))])

    def _operator(self, code: int, kind: str, inputs: Any, outputs: Any, options: dict[str, Any], custom: bytes) -> int:
        written = []
        for number, entry in enumerate(FIELDS.get(kind, "").split()):
            name, _, described = entry.partition(":")
            layout = described.partition("=")[0]
            if name in options:
                written.append(("ints" if layout == "[i]" else f"<{layout}", number, options.pop(name)))
        assert not options, f"{kind} has no options {options}"
        fields: list[Any] = [("<I", 0, code), ("ints", 1, inputs), ("ints", 2, outputs)]
        union = SHARED.get(kind, kind)
        if union in UNION:
            fields += [("<B", 3, UNION.index(union) + 1), ("table", 4, self._table(written))]
        return self._table([*fields, *([("bytes", 5, custom)] if custom else [])])

    def _table(self, fields: Sequence[tuple[str, int, Any]]) -> int:
        """A table of (type, number, value): what lies elsewhere is written first."""
        b, places = self.builder, []
        for layout, _, value in fields:
            if layout == "text":
                places.append(b.CreateString(value))
            elif layout == "bytes":
                b.StartVector(1, len(value), 16)
                b.head = b.head - len(value)
                b.Bytes[b.head : b.head + len(value)] = value
                places.append(b.EndVector())
            elif layout in ("ints", "floats", "longs"):
                places.append(b.CreateNumpyVector(np.array(value, {"i": "<i4", "f": "<f4", "l": "<i8"}[layout[0]])))
            elif layout == "tables":
                b.StartVector(4, len(value), 4)
                for place in reversed(value):
                    b.PrependUOffsetTRelative(place)
                places.append(b.EndVector())
            else:
                places.append(value)
        b.StartObject(max((number for _, number, _ in fields), default=-1) + 1)
        for (layout, number, _), place in zip(fields, places, strict=True):
            if layout[0] != "<":
                b.PrependUOffsetTRelativeSlot(number, place, 0)
            else:
                slot = {"b": "Int8", "B": "Uint8", "?": "Bool", "i": "Int32", "I": "Uint32", "f": "Float32"}[layout[1]]
                b.ForceDefaults(True)
                getattr(b, f"Prepend{slot}Slot")(number, place, 0)
                b.ForceDefaults(False)
        return int(b.EndObject())
