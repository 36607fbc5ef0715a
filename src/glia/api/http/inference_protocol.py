"""The Open Inference Protocol, version 2: what KServe's and Triton's clients speak. Its words are theirs.

A service, or a model by name, is their *model*; what it takes and gives are the tensors of one of its graphs, past the
task. An input of encoded pictures (datatype BYTES) goes through the task's own preprocessing instead.
Source: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
Source: https://github.com/triton-inference-server/server/tree/main/docs/protocol (the extensions in EXTENSIONS)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any, TypeVar

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from glia.api.http import answers, inference_wire
from glia.api.http.body import OFF_LOOP_BYTES, deadline_s, parse_json, read_body, spent_s
from glia.api.http.connection import while_connected
from glia.api.http.encoding import deflated, read_inflated
from glia.api.http.inference_models import MOST_ROWS, config, metadata, statistics
from glia.api.http.inference_wire import InferBody
from glia.api.http.routing import changing, route
from glia.core.errors import GliaError, InputError, NotFound, Unavailable
from glia.core.settings import Settings
from glia.runtime.directory import Directory, Resolved
from glia.serve.pool import Pool
from glia.serve.tensors import Inference, Packed, join_elements, shown

T = TypeVar("T")

EXTENSIONS = ["binary_tensor_data", "classification", "model_configuration", "model_repository", "statistics"]
LENGTH = "inference-header-content-length"
INTERACTIVE = (0, 1)
"""Priorities of requests that somebody waits for; the protocol's highest is 1, and 0 is none given."""


