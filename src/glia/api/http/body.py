"""Bodies: every form in which clients send a request, to the fields of the contract."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from python_multipart.exceptions import MultipartParseError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest

from glia.core.errors import BodyTooLarge, InputError
from glia.core.task import Contract
from glia.core.task import Request as TaskRequest

HUGGING_FACE_IGNORED = frozenset({"options"})
"""Fields at the root of a Hugging Face style request that have no meaning here."""

OFF_LOOP_BYTES = 256 << 10
"""JSON above this is parsed in a thread: 10 MB of base64 would hold the event loop for 50 ms."""

NOT_FIELDS = frozenset({"deadline_ms"})


async def read_body(http: HttpRequest, limit_bytes: int) -> bytes:
    """The whole body. Raises BodyTooLarge before reading more than the limit."""
    announced = http.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > limit_bytes:
        raise _too_large(int(announced), limit_bytes)
    chunks: list[bytes] = []
    size = 0
    async for chunk in http.stream():
        size += len(chunk)
        if size > limit_bytes:
            raise _too_large(size, limit_bytes)
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(size: int, limit: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"Expected a body of at most {limit >> 20} MB, received {size / (1 << 20):.1f} MB or more. "
        "Send a smaller file, or raise GLIA_MAX_BODY_MB.",
        limit_bytes=limit,
    )


async def read_request(http: HttpRequest, contract: Contract, limit_bytes: int) -> TaskRequest:
    """The validated request of one call. Raises InputError, BodyTooLarge, UnsupportedMedia."""
    fields = query_fields(http, contract)
    form = await _form(http, limit_bytes)
    if form is not None:
        return contract.request(fields | await form_fields(form, contract))
    body = await read_body(http, limit_bytes)
    if not _is_json(http, body):
        return contract.request(fields | {contract.subject: raw_subject(body, contract)})
    if len(body) > OFF_LOOP_BYTES:
        return await asyncio.to_thread(lambda: contract.request(fields | json_fields(parse_json(body), contract)))
    return contract.request(fields | json_fields(parse_json(body), contract))


async def read_requests(http: HttpRequest, contract: Contract, limit_bytes: int) -> list[TaskRequest | InputError]:
    """The requests of a batch call, each valid or with its own error. Raises InputError for the whole."""
    fields = query_fields(http, contract)
    form = await _form(http, limit_bytes)
    if form is not None:
        shared = await form_fields(form, contract)
        subjects = [await _part(value) for value in form.getlist(contract.subject)]
        shared.pop(contract.subject, None)
        rows = [
            fields | shared | {contract.subject: [s] if contract.is_many(contract.subject) else s} for s in subjects
        ]
    else:
        body = await read_body(http, limit_bytes)
        value = await asyncio.to_thread(parse_json, body)
        rows = [fields | row for row in _batch_rows(value, contract)]
    if not rows:
        raise InputError(f"Expected at least one {contract.subject}, received none.")
    return await asyncio.to_thread(lambda: [_one(contract, row) for row in rows])


def _one(contract: Contract, row: Mapping[str, Any]) -> TaskRequest | InputError:
    try:
        return contract.request(row)
    except InputError as error:
        return error


def _batch_rows(value: Any, contract: Contract) -> list[dict[str, Any]]:
    shared: dict[str, Any] = {}
    if isinstance(value, dict) and isinstance(value.get("inputs"), list):
        shared = dict(value.get("parameters") or {})
        value = value["inputs"]
    if not isinstance(value, list):
        raise InputError('Expected a JSON list of requests, or {"inputs": [...], "parameters": {...}}, for a batch.')
    return [shared | (row if isinstance(row, dict) else {contract.subject: row}) for row in value]


def query_fields(http: HttpRequest, contract: Contract) -> dict[str, Any]:
    """Parameters from the query string; a field that is a list takes its repetitions."""
    fields: dict[str, Any] = {}
    for name, value in http.query_params.multi_items():
        if name in NOT_FIELDS:
            continue
        if name in contract.input.model_fields and contract.is_many(name):
            fields.setdefault(name, []).append(value)
        else:
            fields[name] = value
    return fields


async def _form(http: HttpRequest, limit_bytes: int) -> FormData | None:
    """The multipart form, or None for another content type; its size is bounded before it is parsed."""
    if not http.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        return None
    body = await read_body(http, limit_bytes)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    try:
        return await HttpRequest(http.scope, receive).form(max_files=1000, max_fields=1000, max_part_size=limit_bytes)
    except (MultipartParseError, HTTPException, ValueError, KeyError) as error:
        reason = error.detail if isinstance(error, HTTPException) else str(error)
        raise InputError(
            f"Expected a multipart/form-data body with a boundary, received one that breaks: {reason}"
        ) from error


async def _part(value: UploadFile | str) -> bytes | str:
    return value if isinstance(value, str) else await value.read()


async def form_fields(form: FormData, contract: Contract) -> dict[str, Any]:
    """Multipart parts as fields. A file part named `file` stands for the subject, as many clients have it."""
    fields: dict[str, Any] = {}
    for name, value in form.multi_items():
        target = name
        if name not in contract.input.model_fields and isinstance(value, UploadFile) and contract.subject not in form:
            target = contract.subject
        part = await _part(value)
        if target in contract.input.model_fields and contract.is_many(target):
            fields.setdefault(target, []).append(part)
        elif target in contract.input.model_fields or target not in contract.media_fields:
            fields[target] = _scalar(part, contract, target)
    return fields


def _scalar(part: bytes | str, contract: Contract, field: str) -> Any:
    """A text part of a field that is neither text, number nor medium is JSON."""
    schema = contract.input_schema["properties"].get(field, {})
    if isinstance(part, str) and schema.get("type") in ("object", "array") and part[:1] in ("{", "["):
        return parse_json(part.encode())
    return part


def _is_json(http: HttpRequest, body: bytes) -> bool:
    kind = http.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        return True
    # curl names every --data a form: what the bytes are decides.
    return kind in ("", "application/x-www-form-urlencoded") and body[:64].lstrip()[:1] == b"{"


def parse_json(body: bytes) -> Any:
    """JSON to Python. Raises InputError."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InputError(f"Expected JSON, received {len(body)} bytes that are not ({error}).") from error


