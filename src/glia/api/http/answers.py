"""Answers: JSON, media, streams and problems, with the headers that say what was done."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

from starlette.responses import JSONResponse, Response, StreamingResponse

from glia.core.errors import GliaError
from glia.core.fields import Media
from glia.core.parts import join
from glia.runtime.directory import Resolved
from glia.serve.frames import Frame

PROBLEM = "application/problem+json"


def problem(error: GliaError, request_id: str = "") -> JSONResponse:
    """RFC 9457, one shape on every route."""
    headers = {}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(error.retry_after_s)
    if error.status == 401:
        headers["www-authenticate"] = 'Basic realm="Glia: any user, the API key as password", charset="UTF-8"'
    body = error.problem() | ({"instance": f"urn:glia:request:{request_id}"} if request_id else {})
    return JSONResponse(body, error.status, headers, media_type=PROBLEM)


def server_timing(steps: Mapping[str, float]) -> str:
    """The `Server-Timing` header: milliseconds per step."""
    return ", ".join(f"{name};dur={ms:.2f}" for name, ms in steps.items())


def model_header(resolved: Resolved) -> str:
    """`name@version` of every model that answers, one after another."""
    return ", ".join(resolved.models.values())


def value_of(frame: Frame, resolved: Resolved) -> Any:
    """What a frame carries, media as media."""
    media = resolved.contract.output_media or Media
    return join(frame.body.get("value"), frame.buffers, media)


def answer(frame: Frame, resolved: Resolved, accept: str) -> Response:
    """An end frame as a response: a medium as its bytes unless JSON is asked for, everything else as JSON."""
    value = value_of(frame, resolved)
    headers = {"server-timing": server_timing(frame.body["steps"]), "x-glia-model": model_header(resolved)}
    if isinstance(value, Media) and "application/json" not in accept:
        return Response(value.data, media_type=value.content_type, headers=headers)
    return JSONResponse(plain(value), headers=headers)


def plain(value: Any) -> Any:
    """Media inside a value become data: URLs; the rest is JSON already."""
    if isinstance(value, Media):
        return value.data_url()
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value


def events(frames: AsyncGenerator[Frame, None], resolved: Resolved) -> StreamingResponse:
    """Server-sent events: `item` for each item, then `end` or `error`."""

    async def lines() -> AsyncIterator[bytes]:
        try:
            async with aclosing(frames):  # a reader that leaves frees the lane at once
                async for frame in frames:
                    yield f"event: {frame.kind}\ndata: {json.dumps(plain(value_of(frame, resolved)))}\n\n".encode()
        except GliaError as error:
            yield f"event: error\ndata: {json.dumps(error.problem())}\n\n".encode()

    headers = {"x-glia-model": model_header(resolved), "cache-control": "no-store"}
    return StreamingResponse(lines(), media_type="text/event-stream", headers=headers)