class InferenceProtocol:
    """Its routes, over the services of this server."""

    def __init__(
        self, settings: Settings, directory: Directory, pool: Pool, resolve: Callable[[str], Resolved]
    ) -> None:
        """`resolve`: a service by name, as every other route finds it."""
        self.settings = settings
        self.directory = directory
        self.pool = pool
        self._resolve = resolve

    def routes(self) -> list[Route]:
        """Under /v2, with and without a version."""
        model = [
            one
            for path in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}")
            for one in (
                route(path, GET=self.metadata),
                route(f"{path}/ready", GET=self.ready),
                route(f"{path}/config", GET=self.config),
                route(f"{path}/stats", GET=self.statistics),
                route(f"{path}/infer", POST=self.infer),
            )
        ]
        return [
            route("/v2", GET=self.server),
            route("/v2/health/live", GET=self.live),
            route("/v2/health/ready", GET=self.live),
            route("/v2/models/stats", GET=self.all_statistics),
            *model,
            route("/v2/repository/index", POST=self.index),
            route("/v2/repository/models/{name}/load", POST=changing(self.load)),
            route("/v2/repository/models/{name}/unload", POST=changing(self.unload)),
        ]

    async def server(self, http: HttpRequest) -> Response:
        """What this server is."""
        return JSONResponse({"name": "glia", "version": version("glia"), "extensions": EXTENSIONS})

    async def live(self, http: HttpRequest) -> Response:
        """200 while requests are taken: a server that drains refuses this one as all others."""
        return JSONResponse({http.url.path.rpartition("/")[2]: True})

    async def ready(self, http: HttpRequest) -> Response:
        """200 while the model is loaded; one that is not is loaded by the first request that needs it."""
        resolved = self._model(http)
        state = self.pool.state(resolved)
        if state != "ready":
            raise Unavailable(
                f"{resolved.name} is not loaded ({self.pool.failures.get(resolved.key) or state}). "
                f"Load it with POST /v2/repository/models/{resolved.name}/load, or just ask it.",
                name=resolved.name,
                ready=False,
            )
        return JSONResponse({"name": resolved.name, "ready": True})

    async def metadata(self, http: HttpRequest) -> Response:
        """The tensors of a graph: the service's first, or the one whose role the query names. Loads the model."""
        resolved = self._model(http)
        facts = await self._facts(http, resolved)
        return JSONResponse(metadata(_asked_name(http), self._versions(resolved), facts))

    async def config(self, http: HttpRequest) -> Response:
        """The same in the words of Triton's model configuration. Loads the model."""
        resolved = self._model(http)
        facts = await self._facts(http, resolved)
        lanes = (await self.pool.replica(resolved)).lanes
        media = resolved.contract.subject_media if _goes_through_alone(resolved) else None
        return JSONResponse(config(_asked_name(http), facts, lanes, media.kind if media else None))

    async def statistics(self, http: HttpRequest) -> Response:
        """What the model was asked since the server started."""
        resolved = self._model(http)
        account = self.pool.statistics.account(resolved.key)
        return JSONResponse({"model_stats": [statistics(_asked_name(http), _version(resolved), account)]})

    async def all_statistics(self, http: HttpRequest) -> Response:
        """What was asked of every model and service of the index, one row for each that was asked anything."""
        rows = {}
        for name in await asyncio.to_thread(self._names):
            try:
                resolved = self._resolve(name)
            except GliaError:
                continue
            if resolved.key in self.pool.statistics.accounts and resolved.key not in rows:
                account = self.pool.statistics.accounts[resolved.key]
                rows[resolved.key] = statistics(name, _version(resolved), account)
        return JSONResponse({"model_stats": list(rows.values())})

    async def index(self, http: HttpRequest) -> Response:
        """Every service and stored model, with its state; with `{"ready": true}` those that are loaded."""
        asked = await self._options(http)
        rows = [self._row(name) for name in await asyncio.to_thread(self._names)]
        return JSONResponse([row for row in rows if row["state"] == "READY" or asked.get("ready") is not True])

    async def load(self, http: HttpRequest) -> Response:
        """Load a model, and answer when it is."""
        parameters = (await self._options(http)).get("parameters") or {}
        if parameters:
            raise InputError(
                f"Expected no parameters, received {', '.join(map(str, parameters))[:100]}: "
                "a model is loaded as it lies in the store."
            )
        await while_connected(http, self.pool.load(self._model(http)))
        return Response()

    async def unload(self, http: HttpRequest) -> Response:
        """Unload a model when what it works on is answered; its memory is free when this answers."""
        await self._options(http)
        await self.pool.unload(self._model(http))
        return Response()

    async def infer(self, http: HttpRequest) -> Response:
        """Tensors, or encoded media, through a graph."""
        resolved = self._model(http)
        with self.pool.watch.refusals(resolved.name):
            most_s = deadline_s(http, self.settings["deadline_s"])
            body = await read_inflated(http, self.settings["max_body_mb"] << 20)
            length = http.headers.get(LENGTH)
            request, inference = await _off_loop(
                len(body), lambda: _inference(inference_wire.parse(body, length), resolved)
            )
            limit_s = _deadline_s(request.parameters, most_s)
            spent = spent_s(http, limit_s)
        http.state.log.update(service=resolved.name, replica=resolved.key, batch=inference.rows)
        outputs, steps = await while_connected(
            http,
            self.pool.infer(
                resolved,
                inference,
                limit_s,
                background=_number(request.parameters, "priority") not in INTERACTIVE,
                spent_s=spent,
            ),
        )
        http.state.log.update({f"{name}_ms": round(ms, 1) for name, ms in steps.items()})
        headers = {"server-timing": answers.server_timing(steps), "x-glia-model": answers.model_header(resolved)}
        return await _answer(http, request, resolved, outputs, headers)

    def _model(self, http: HttpRequest) -> Resolved:
        return self._resolve("@".join(part for part in (_asked_name(http), http.path_params.get("version")) if part))

    async def _facts(self, http: HttpRequest, resolved: Resolved) -> Mapping[str, Any]:
        """Tensors of the graph that is asked about. Raises NotFound."""
        replica = await while_connected(http, self.pool.replica(resolved))
        role = http.query_params.get("role") or next(iter(replica.facts), "")
        if role not in replica.facts:
            if role:
                raise NotFound(f"{resolved.name} has no graph of the role {role!r}.")
            return {"inputs": (), "outputs": ()}
        facts: Mapping[str, Any] = replica.facts[role]
        return facts

    async def _options(self, http: HttpRequest) -> Mapping[str, Any]:
        """The JSON object that a repository request may carry."""
        body = await read_body(http, self.settings["max_body_mb"] << 20)
        options = parse_json(body) if body.strip() else {}
        if not isinstance(options, dict) or not isinstance(options.get("parameters") or {}, dict):
            raise InputError("Expected an empty body, or a JSON object, its `parameters` an object too.")
        return options

    def _names(self) -> list[str]:
        return sorted({*self.directory.names(), *(card.name for card in self.directory.store.list())})

    def _versions(self, resolved: Resolved) -> list[str]:
        if len(resolved.models) != 1:
            return ["1"]
        return [str(number) for number in self.directory.store.versions(resolved.card.name)]

    def _row(self, name: str) -> dict[str, Any]:
        try:
            resolved = self._resolve(name)
        except GliaError as error:
            return {"name": name, "version": "", "state": "UNAVAILABLE", "reason": error.message}
        state = self.pool.state(resolved)
        shown = {"ready": "READY", "loading": "LOADING"}.get(state, "UNAVAILABLE")
        reason = self.pool.failures.get(resolved.key, "not loaded") if shown == "UNAVAILABLE" else ""
        return {"name": name, "version": _version(resolved), "state": shown, "reason": reason}


