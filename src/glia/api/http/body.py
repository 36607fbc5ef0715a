"""Bodies: every form in which clients send a request, to the fields of the contract."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from python_multipart.exceptions import MultipartParseError
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest

from glia.core.errors import BodyTooLarge, DeadlineExceeded, InputError
from glia.core.task import Contract
from glia.core.task import Request as TaskRequest

HUGGING_FACE_IGNORED = frozenset({"options"})
"""Fields at the root of a Hugging Face style request that have no meaning here."""

JOINED_BYTES = 1 << 20
"""Bodies up to this are collected in pieces and joined, which is quicker."""

OFF_LOOP_BYTES = 256 << 10
"""JSON above this is parsed in a thread: 10 MB of base64 would hold the event loop for 50 ms."""

NOT_FIELDS = frozenset({"deadline_ms"})


async def read_body(http: HttpRequest, limit_bytes: int) -> bytes:
    """The whole body. Raises BodyTooLarge before reading more than the limit."""
    announced = http.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > limit_bytes:
        raise too_large(int(announced), limit_bytes)
    chunks: list[bytes] = []
    size = 0
    large: BytesIO | None = None
    more = True
    while more:
        message = await http.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk, more = message.get("body", b""), message.get("more_body", False)
        size += len(chunk)
        if size > limit_bytes:
            raise too_large(size, limit_bytes)
        if large is None and size > JOINED_BYTES:
            # It grows in place and gives its buffer away uncopied: a large body is in memory once.
            large = BytesIO()
            large.write(b"".join(chunks))
        if large is not None:
            large.write(chunk)
        else:
            chunks.append(chunk)
    if large is not None:
        return large.getvalue()
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def too_large(size: int, limit: int) -> BodyTooLarge:
    """The error for a body of so many bytes, or more."""
    return BodyTooLarge(
        f"Expected a body of at most {limit >> 20} MB, received {size / (1 << 20):.1f} MB or more. "
        "Send a smaller file, or raise GLIA_MAX_BODY_MB.",
        limit_bytes=limit,
    )


async def read_request(http: HttpRequest, contract: Contract, limit_bytes: int) -> TaskRequest:
    """The validated request of one call. Raises InputError, BodyTooLarge, UnsupportedMedia."""
    fields = query_fields(http, contract)
    parts = await _form(http, limit_bytes)
    if parts is not None:
        return contract.request(fields | _collected(_named(parts, contract), contract))
    body = await read_body(http, limit_bytes)
    if not _is_json(http, body):
        return contract.request(fields | {contract.subject: raw_subject(body, contract)})
    if len(body) > OFF_LOOP_BYTES:
        return await asyncio.to_thread(lambda: contract.request(fields | json_fields(parse_json(body), contract)))
    return contract.request(fields | json_fields(parse_json(body), contract))


async def read_requests(http: HttpRequest, contract: Contract, limit_bytes: int) -> list[TaskRequest | InputError]:
    """The requests of a batch call, each valid or with its own error. Raises InputError for the whole."""
    fields = query_fields(http, contract)
    parts = await _form(http, limit_bytes)
    if parts is not None:
        named = _named(parts, contract)
        fields |= _collected([pair for pair in named if pair[0] != contract.subject], contract)
        rows = [fields | _collected([pair], contract) for pair in named if pair[0] == contract.subject]
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
    if isinstance(value, dict) and isinstance(value.get("inputs"), list):
        return [json_fields({**value, "inputs": subject}, contract) for subject in value["inputs"]]
    if not isinstance(value, list):
        raise InputError('Expected a JSON list of requests, or {"inputs": [...], "parameters": {...}}, for a batch.')
    return [json_fields(row, contract) for row in value]


def query_fields(http: HttpRequest, contract: Contract) -> dict[str, Any]:
    """Parameters from the query string; a field that is a list takes its repetitions."""
    if not http.scope["query_string"]:
        return {}
    return _collected(
        [(name, value) for name, value in http.query_params.multi_items() if name not in NOT_FIELDS], contract
    )


def _collected(pairs: Sequence[tuple[str, bytes | str]], contract: Contract) -> dict[str, Any]:
    """Names and texts as fields. Raises InputError for several values of a field that takes one."""
    values: dict[str, list[bytes | str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    fields: dict[str, Any] = {}
    for name, given in values.items():
        many = name in contract.input.model_fields and contract.is_many(name)
        if many and (len(given) > 1 or given[0][:1] != "["):
            fields[name] = given
        elif len(given) > 1:
            raise InputError(f"Expected one {name}, received {len(given)}.")
        else:
            fields[name] = _scalar(given[0], contract, name)
    return fields


@dataclass(frozen=True)
class Part:
    """One part of a form."""

    name: str
    value: bytes | str
    is_file: bool


async def _form(http: HttpRequest, limit_bytes: int) -> list[Part] | None:
    """The parts of a multipart form, or None for another content type; its size is bounded before it is parsed."""
    if not http.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        return None
    body = await read_body(http, limit_bytes)

    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(http.headers, stream(), max_files=1000, max_fields=1000, max_part_size=limit_bytes)
    parser.spool_max_size = limit_bytes + 1  # the body is in memory already: no second copy on the disk
    try:
        form = await parser.parse()
    except (MultipartParseError, MultiPartException, ValueError, KeyError) as error:
        reason = error.message if isinstance(error, MultiPartException) else str(error)
        raise InputError(
            f"Expected a multipart/form-data body with a boundary, received one that breaks: {reason}"
        ) from error
    try:
        return [
            Part(name, value, False) if isinstance(value, str) else Part(name, await value.read(), True)
            for name, value in form.multi_items()
        ]
    finally:
        await form.close()


def _named(parts: Sequence[Part], contract: Contract) -> list[tuple[str, bytes | str]]:
    """Each part under the field that it is. Files under a name of no field stand for the subject, as clients do."""
    fields = contract.input.model_fields
    stand_in = all(part.name != contract.subject for part in parts)
    return [
        (contract.subject if stand_in and part.is_file and part.name not in fields else part.name, part.value)
        for part in parts
    ]


def _scalar(part: bytes | str, contract: Contract, field: str) -> Any:
    """A text of a field that is neither text, number nor medium is JSON."""
    schema = contract.input_schema["properties"].get(field, {})
    plain = schema.get("type") in ("string", "number", "integer", "boolean")
    if isinstance(part, str) and not plain and part[:1] in ("{", "["):
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
        return json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"Expected JSON, received {len(body)} bytes that are not ({error}).") from error


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


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
    query = http.query_params.get("deadline_ms") if http.scope["query_string"] else None
    header = http.headers.get("x-request-timeout")
    try:
        asked = float(query) / 1e3 if query is not None else float(header) if header is not None else most_s
    except ValueError as error:
        raise InputError(f"Expected a number as deadline, received {query or header!r}.") from error
    if not 0 < asked < float("inf"):
        raise InputError(f"Expected a deadline above 0, received {query or header!r}.")
    return min(asked, most_s)


def spent_s(http: HttpRequest, limit_s: float) -> float:
    """How much of a deadline of so many seconds is over, now that the body is here. Raises DeadlineExceeded."""
    spent: float = time.perf_counter() - http.state.began
    if spent >= limit_s:
        raise DeadlineExceeded(
            f"The body alone took {spent:.1f} s to arrive, and the deadline was {limit_s:g} s. "
            "Ask for a longer deadline, or send less."
        )
    return spent
