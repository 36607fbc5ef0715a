"""The routes of the Open Inference Protocol, as OpenAPI describes them."""

from __future__ import annotations

from typing import Any

TAG = "Open Inference Protocol"

_TENSOR: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "examples": ["image"]},
        "datatype": {"type": "string", "examples": ["FP32"]},
        "shape": {"type": "array", "items": {"type": "integer"}, "examples": [[1, 4]]},
        "data": {"type": "array", "items": {}, "examples": [[0.1, 0.2, 0.3, 0.4]]},
        "parameters": {"type": "object"},
    },
    "required": ["name", "datatype", "shape"],
}
_REQUEST: dict[str, Any] = {
    "type": "object",
    "properties": {
        "inputs": {
            "type": "array",
            "items": _TENSOR,
            "description": "Tensors of the graph, or one of datatype BYTES with encoded pictures.",
        },
        "outputs": {"type": "array", "items": {"type": "object"}, "description": "Which outputs, and how."},
        "id": {"type": "string", "description": "Comes back with the answer."},
        "parameters": {"type": "object", "description": "timeout [us], priority, role, binary_data_output."},
    },
    "required": ["inputs"],
}
_ROUTES: tuple[tuple[str, str, str], ...] = (
    ("get", "/v2", "What this server is."),
    ("get", "/v2/health/live", "Whether it is alive."),
    ("get", "/v2/health/ready", "Whether it takes requests."),
    ("get", "/v2/models/{name}", "Tensors that a model takes and gives. Loads it."),
    ("get", "/v2/models/{name}/ready", "Whether a model is loaded."),
    ("get", "/v2/models/{name}/config", "A model in the words of Triton's configuration. Loads it."),
    ("get", "/v2/models/{name}/stats", "What a model was asked, with durations [ns]."),
    ("get", "/v2/models/stats", "The same for all."),
    ("post", "/v2/models/{name}/infer", "Tensors, or encoded pictures, through a model's graph."),
    ("post", "/v2/repository/index", "Every service and stored model, with its state."),
    ("post", "/v2/repository/models/{name}/load", "Load a model."),
    ("post", "/v2/repository/models/{name}/unload", "Unload a model; its memory is free when this answers."),
)


def inference_paths(problems: dict[str, Any]) -> dict[str, Any]:
    """Path to its methods; `problems`: the answers that every route may give."""
    paths: dict[str, Any] = {}
    for method, path, summary in _ROUTES:
        call: dict[str, Any] = {
            "summary": summary,
            "tags": [TAG],
            "responses": {"200": {"description": "JSON", "content": {"application/json": {}}}, **problems},
        }
        if "{name}" in path:
            words = "A service or model; `/versions/VERSION` may follow it where a model is asked."
            text = {"type": "string"}
            call["parameters"] = [
                {"name": "name", "in": "path", "required": True, "schema": text, "description": words}
            ]
        if method == "post":
            schema = _REQUEST if path.endswith("/infer") else {"type": "object"}
            call["requestBody"] = {"content": {"application/json": {"schema": schema}}}
        paths[path] = {method: call}
    return paths