def _asked_name(http: HttpRequest) -> str:
    return str(http.path_params["name"])


def _version(resolved: Resolved) -> str:
    """The model's; several models, and tasks without any, are of version 1."""
    return str(resolved.card.version) if len(resolved.models) == 1 else "1"


async def _off_loop(size: int, work: Callable[[], T]) -> T:
    """Work on a body of this many bytes: in a thread where it would hold up the others."""
    return await asyncio.to_thread(work) if size > OFF_LOOP_BYTES else work()


def _inference(request: InferBody, resolved: Resolved) -> tuple[InferBody, Inference]:
    """What the replica is asked. Raises InputError, and what is wrong with a medium by its header."""
    role = request.parameters.get("role", "")
    if not isinstance(role, str):
        raise InputError(f"Expected text as `role`, received {type(role).__name__}.")
    fields, tensors = None, request.tensors
    if [tensor.dtype for tensor in tensors] == ["bytes"] and resolved.contract.subject_media is not None:
        fields, tensors = _media(request, resolved)
    return request, Inference(
        tensors,
        role,
        tuple(output.name for output in request.outputs),
        {output.name: output.classes for output in request.outputs if output.classes},
        fields,
    )


def _goes_through_alone(resolved: Resolved) -> bool:
    """Whether one subject becomes one sample of one graph."""
    return not resolved.task.in_stages and not resolved.contract.is_many(resolved.contract.subject)


def _media(request: InferBody, resolved: Resolved) -> tuple[dict[str, Any], tuple[Packed, ...]]:
    """The task's fields among the parameters, and the media, each checked by its header; none is decoded here."""
    (tensor,), contract = request.tensors, resolved.contract
    if not _goes_through_alone(resolved):
        raise InputError(
            f"{resolved.task.name} prepares its {contract.subject} in stages, or several at once, so that an "
            f"encoded one cannot go through its graph alone. Send tensors, or ask POST /v1/services/{resolved.name}."
        )
    flat = tensor.shape[1:] in ((), (1,))
    if not flat or not tensor.shape or not 1 <= tensor.shape[0] <= MOST_ROWS:
        raise InputError(
            f"Tensor {tensor.name}: expected [N] or [N, 1] encoded files, N from 1 to {MOST_ROWS}, "
            f"received {shown(tensor.shape)}."
        )
    fields = {
        name: value
        for name, value in request.parameters.items()
        if name in contract.input.model_fields and name != contract.subject
    }
    # Text in JSON is base64 or a data: URL, as at every other door.
    given = [str(one, "utf-8") if request.from_text else bytes(one) for one in tensor.elements()]
    media = [getattr(contract.request({**fields, contract.subject: one}), contract.subject) for one in given]
    if not request.from_text:
        return fields, (tensor,)
    return fields, (Packed(tensor.name, "bytes", tensor.shape, join_elements(one.data for one in media)),)


def _number(parameters: Mapping[str, Any], name: str) -> int:
    """A whole number among the parameters, 0 where it is not. Raises InputError."""
    value = parameters.get(name, 0)
    if type(value) is not int or value < 0:
        raise InputError(f"Expected a whole number from 0 as `{name}`, received {value!r:.40}.")
    return value


def _deadline_s(parameters: Mapping[str, Any], most_s: float) -> float:
    """The deadline that `timeout` [us] asks for; 0 asks for none. Raises InputError."""
    timeout_us = _number(parameters, "timeout")
    return min(timeout_us / 1e6, most_s) if timeout_us else most_s


async def _answer(
    http: HttpRequest, request: InferBody, resolved: Resolved, outputs: list[Packed], headers: dict[str, str]
) -> Response:
    model = {"model_name": _asked_name(http), "model_version": _version(resolved)}
    size = sum(len(tensor.data) for tensor in outputs)
    body, length = await _off_loop(size, lambda: inference_wire.render(request, model, outputs))
    body, coding = await deflated(body, http.headers.get("accept-encoding", ""))
    if length is not None:
        headers[LENGTH] = str(length)
    if coding is not None:
        headers["content-encoding"] = coding
    return Response(
        body, headers=headers, media_type="application/json" if length is None else "application/octet-stream"
    )
