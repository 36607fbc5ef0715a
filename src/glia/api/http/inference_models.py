"""Models in the words of the Open Inference Protocol: metadata, configuration, statistics.

Source: https://github.com/triton-inference-server/common/blob/main/protobuf/model_config.proto
Source: https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_statistics.md
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from glia.api.http.inference_wire import DATATYPES
from glia.serve.statistics import Account, Duration

PLATFORM = "onnx_onnxv1"
MOST_ROWS = 1000
"""The most encoded media in one request, and the batch announced where the first axis is free: tensors have no limit
but the body's."""


def metadata(name: str, versions: Sequence[str], facts: Mapping[str, Any]) -> dict[str, Any]:
    """`facts`: of one graph, as its replica told them."""
    return {
        "name": name,
        "versions": list(versions),
        "platform": PLATFORM,
        **{
            side: [
                {"name": spec["name"], "datatype": _datatype(spec), "shape": _sizes(spec["shape"])}
                for spec in facts[side]
            ]
            for side in ("inputs", "outputs")
        },
    }


def config(name: str, facts: Mapping[str, Any], lanes: int, media: str | None) -> dict[str, Any]:
    """`media`: the kind that the service takes encoded, in place of its tensors."""
    specs = [*facts["inputs"], *facts["outputs"]]
    batched = bool(specs) and all(spec["shape"] and spec["shape"][0] is None for spec in specs)

    def tensor(spec: Mapping[str, Any]) -> dict[str, Any]:
        dims = _sizes(spec["shape"][1:] if batched else spec["shape"])
        datatype = _datatype(spec)
        return {
            "name": spec["name"],
            "data_type": "TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}",
            "dims": dims,
        }

    inputs = [tensor(spec) for spec in facts["inputs"]]
    for one in inputs:
        one["format"] = _format(one["dims"]) if media == "image" else "FORMAT_NONE"
    told = f"a BYTES tensor [N] of encoded {media} files, of any name, is taken in place of the inputs"
    return {
        "name": name,
        "platform": PLATFORM,
        "backend": str(facts.get("runtime", "onnxruntime")).partition(" ")[0],
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": MOST_ROWS if batched else 0,
        "input": inputs,
        "output": [tensor(spec) for spec in facts["outputs"]],
        "instance_group": [{"name": name, "kind": "KIND_CPU", "count": lanes}],
        "default_model_filename": "graph.onnx",
        "parameters": {"encoded_input": {"string_value": told}} if media else {},
    }


def statistics(name: str, version: str, account: Account) -> dict[str, Any]:
    """Counts, and durations added up [ns]; nothing is cached, so there are no hits."""
    durations = {**account.durations, "cache_hit": Duration(), "cache_miss": Duration()}
    return {
        "name": name,
        "version": version,
        "last_inference": int(account.last * 1000),
        "inference_count": account.inferences,
        "execution_count": account.executions,
        "inference_stats": {part: {"count": spent.count, "ns": spent.ns} for part, spent in durations.items()},
        "batch_stats": [],
        "memory_usage": [],
        "response_stats": {},
    }


def _datatype(spec: Mapping[str, Any]) -> str:
    return DATATYPES.get(spec["dtype"], str(spec["dtype"]))


def _sizes(shape: Sequence[int | None]) -> list[int]:
    return [-1 if size is None else size for size in shape]


def _format(dims: Sequence[int]) -> str:
    if len(dims) == 3 and dims[0] in (1, 3):
        return "FORMAT_NCHW"
    return "FORMAT_NHWC" if len(dims) == 3 and dims[2] in (1, 3) else "FORMAT_NONE"