def json_fields(value: Any, contract: Contract) -> dict[str, Any]:
    """A JSON body: native ({field: value}), or Hugging Face's {"inputs", "parameters"}."""
    if not isinstance(value, dict):
        return {contract.subject: value}
    if "inputs" not in value or "inputs" in contract.input.model_fields:
        return value
    rest = {name: inner for name, inner in value.items() if name not in {"inputs", "parameters", *HUGGING_FACE_IGNORED}}
    parameters = value.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise InputError(f"Expected an object as `parameters`, received {type(parameters).__name__}.")
    given = {name: inner for name, inner in parameters.items() if inner is not None}
    return rest | given | {contract.subject: value["inputs"]}


def raw_subject(body: bytes, contract: Contract) -> Any:
    """A raw body is the subject: encoded bytes of a medium, text, or JSON."""
    if not body:
        raise InputError(f"Expected the {contract.subject} in the body, received 0 bytes.")
    value: Any = body
    if contract.subject_media is None:
        schema = contract.input_schema["properties"][contract.subject]
        try:
            text = body.decode()
        except UnicodeDecodeError as error:
            raise InputError(f"Expected {contract.subject} as UTF-8 text, received other bytes.") from error
        value = text if schema.get("type") == "string" else parse_json(body)
        if schema.get("type") != "string":
            return value
    return [value] if contract.is_many(contract.subject) else value


def deadline_s(http: HttpRequest, most_s: float) -> float:
    """The request's deadline [s]: `deadline_ms` in the query, or `X-Request-Timeout` [s]; at most the setting's."""
    query = dict(parse_qsl(http.url.query)).get("deadline_ms")
    header = http.headers.get("x-request-timeout")
    try:
        asked = float(query) / 1e3 if query is not None else float(header) if header is not None else most_s
    except ValueError as error:
        raise InputError(f"Expected a number as deadline, received {query or header!r}.") from error
    if not 0 < asked < float("inf"):
        raise InputError(f"Expected a deadline above 0, received {query or header!r}.")
    return min(asked, most_s)


__all__ = ["ClientDisconnect", "deadline_s", "read_request", "read_requests"]
