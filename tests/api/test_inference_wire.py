"""The Open Inference Protocol in raw HTTP: JSON as KServe's specification writes it, and bodies of ill will."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from glia.api.http.app import build_app
from glia.api.http.inference_wire import DTYPES
from glia.core.settings import Settings
from glia.serve.pool import Pool
from glia.serve.tensors import join_elements
from glia.store.store import Store
from house import EXTRA_TASKS, colour_card, colour_network, picture, sum_card

SUMS = "/v2/models/sums/infer"
OBJECTS = "/v2/models/objects/infer"
LENGTH = "inference-header-content-length"


def row(**changes: Any) -> dict[str, Any]:
    """The input of `sums`, 1 and 2."""
    return {"name": "row", "shape": [1, 2], "datatype": "FP32", "data": [1, 2], **changes}


def ask(http: TestClient, body: Any, path: str = SUMS, **headers: str) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return http.post(path, content=content, headers=headers)


def binary(head: Any, *tensors: bytes) -> tuple[bytes, str]:
    """A body with its tensors after its JSON, and the length of the JSON."""
    text = json.dumps(head).encode()
    return b"".join([text, *tensors]), str(len(text))


def refused(answer: Any, status: int = 422) -> str:
    """What an error says, having the shape of every error and the field that the protocol's clients show."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["error"] == problem["detail"]
    assert len(problem["error"]) < 600
    return str(problem["error"])


def test_json_as_the_specification_writes_it(http: TestClient) -> None:
    flat = {"id": "42", "inputs": [row(shape=[2, 2], data=[1, 2, 3, 4])], "outputs": [{"name": "sum"}]}
    expected = {
        "model_name": "sums",
        "model_version": "1",
        "id": "42",
        "outputs": [{"name": "sum", "datatype": "FP32", "shape": [2, 1], "data": [4, 8]}],
    }
    answer = ask(http, flat)
    assert (answer.status_code, answer.json()) == (200, expected)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-glia-model"] == "sums@1"
    assert "run;dur=" in answer.headers["server-timing"]
    nested = {"inputs": [row(shape=[2, 2], data=[[1, 2], [3, 4]])]}
    assert ask(http, nested, "/v2/models/sums/versions/1/infer").json()["outputs"] == expected["outputs"]
    assert "id" not in ask(http, nested).json()


def test_health_and_readiness(http: TestClient) -> None:
    assert http.get("/v2/health/live").json() == {"live": True}
    assert http.get("/v2/health/ready").json() == {"ready": True}
    assert ask(http, {"inputs": [row()]}).status_code == 200
    assert http.get("/v2/models/sums/ready").json() == {"name": "sums", "ready": True}
    refused(http.get("/v2/models/sums/versions/7/ready"), 404)
    refused(http.get("/v2/models/sums/versions/x/ready"), 422)


def test_a_model_that_is_not_loaded_is_not_ready(own: Any) -> None:
    answer = own().get("/v2/models/objects/ready")
    assert "POST /v2/repository/models/objects/load" in refused(answer, 503)
    assert answer.json()["ready"] is False


def test_a_version_is_the_models(http: TestClient) -> None:
    wanted = {"outputs": [{"name": "logits", "parameters": {"classification": 1}}]}
    red = {"name": "image", "shape": [1, 3, 8, 8], "datatype": "FP32", "data": [1] * 64 + [0] * 128}
    for version, label in (("1", "red"), ("2", "rot")):
        answer = ask(http, {"inputs": [red], **wanted}, f"/v2/models/objects/versions/{version}/infer").json()
        assert answer["model_version"] == version
        (output,) = answer["outputs"]
        assert (output["datatype"], output["shape"], output["data"]) == ("BYTES", [1, 1], [f"10.0:0:{label}"])
    assert http.get("/v2/models/colours").json()["versions"] == ["1", "2"]


def test_a_role_picks_one_graph_of_several(http: TestClient) -> None:
    for parameters in ({}, {"role": "first"}, {"role": "second"}):
        answer = ask(http, {"inputs": [row()], "parameters": parameters}, "/v2/models/pair/infer")
        assert answer.json()["outputs"][0]["data"] == [4]
    message = refused(ask(http, {"inputs": [row()], "parameters": {"role": "third"}}, "/v2/models/pair/infer"))
    assert "there are first, second" in message
    assert http.get("/v2/models/pair?role=second").json()["inputs"][0]["name"] == "row"
    refused(http.get("/v2/models/pair?role=third"), 404)
    assert http.get("/v2/models/counting").json()["inputs"] == []


