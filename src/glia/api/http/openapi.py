"""OpenAPI 3.1, made from the contracts."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

from glia.api.http.inference_openapi import inference_paths
from glia.core.task import Contract
from glia.runtime.directory import Resolved

PROBLEM = {"$ref": "#/components/schemas/Problem"}


def openapi(services: Iterable[Resolved], root_path: str = "", keyed: bool = False) -> dict[str, Any]:
    """The document: one path a service, and the routes that are always there."""
    components: dict[str, Any] = {
        "Problem": {
            "type": "object",
            "description": "RFC 9457: what was expected, what was received, what to do.",
            "properties": {name: {"type": "string"} for name in ("type", "title", "code", "detail", "error")}
            | {"status": {"type": "integer"}},
            "required": ["status", "code", "detail"],
        }
    }
    paths: dict[str, Any] = {
        "/health": {"get": _plain("Whether the server is alive; 503 while it drains.")},
        "/info": {"get": _plain("Version, tasks, replicas.")},
        "/metrics": {"get": _plain("What Prometheus scrapes.", "text/plain")},
        "/v1/status": {"get": _plain("Requests, latency and memory of the last minute, per service and replica.")},
        "/v1/services": {"get": _plain("Every service, with its model and state.")},
    }
    for resolved in services:
        paths |= _service(resolved, components)
    paths |= inference_paths(_problems())
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Glia",
            "version": version("glia"),
            "description": "Deep-learning microservices you own.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": root_path or "/"}],
        "paths": paths,
        "components": {"schemas": components},
    }
    if keyed:
        components_all = document["components"]
        components_all["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"key": []}]
    return document


def _plain(summary: str, kind: str = "application/json") -> dict[str, Any]:
    words = "JSON" if kind.endswith("json") else "Text"
    return {"summary": summary, "responses": {"200": {"description": words, "content": {kind: {}}}}}


def _lift(schema: dict[str, Any], prefix: str, components: dict[str, Any]) -> dict[str, Any]:
    """A schema whose `$defs` moved to the components, under names of its service."""
    schema = copy.deepcopy(schema)
    definitions = schema.pop("$defs", {})

    def walk(item: Any) -> Any:
        if isinstance(item, dict):
            return {key: _moved(inner, prefix) if key == "$ref" else walk(inner) for key, inner in item.items()}
        return [walk(inner) for inner in item] if isinstance(item, list) else item

    for name, definition in definitions.items():
        components[f"{prefix}.{name}"] = walk(definition)
    lifted: dict[str, Any] = walk(schema)
    return lifted


def _moved(reference: str, prefix: str) -> str:
    return reference.replace("#/$defs/", f"#/components/schemas/{prefix}.")


def _upload(schema: dict[str, Any], many: bool) -> dict[str, Any]:
    """A medium, or several, as parts of a form."""
    part = {"type": "string", "format": "binary"}
    words = {"description": schema.get("description", "")}
    return {"type": "array", "items": part, **words} if many else part | words


def _service(resolved: Resolved, components: dict[str, Any]) -> dict[str, Any]:
    contract, name = resolved.contract, resolved.name
    components[f"{name}.Input"] = _lift(contract.input_schema, name, components)
    components[f"{name}.Output"] = _lift(contract.output_schema, name, components)
    fields = components[f"{name}.Input"]["properties"]
    call = {
        "summary": resolved.task.title,
        "description": resolved.task.description,
        "operationId": f"predict_{name}".replace("-", "_"),
        "tags": [name],
        "parameters": [
            {"name": field, "in": "query", "schema": schema, "description": schema.get("description", "")}
            for field, schema in fields.items()
            if field not in contract.media_fields and field != contract.subject
        ],
        "requestBody": {"required": True, "content": _content(contract, name, fields)},
        "responses": {
            "200": {
                "description": "The answer.",
                "headers": {
                    "Server-Timing": {"description": "Milliseconds per step.", "schema": {"type": "string"}},
                    "X-Glia-Model": {"description": "model@version that answered.", "schema": {"type": "string"}},
                },
                "content": _answer(contract, name),
            },
            **_problems(),
        },
    }
    look = _plain("Card, schemas, example.") | {"tags": [name]}
    batch = _batch(resolved)
    return {f"/v1/services/{name}": {"get": look, "post": call}, f"/v1/services/{name}/batch": {"post": batch}}


def _content(contract: Contract, name: str, fields: dict[str, Any]) -> dict[str, Any]:
    """The forms of a request: the raw subject, a form, JSON."""
    kind = contract.subject_media
    raw: dict[str, Any] = {}
    if kind is not None:
        raw[f"{kind.kind}/*" if kind.kind != "file" else "application/octet-stream"] = {}
    form = {
        "type": "object",
        "properties": {
            field: _upload(schema, contract.is_many(field)) if field in contract.media_fields else schema
            for field, schema in fields.items()
        },
        "required": [contract.subject],
    }
    return raw | {
        "multipart/form-data": {"schema": form},
        "application/json": {"schema": {"$ref": f"#/components/schemas/{name}.Input"}},
    }


def _answer(contract: Contract, name: str) -> dict[str, Any]:
    """The forms of an answer."""
    json = {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}.Output"}}}
    output = contract.output_media
    return {f"{output.kind}/*": {}} | json if output is not None else json


def _problems() -> dict[str, Any]:
    return {
        code: {"description": words, "content": {"application/problem+json": {"schema": PROBLEM}}}
        for code, words in (("4XX", "The request is at fault."), ("5XX", "The server is, or has no model yet."))
    }


def _batch(resolved: Resolved) -> dict[str, Any]:
    name = resolved.name
    rows = {"type": "array", "items": {"$ref": f"#/components/schemas/{name}.Input"}}
    either = {"anyOf": [{"$ref": f"#/components/schemas/{name}.Output"}, PROBLEM]}
    return {
        "summary": f"{resolved.task.title}, many at once",
        "operationId": f"batch_{name}".replace("-", "_"),
        "tags": [name],
        "requestBody": {"required": True, "content": {"application/json": {"schema": rows}}},
        "responses": {
            "200": {
                "description": "Answers or problems, one each, in the order of the requests.",
                "content": {"application/json": {"schema": {"type": "array", "items": either}}},
            },
            **_problems(),
        },
    }