@pytest.fixture(scope="module")
def echoes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A server with, for each datatype, a network that gives what it takes."""
    home = tmp_path_factory.mktemp("echoes")
    names = {"FP16": "FLOAT16", "FP32": "FLOAT", "FP64": "DOUBLE", "BYTES": "STRING"}
    for datatype in DTYPES:
        kind = getattr(TensorProto, names.get(datatype, datatype))
        tensors = [helper.make_tensor_value_info(name, kind, ["n", "m"]) for name in ("x", "y")]
        graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "echo", tensors[:1], tensors[1:])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        Store(home).put(sum_card(f"echo-{datatype.lower()}"), {"graph.onnx": model.SerializeToString()})
    flags = {"home": str(home), "tasks_dir": str(EXTRA_TASKS), "lanes": 1}
    with TestClient(build_app(Settings(flags, environ={}))) as client:
        yield client


VALUES: dict[str, list[Any]] = {
    "BOOL": [True, False, True, True],
    "BYTES": ["a", "", "é", "long" * 100],
    **{f"FP{bits}": [0.5, -2, 1e-3, 65504] for bits in (16, 32, 64)},
    **{f"INT{bits}": [0, -1, 2 ** (bits - 1) - 1, -(2 ** (bits - 1))] for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": [0, 1, 2**bits - 1, 7] for bits in (8, 16, 32, 64)},
}


@pytest.mark.parametrize("datatype", DTYPES)
def test_every_datatype_survives_in_json_and_in_bytes(echoes: TestClient, datatype: str) -> None:
    path = f"/v2/models/echo-{datatype.lower()}"
    assert echoes.get(path).json()["inputs"] == [{"name": "x", "datatype": datatype, "shape": [-1, -1]}]
    values = VALUES[datatype]
    if datatype == "BYTES":
        raw = join_elements(value.encode() for value in values)
    else:
        raw = np.array(values, DTYPES[datatype]).tobytes()
    spec = {"name": "x", "shape": [2, 2], "datatype": datatype}
    as_json = ask(echoes, {"inputs": [{**spec, "data": [values[:2], values[2:]]}]}, f"{path}/infer").json()
    np.testing.assert_array_equal(
        np.array(as_json["outputs"][0]["data"], DTYPES[datatype] if datatype != "BYTES" else object),
        np.array(values, DTYPES[datatype] if datatype != "BYTES" else object),
    )
    head = {"inputs": [{**spec, "parameters": {"binary_data_size": len(raw)}}]}
    head["parameters"] = {"binary_data_output": True}  # type: ignore[assignment]
    body, length = binary(head, raw)
    answer = ask(echoes, body, f"{path}/infer", **{LENGTH: length})
    text = int(answer.headers[LENGTH])
    assert json.loads(answer.content[:text])["outputs"] == [
        {"name": "y", "datatype": datatype, "shape": [2, 2], "parameters": {"binary_data_size": len(raw)}}
    ]
    assert answer.content[text:] == raw


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("FP32", [True]),
        ("FP32", ["1"]),
        ("FP32", [None]),
        ("FP32", [10**400]),
        ("FP32", [1e300]),
        ("FP16", [1e9]),
        ("INT8", [128]),
        ("INT8", [1.5]),
        ("UINT8", [-1]),
        ("BOOL", [2]),
        ("BYTES", [1]),
        ("BYTES", ["\ud800"]),
    ],
)
def test_values_that_are_not_of_their_datatype_are_refused(http: TestClient, datatype: str, data: list[Any]) -> None:
    message = refused(ask(http, {"inputs": [row(shape=[1], datatype=datatype, data=data)]}))
    assert f"Tensor row: its data are not all of datatype {datatype}" in message


def test_an_output_that_json_cannot_say_is_refused_and_comes_in_bytes(http: TestClient) -> None:
    head = {"inputs": [row(parameters={"binary_data_size": 8})]}
    del head["inputs"][0]["data"]
    for value in (float("inf"), float("nan")):
        body, length = binary(head, struct.pack("<2f", value, 1))
        assert "Ask for binary_data" in refused(ask(http, body, **{LENGTH: length}))
        body, length = binary({**head, "parameters": {"binary_data_output": True}}, struct.pack("<2f", value, 1))
        assert ask(http, body, **{LENGTH: length}).content[-4:] == struct.pack("<f", value)


def test_one_output_may_be_in_bytes_where_the_rest_is_not(http: TestClient) -> None:
    whole = {"binary_data_output": True}
    for own, expected in (({"binary_data": False}, False), ({}, True)):
        body = {"inputs": [row()], "outputs": [{"name": "sum", "parameters": own}], "parameters": whole}
        assert (LENGTH in ask(http, body).headers) == expected


PICTURE = base64.b64encode(picture((0, 0, 255))).decode()


@pytest.mark.parametrize(
    "element",
    [
        {"data": [PICTURE]},
        {"data": [f"data:image/png;base64,{PICTURE}"]},
        {"data": [PICTURE], "parameters": {"content_type": "base64"}},
        {"data": [[PICTURE]], "shape": [1, 1], "parameters": {"content_type": "base64"}},
    ],
    ids=["base64", "data URL", "MLServer", "MLServer, nested"],
)
def test_pictures_in_json(http: TestClient, element: dict[str, Any]) -> None:
    body = {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], **element}]}
    assert ask(http, body, OBJECTS).json()["outputs"][0]["data"] == [0, 0, 10]


def test_parameters_of_the_task_may_come_with_its_pictures(http: TestClient) -> None:
    image = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [PICTURE]}
    assert ask(http, {"inputs": [image], "parameters": {"top_k": 1}}, OBJECTS).status_code == 200
    assert "top_k" in refused(ask(http, {"inputs": [image], "parameters": {"top_k": 0}}, OBJECTS))


def test_pictures_are_refused_by_their_headers_before_a_replica_sees_them(http: TestClient) -> None:
    def send(*elements: bytes, shape: list[int] | None = None, path: str = OBJECTS) -> Any:
        raw = join_elements(elements)
        spec = {"name": "image", "datatype": "BYTES", "shape": shape or [len(elements)]}
        body, length = binary({"inputs": [{**spec, "parameters": {"binary_data_size": len(raw)}}]}, raw)
        return ask(http, body, path, **{LENGTH: length})

    good = picture()
    huge = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 200_000, 200_000, 8, 2, 0, 0, 0) + bytes(4)
    assert send(good, good).status_code == 200
    refused(send(good, huge), 413)
    refused(send(good, b"no picture"), 415)
    refused(send(b""), 422)
    refused(send(good[:60]), 422)
    for shape, count in (([1, 2], 2), ([0], 0), ([1, 1, 1], 1), ([1001], 1001)):
        assert "encoded files, N from 1 to 1000" in refused(send(*[good] * count, shape=shape))
    assert "in stages" in refused(send(good, path="/v2/models/image-brightness/infer"))
    assert "UTF-8" in refused(send(good, path=SUMS))


LIES: dict[str, tuple[bytes, str]] = {
    "longer than the body": (b'{"inputs":[]}', "1000"),
    "negative": (b'{"inputs":[]}', "-1"),
    "no number": (b'{"inputs":[]}', "0x10"),
    "another number": (b'{"inputs":[]}', "١"),
    "inside the JSON": (json.dumps({"inputs": [row()]}).encode(), "9"),
    "nothing": (json.dumps({"inputs": [row()]}).encode(), ""),
    "zero": (b"\0\0\0\0", "0"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_header_length_that_lies_is_refused(http: TestClient, lie: str) -> None:
    body, length = LIES[lie]
    answer = http.post(SUMS, content=body, headers=[(LENGTH.encode(), length.encode())])
    refused(answer)


def raw_row(size: Any, **changes: Any) -> dict[str, Any]:
    spec = row(parameters={"binary_data_size": size}, **changes)
    del spec["data"]
    return spec


TENSORS: dict[str, tuple[list[Any], bytes, str]] = {
    "fewer bytes": ([raw_row(8)], bytes(4), "at most the 4 bytes that follow, received 8"),
    "more bytes": ([raw_row(8)], bytes(12), "4 bytes after the tensors"),
    "a size for another shape": ([raw_row(4)], bytes(4), "takes 8 bytes, received 4"),
    "a negative size": ([raw_row(-8)], bytes(8), "received -8"),
    "a size of text": ([raw_row("8")], bytes(8), "received '8'"),
    "a size of truth": ([raw_row(True)], bytes(1), "received True"),
    "a huge size": ([raw_row(10**40)], bytes(8), "received 1000000"),
    "data as well": ([{**raw_row(8), "data": [1, 2]}], bytes(8), "received both"),
    "negative shape": ([raw_row(8, shape=[-1, -2])], bytes(8), "of at most 32 sizes from 0"),
    "shape of text": ([raw_row(8, shape=["1", 2])], bytes(8), "of at most 32 sizes from 0"),
    "shape of fractions": ([raw_row(8, shape=[1.0, 2])], bytes(8), "of at most 32 sizes from 0"),
    "shape of lists": ([raw_row(8, shape=[[1], 2])], bytes(8), "of at most 32 sizes from 0"),
    "shape that overflows": ([raw_row(0, shape=[2**32, 2**32])], b"", "of at most 32 sizes from 0"),
    "shape that overflows beside a 0": ([raw_row(0, shape=[0, 2**63])], b"", "of at most 32 sizes from 0"),
    "shape without end": ([raw_row(8, shape=[1] * 100_000)], bytes(8), "of at most 32 sizes from 0"),
    "no shape": ([raw_row(8, shape=None)], bytes(8), "Expected a list as `shape`"),
    "unknown datatype": ([raw_row(8, datatype="FP8")], bytes(8), "received 'FP8'"),
    "BF16": ([raw_row(4, datatype="BF16")], bytes(4), "send FP32"),
    "datatype of lists": ([raw_row(8, datatype=["FP32"])], bytes(8), "expected one of BOOL"),
    "no datatype": ([raw_row(8, datatype=None)], bytes(8), "received None"),
    "no name": ([raw_row(8, name=None)], bytes(8), "Expected a name"),
    "wrong name": ([raw_row(8, name="line")], bytes(8), "The graph takes row float32"),
    "wrong datatype": ([raw_row(8, datatype="INT32")], bytes(8), "received row int32"),
    "wrong rank": ([raw_row(8, shape=[2])], bytes(8), "The graph takes row float32"),
    "twice": ([raw_row(8), raw_row(8)], bytes(16), "each input once"),
    "one too many": ([raw_row(8), raw_row(8, name="more")], bytes(16), "The graph takes row float32"),
    "no tensor": ([], b"", "at least one tensor"),
    "no object": ([[]], b"", "Expected an object"),
    "shared memory": ([row(parameters={"shared_memory_region": "x"})], b"", "shared memory is not offered"),
    "a lying element": ([raw_row(5, datatype="BYTES")], b"\xff\xff\xff\xff1", "4,294,967,295 bytes, but 1 follow"),
    "half a length": ([raw_row(3, datatype="BYTES")], bytes(3), "length of 4 bytes"),
    "fewer elements": ([raw_row(4, datatype="BYTES")], bytes(4), "takes 2 elements, received 1"),
    "more elements": ([raw_row(12, datatype="BYTES")], bytes(12), "takes 2 elements, received more"),
    "too many elements": ([raw_row(0, datatype="BYTES", shape=[1 << 30])], b"", "at most 1,048,576 elements"),
    "no base64": (
        [row(datatype="BYTES", data=["*", "!"], parameters={"content_type": "base64"})],
        b"",
        "expected base64",
    ),
}


@pytest.mark.parametrize("case", TENSORS)
def test_tensors_that_cannot_be_are_refused(http: TestClient, case: str) -> None:
    inputs, raw, words = TENSORS[case]
    body, length = binary({"inputs": inputs}, raw)
    assert words in refused(ask(http, body, **{LENGTH: length}))
    assert ask(http, {"inputs": [row()]}).status_code == 200


BODIES: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"inputs",
    "no object": b"[]",
    "no inputs": b"{}",
    "inputs of text": b'{"inputs": "row"}',
    "deep": b"[" * 200_000,
    "deep data": b'{"inputs": [{"name": "row", "datatype": "FP32", "shape": [1, 2], "data": ' + b"[" * 100_000,
    "deep data, closed": json.dumps({"inputs": [row(data="#")]}).replace('"#"', "[" * 500 + "]" * 500).encode(),
    "a number of 10,000 digits": json.dumps({"inputs": [row(data="#")]}).replace('"#"', "9" * 10_000).encode(),
    "not UTF-8": b'{"inputs": "\xff"}',
    "an id that is none": json.dumps({"id": 3, "inputs": [row()]}).encode(),
    "parameters of text": json.dumps({"parameters": "x", "inputs": [row()]}).encode(),
    "a role of numbers": json.dumps({"parameters": {"role": 1}, "inputs": [row()]}).encode(),
    "a negative timeout": json.dumps({"parameters": {"timeout": -1}, "inputs": [row()]}).encode(),
    "a priority of text": json.dumps({"parameters": {"priority": "high"}, "inputs": [row()]}).encode(),
    "a binary tensor without its header": json.dumps({"inputs": [raw_row(8)]}).encode(),
    "no data": json.dumps({"inputs": [row(data=None)]}).encode(),
    "ragged data": json.dumps({"inputs": [row(shape=[2, 2], data=[[1, 2, 3], [4]])]}).encode(),
    "half nested data": json.dumps({"inputs": [row(shape=[2, 2], data=[[1, 2], 3, 4])]}).encode(),
    "fewer data": json.dumps({"inputs": [row(data=[1])]}).encode(),
    "an unknown output": json.dumps({"inputs": [row()], "outputs": [{"name": "total"}]}).encode(),
    "an output without name": json.dumps({"inputs": [row()], "outputs": [{}]}).encode(),
    "no number of classes": json.dumps(
        {"inputs": [row()], "outputs": [{"name": "sum", "parameters": {"classification": "3"}}]}
    ).encode(),
    "no truth": json.dumps(
        {"inputs": [row()], "outputs": [{"name": "sum", "parameters": {"binary_data": "yes"}}]}
    ).encode(),
}


@pytest.mark.parametrize("case", BODIES)
def test_bodies_that_are_no_request_are_refused(http: TestClient, case: str) -> None:
    refused(ask(http, BODIES[case]))


def test_an_unknown_output_is_told_the_known_ones(http: TestClient) -> None:
    assert "there are sum" in refused(ask(http, BODIES["an unknown output"]))


def bare(data: bytes) -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    return stream.compress(data) + stream.flush()


BODY = json.dumps({"inputs": [row()]}).encode()


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(BODY)),
        ("GZIP", gzip.compress(BODY)),
        ("x-gzip", gzip.compress(BODY)),
        ("deflate", zlib.compress(BODY)),
        ("deflate", bare(BODY)),
        ("identity", BODY),
    ],
    ids=itertools.count(),
)
def test_compressed_bodies(http: TestClient, coding: str, body: bytes) -> None:
    assert ask(http, body, **{"content-encoding": coding}).json()["outputs"][0]["data"] == [4]


def test_compressed_bodies_that_are_not_what_they_say(http: TestClient) -> None:
    packed = gzip.compress(BODY)
    for broken in (BODY, packed[:-4], packed + b"more", packed[:20] + b"????" + packed[24:], b""):
        refused(ask(http, broken, **{"content-encoding": "gzip"}))
    refused(ask(http, packed, **{"content-encoding": "br"}), 415)


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress, bare])
def test_a_bomb_is_refused_while_it_is_inflated(http: TestClient, compress: Any) -> None:
    bomb = compress(b" " * (300 << 20))
    assert len(bomb) < 1 << 20
    assert "at most 8 MB" in refused(ask(http, bomb, **{"content-encoding": "deflate"}), 413)


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("deflate, gzip;q=0.5", "gzip"),
        ("gzip;q=0, deflate", "deflate"),
        ("gzip; q=0", None),
        ("br", None),
        ("", None),
    ],
)
def test_answers_are_compressed_as_the_client_likes(http: TestClient, accept: str, coding: str | None) -> None:
    many = ask(http, {"inputs": [row(shape=[2000, 1], data=[1] * 2000)]}, **{"accept-encoding": accept})
    assert many.headers.get("content-encoding") == coding
    assert many.json()["outputs"][0]["data"] == [2] * 2000
    small = ask(http, {"inputs": [row()]}, **{"accept-encoding": accept})
    assert "content-encoding" not in small.headers


# Other web sites


@pytest.fixture
def own(tmp_path: Path) -> Any:
    """Makes applications with a model, and flags of their own."""
    Store(tmp_path).put(colour_card(), {"graph.onnx": colour_network()})

    def build(**flags: Any) -> TestClient:
        return TestClient(build_app(Settings({"home": str(tmp_path), "lanes": 1, **flags}, environ={})))

    return build


UNLOAD = "/v2/repository/models/objects/unload"


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://evil.example", "localhost:8080"),
        ("http://localhost:8081", "localhost:8080"),
        ("http://rebound.example:8080", "rebound.example:8080"),
        ("http://localhost.example:8080", "localhost.example:8080"),
        ("null", "localhost:8080"),
        ("", ""),
        ("http://", ""),
        ("http://[::1", "[::1"),
        ("localhost:8080", "localhost:8080"),
        ("http://user@localhost:8080", "localhost:8080"),
    ],
)
def test_another_web_site_can_change_nothing(own: Any, origin: str, host: str) -> None:
    for flags in ({}, {"cors_origins": "https://good.example, *"}):
        answer = own(**flags).post(UNLOAD, headers={"origin": origin, "host": host})
        assert "GLIA_CORS_ORIGINS" in refused(answer, 403)
        assert answer.json()["code"] == "foreign-origin"


@pytest.mark.parametrize(
    ("origin", "host", "flags"),
    [
        (None, "testserver", {}),
        ("http://localhost:8080", "localhost:8080", {}),
        ("http://127.0.0.1:8080", "127.0.0.1:8080", {}),
        ("http://192.168.1.7", "192.168.1.7", {}),
        ("http://[::1]:8080", "[::1]:8080", {}),
        ("http://glia.localhost", "glia.localhost", {}),
        ("https://good.example", "glia.example", {"cors_origins": "https://good.example"}),
        ("https://glia.example", "glia.example", {"api_key": "k"}),
    ],
)
def test_the_own_page_and_other_programs_can(own: Any, origin: str | None, host: str, flags: dict[str, str]) -> None:
    headers = {"host": host, "x-api-key": "k", **({"origin": origin} if origin is not None else {})}
    assert own(**flags).post(UNLOAD, headers=headers).status_code == 200


QUESTIONS = {
    "/v1/services/{name}",
    "/v1/services/{name}/batch",
    "/models/{name}",
    "/models/{name}/batch",
    "/v2/models/{name}/infer",
    "/v2/models/{name}/versions/{version}/infer",
    "/v2/repository/index",
}
"""Routes that answer about the bytes they are sent, and change nothing."""


def test_every_route_that_changes_something_refuses_other_web_sites(own: Any) -> None:
    client = own()
    changing = [
        (method, route.path)
        for route in client.app.routes
        if not isinstance(route, Mount)
        for method in (route.methods if isinstance(route, Route) else ())
        if method not in ("GET", "HEAD", "OPTIONS") and route.path not in QUESTIONS
    ]
    assert ("POST", "/v2/repository/models/{name}/load") in changing
    for method, path in changing:
        answer = client.request(method, path.replace("{name}", "objects"), headers={"origin": "https://evil.example"})
        assert answer.status_code == 403, (method, path)


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"parameters": 3}', b'"x"'])
def test_a_repository_request_that_is_no_object_is_refused(own: Any, body: bytes) -> None:
    for path in (UNLOAD, "/v2/repository/index", "/v2/repository/models/objects/load"):
        refused(own().post(path, content=body))


def test_the_index_has_every_service_and_model(http: TestClient) -> None:
    rows = {row["name"]: row for row in http.post("/v2/repository/index").json()}
    assert {"objects", "colours", "sums", "pair", "one", "counting"} <= set(rows)
    assert set(rows["objects"]) == {"name", "version", "state", "reason"}
    assert {row["state"] for row in rows.values()} <= {"READY", "UNAVAILABLE", "LOADING"}
    ask(http, {"inputs": [row()]})
    ready = http.post("/v2/repository/index", json={"ready": True}).json()
    assert {row["state"] for row in ready} == {"READY"}
    assert "sums" in {row["name"] for row in ready}


def test_the_description_has_the_protocol(http: TestClient) -> None:
    paths = http.get("/openapi.json").json()["paths"]
    served = {route.path for route in http.app.routes if isinstance(route, Route)}  # type: ignore[attr-defined]
    named = {path for path in paths if path.startswith("/v2")}
    assert named == {path for path in served if path.startswith("/v2") and "{version}" not in path}


@pytest.mark.parametrize(
    ("parameters", "deadline_s", "background"),
    [
        ({}, 60, False),
        ({"priority": 0, "timeout": 0}, 60, False),
        ({"priority": 1, "timeout": 500_000}, 0.5, False),
        ({"priority": 2, "timeout": 10**12}, 60, True),
        ({"priority": 9}, 60, True),
    ],
)
def test_timeout_and_priority_reach_the_pool(
    own: Any, monkeypatch: pytest.MonkeyPatch, parameters: dict[str, int], deadline_s: float, background: bool
) -> None:
    seen: list[Any] = []

    async def infer(pool: Pool, *arguments: Any, **options: Any) -> Any:
        seen.append((arguments[2], options["background"]))
        return [], {}

    monkeypatch.setattr(Pool, "infer", infer)
    assert ask(own(), {"inputs": [row()], "parameters": parameters}, OBJECTS).status_code == 200
    assert seen == [(deadline_s, background)]
