"""Every form in which clients send a request, and every form of answer, over one application."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from house import picture

RED = picture((255, 0, 0))
GREEN = picture((0, 255, 0))
OBJECTS = "/v1/services/objects"
BASE64 = base64.b64encode(RED).decode()


def problem(answer: Any, status: int, code: str) -> str:
    """The detail of an error answer, once its shape is right."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (body["status"], body["code"]) == (status, code)
    assert body["detail"] == body["error"]
    assert body["title"]
    assert body["type"].startswith(("urn:glia:error:", "about:"))
    return str(body["detail"])


def best(answer: Any) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.json()[0]["label"])


@pytest.mark.parametrize(
    "kind", [None, "image/png", "image/jpeg", "application/octet-stream", "application/x-www-form-urlencoded"]
)
def test_raw_bytes_are_the_subject_whatever_the_content_type_says(http: TestClient, kind: str | None) -> None:
    answer = http.post(OBJECTS, content=RED, headers={"content-type": kind} if kind else {})
    assert best(answer) == "red"
    assert len(answer.json()) == 3


@pytest.mark.parametrize("name", ["image", "file", "photo"])
def test_a_file_part_is_the_subject_under_its_own_or_any_other_name(http: TestClient, name: str) -> None:
    assert best(http.post(OBJECTS, files={name: ("a.png", RED, "image/png")}, data={"top_k": "1"})) == "red"


@pytest.mark.parametrize(
    "body",
    [
        {"image": BASE64, "top_k": 2},
        {"image": f"data:image/png;base64,{BASE64}", "top_k": 2},
        {"inputs": BASE64, "parameters": {"top_k": 2}},
        {"inputs": BASE64, "parameters": {"top_k": 2, "nothing": None}, "options": {"wait_for_model": True}},
        {"inputs": f"data:image/png;base64,{BASE64}", "top_k": 2},
    ],
    ids=["native", "data URL", "Hugging Face", "Hugging Face with options", "inputs and a field"],
)
@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded", None])
def test_json_carries_base64_and_data_urls(http: TestClient, body: dict[str, Any], kind: str | None) -> None:
    answer = http.post(OBJECTS, content=json.dumps(body), headers={"content-type": kind} if kind else {})
    assert best(answer) == "red"
    assert len(answer.json()) == 2


def test_a_json_body_of_megabytes_is_read_like_a_small_one(http: TestClient) -> None:
    large = picture((255, 0, 0), (900, 700), "bmp")
    assert best(http.post(OBJECTS, json={"image": base64.b64encode(large).decode()})) == "red"


def test_query_parameters_go_with_raw_bytes(http: TestClient) -> None:
    assert len(http.post(f"{OBJECTS}?top_k=2", content=RED).json()) == 2


def test_an_address_is_refused_with_what_to_do(http: TestClient) -> None:
    for body in ({"inputs": "https://example.com/a.jpg"}, {"image": "http://10.0.0.1/"}):
        message = problem(http.post(OBJECTS, json=body), 422, "invalid-input")
        assert "send its bytes" in message
        assert "fetches nothing" in message


@pytest.mark.parametrize(
    ("send", "words"),
    [
        ({"content": RED, "params": {"topk": "2"}}, "topk: unknown; the fields are image, top_k"),
        ({"json": {"image": BASE64, "topk": 2}}, "topk: unknown"),
        ({"json": {"inputs": BASE64, "parameters": {"topk": 2}}}, "topk: unknown"),
        ({"files": {"image": RED}, "data": {"topk": "2"}}, "topk: unknown"),
        ({"content": RED, "params": {"top_k": "0"}}, "top_k"),
        ({"content": RED, "params": {"top_k": "many"}}, "received 'many'"),
        ({"json": {"image": BASE64, "top_k": 1001}}, "received 1001"),
        ({"json": {"top_k": 1}}, "image: required"),
        ({"json": {"image": 5}}, "image"),
        ({"json": {"image": "no base64!"}}, "base64"),
        ({"json": {"image": "data:image/png,abc"}}, "data:TYPE;base64,DATA"),
        ({"json": {"inputs": BASE64, "parameters": [1]}}, "an object as `parameters`, received list"),
        ({"json": {"\ud800": 1, "image": BASE64}}, "unicode"),
        ({"content": b""}, "received 0 bytes"),
        ({"content": b"", "headers": {"content-type": "application/json"}}, "Expected JSON"),
        ({"content": b"{broken", "headers": {"content-type": "application/json"}}, "Expected JSON, received 7 bytes"),
        ({"content": b"[" * 100_000, "headers": {"content-type": "application/json"}}, "Expected JSON"),
        ({"content": b"[" * 900 + b"]" * 900, "headers": {"content-type": "application/json"}}, "image"),
        ({"content": b'{"image":NaN}', "headers": {"content-type": "application/json"}}, "NaN"),
        ({"content": b"\xff\xfe{", "headers": {"content-type": "application/json"}}, "Expected JSON"),
        ({"content": b"abc", "headers": {"content-type": "multipart/form-data"}}, "multipart/form-data"),
        ({"content": b"abc", "headers": {"content-type": "multipart/form-data; boundary=x"}}, "multipart/form-data"),
        ({"files": [("file", RED), ("file", GREEN)]}, "one image, received 2"),
        ({"files": {"image": RED, "file": GREEN}}, "file: unknown"),
        ({"content": RED, "params": {"top_k": ["1", "2"]}}, "one top_k, received 2"),
        ({"content": RED, "params": {"deadline_ms": "soon"}}, "number as deadline"),
        ({"content": RED, "params": {"deadline_ms": "-1"}}, "above 0"),
        ({"content": RED, "params": {"deadline_ms": "nan"}}, "above 0"),
    ],
    ids=range(28),
)
def test_what_breaks_the_contract_is_refused_in_words(http: TestClient, send: dict[str, Any], words: str) -> None:
    if "json" in send:  # httpx would send a lone surrogate as it is
        send = {"content": json.dumps(send["json"]), "headers": {"content-type": "application/json"}}
    message = problem(http.post(OBJECTS, **send), 422, "invalid-input")
    assert words in message
    assert len(message) < 400


def test_bytes_of_no_picture_are_unsupported_media(http: TestClient) -> None:
    message = problem(http.post(OBJECTS, content=b"this is a sentence"), 415, "unsupported-media")
    assert "JPEG" in message.upper()


def test_a_body_above_the_limit_is_refused_by_its_announced_length(http: TestClient) -> None:
    message = problem(http.post(OBJECTS, content=bytes(9 << 20)), 413, "body-too-large")
    assert "at most 8 MB" in message
    assert "GLIA_MAX_BODY_MB" in message


def test_a_body_above_the_limit_is_refused_while_it_is_read_when_its_length_is_not_announced(http: TestClient) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(9):
            yield bytes(1 << 20)

    problem(http.post(OBJECTS, content=chunks()), 413, "body-too-large")
    problem(http.post(f"{OBJECTS}/batch", content=chunks()), 413, "body-too-large")


def test_a_large_multipart_body_is_refused_too(http: TestClient) -> None:
    problem(http.post(OBJECTS, files={"image": bytes(9 << 20)}), 413, "body-too-large")


def test_a_text_subject_is_the_raw_body(http: TestClient) -> None:
    for headers in ({}, {"content-type": "text/plain"}, {"content-type": "application/x-www-form-urlencoded"}):
        answer = http.post("/v1/services/trouble", content="say:grüß".encode(), headers=headers)
        assert answer.json() == "grüß", answer.text
    assert http.post("/v1/services/trouble", json={"inputs": "say:hello"}).json() == "hello"
    problem(http.post("/v1/services/trouble", content=b"\xff\xfe"), 422, "invalid-input")


def test_a_number_is_the_raw_body_too(http: TestClient) -> None:
    assert http.post("/v1/services/counting", content=b"3").json() == [1, 2, 3]
    assert http.post("/v1/services/counting", json=3).json() == [1, 2, 3]
    assert http.post("/v1/services/counting", data={"upto": "3"}, files={"x": b""}).status_code == 422
    problem(http.post("/v1/services/counting", content=b"9" * 5000), 422, "invalid-input")


def test_a_request_s_deadline_is_kept(http: TestClient, tmp_path: Any) -> None:
    go = tmp_path / "go"
    for how in ({"params": {"deadline_ms": "100"}}, {"headers": {"x-request-timeout": "0.1"}}):
        answer = http.post("/v1/services/trouble", content=f"wait:{go}", **how)
        assert "within 0.1 s" in problem(answer, 504, "deadline-exceeded")
    go.touch()
    assert http.post("/v1/services/trouble", content="say:again").json() == "again"


def test_a_picture_is_answered_as_its_bytes_and_as_a_data_url_for_json(http: TestClient) -> None:
    answer = http.post("/v1/services/image-mirroring", content=RED, headers={"accept": "image/png"})
    assert answer.headers["content-type"] == "image/png"
    assert answer.content.startswith(b"\x89PNG")
    assert best(http.post(OBJECTS, content=answer.content)) == "red"
    answer = http.post("/v1/services/image-mirroring", content=RED, headers={"accept": "application/json"})
    assert answer.json().startswith("data:image/png;base64,")
    assert best(http.post(OBJECTS, json={"image": answer.json()})) == "red"


def test_items_come_as_events_before_the_answer(http: TestClient) -> None:
    with http.stream("POST", "/v1/services/counting", json=3, headers={"accept": "text/event-stream"}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in answer.iter_lines() if line]
    assert lines == [
        *(part for n in "123" for part in ("event: item", f"data: {n}")),
        "event: end",
        "data: [1, 2, 3]",
    ]


def test_an_error_of_a_stream_is_an_event_of_the_same_shape(http: TestClient) -> None:
    answer = http.post("/v1/services/objects", content=RED[:60], headers={"accept": "text/event-stream"})
    kind, data = answer.text.strip().split("\n")
    assert kind == "event: error"
    assert json.loads(data.removeprefix("data: "))["code"] == "damaged-media"
    wrong = http.post("/v1/services/counting", json=-1, headers={"accept": "text/event-stream"})
    problem(wrong, 422, "invalid-input")


def test_a_subject_of_several_pictures_is_repeated_parts_or_a_list(http: TestClient) -> None:
    url = "/v1/services/image-comparison"
    other = picture((0, 0, 0), (9, 9))
    for name in ("images", "file"):
        assert http.post(url, files=[(name, RED), (name, GREEN)]).json()["same"] is True
    data = [BASE64, base64.b64encode(other).decode()]
    expected = {"same": False, "sizes": [[32, 24], [9, 9]]}
    assert http.post(url, json={"images": data}).json() == expected
    assert http.post(url, json={"inputs": data}).json() == expected
    assert "at least 2" in problem(http.post(url, content=RED), 422, "invalid-input")


def test_the_contract_comes_from_the_model_s_card(http: TestClient) -> None:
    url = "/v1/services/sums"
    assert http.post(url, json={"row": {"a": 1, "b": 2}}).json() == 4
    assert http.post(url, json={"inputs": {"a": 1, "b": 2}}).json() == 4
    assert http.post(url, files={"row": (None, '{"a": 1, "b": 2}')}).json() == 4
    assert "row.c: unknown" in problem(http.post(url, json={"row": {"a": 1, "b": 2, "c": 3}}), 422, "invalid-input")
    assert "row.b: required" in problem(http.post(url, json={"row": {"a": 1}}), 422, "invalid-input")
    schema = http.get(url).json()["input_schema"]
    assert set(schema["$defs"]["Row"]["properties"]) == {"a", "b"}


@pytest.mark.parametrize("value", ["nan", "inf", "1e999"])
def test_numbers_that_are_none_are_refused(http: TestClient, value: str) -> None:
    problem(http.post("/v1/services/sums", json={"row": {"a": value, "b": 2}}), 422, "invalid-input")
    problem(http.post("/v1/services/sums", content=b'{"row": {"a": 1e999, "b": 2}}'), 422, "invalid-input")
    problem(http.post(f"/v1/services/image-brightness?floor={value}", content=RED), 422, "invalid-input")


def test_roles_are_bound_to_two_models(http: TestClient) -> None:
    answer = http.post("/v1/services/pair", json={"value": 5})
    assert answer.json() == 7
    assert answer.headers["x-glia-model"] == "one@1, two@1"


def test_a_version_pins_and_an_unknown_one_is_not_found(http: TestClient) -> None:
    assert best(http.post(OBJECTS, content=RED)) == "red"
    assert best(http.post(f"{OBJECTS}@1", content=RED)) == "red"
    answer = http.post(f"{OBJECTS}@2", content=RED)
    assert best(answer) == "rot"
    assert answer.headers["x-glia-model"] == "colours@2"
    problem(http.post(f"{OBJECTS}@9", content=RED), 404, "not-found")
    problem(http.post(f"{OBJECTS}@new", content=RED), 422, "invalid-input")


def test_a_model_answers_under_its_own_name_and_under_the_alias(http: TestClient) -> None:
    for url in ("/models/objects", "/v1/services/colours", "/models/colours", "/models/objects@1"):
        assert best(http.post(url, content=RED)) == "red"
    assert http.get("/models/objects").json() == http.get(OBJECTS).json()


def test_an_unknown_service_is_not_found_with_the_nearest_name(http: TestClient) -> None:
    message = problem(http.post("/v1/services/object", content=RED), 404, "not-found")
    assert "Did you mean 'objects'?" in message


def test_an_answer_says_which_model_made_it_and_where_the_time_went(http: TestClient) -> None:
    headers = http.post(OBJECTS, content=RED).headers
    assert headers["x-glia-model"] == "colours@1"
    steps = dict(part.split(";dur=") for part in headers["server-timing"].split(", "))
    assert {"queue", "decode", "preprocess", "run", "postprocess"} <= set(steps)
    assert all(float(ms) >= 0 for ms in steps.values())


BATCHES: dict[str, dict[str, Any]] = {
    "multipart": {"files": [("image", RED), ("image", b"no picture"), ("image", GREEN)], "data": {"top_k": "1"}},
    "multipart named file": {"files": [("file", RED), ("file", b"no picture"), ("file", GREEN)], "data": {"top_k": 1}},
    "list of requests": {
        "json": [
            {"image": BASE64, "top_k": 1},
            {"image": "https://example.com/"},
            {"image": base64.b64encode(GREEN).decode(), "top_k": 1},
        ]
    },
    "list of subjects": {"json": [BASE64, "?", base64.b64encode(GREEN).decode()], "params": {"top_k": "1"}},
    "Hugging Face": {
        "json": {"inputs": [BASE64, "?", base64.b64encode(GREEN).decode()], "parameters": {"top_k": 1, "no": None}}
    },
}


@pytest.mark.parametrize("send", BATCHES.values(), ids=BATCHES)
def test_a_batch_gives_an_answer_or_an_error_for_each_in_order(http: TestClient, send: dict[str, Any]) -> None:
    answer = http.post(f"{OBJECTS}/batch", **send)
    assert answer.status_code == 200, answer.text
    first, wrong, last = answer.json()
    assert [first[0]["label"], last[0]["label"]] == ["red", "green"]
    assert len(first) == len(last) == 1
    assert wrong["error"] == wrong["detail"]
    assert wrong["status"] in (415, 422)
    assert answer.headers["x-glia-model"] == "colours@1"


def test_a_batch_of_rows_is_a_list_of_objects(http: TestClient) -> None:
    url = "/v1/services/sums/batch"
    rows = [{"a": 1, "b": 2}, {"a": 5, "b": 5}]
    assert http.post(url, json={"inputs": rows}).json() == [4, 11]
    assert http.post(url, json=[{"row": row} for row in rows]).json() == [4, 11]
    assert http.post(url, json=[{"inputs": row} for row in rows]).json() == [4, 11]


def test_a_batch_of_lists_of_pictures_is_a_list_of_lists(http: TestClient) -> None:
    answer = http.post("/v1/services/image-comparison/batch", json={"inputs": [[BASE64, BASE64], [BASE64]]}).json()
    assert answer[0]["same"] is True
    assert answer[1]["code"] == "invalid-input"


@pytest.mark.parametrize(
    "send",
    [
        {"json": []},
        {"json": {"image": BASE64}},
        {"json": "text"},
        {"json": {"inputs": BASE64}},
        {"json": {"inputs": [BASE64], "parameters": "top_k"}},
        {"content": b"{"},
        {"files": {"image": (None, "")}, "data": {"top_k": "1"}, "params": {"deadline_ms": "x"}},
        {"data": {"top_k": "1"}, "files": {"x": (None, "1")}},
    ],
    ids=range(8),
)
def test_a_batch_that_is_none_is_refused_as_a_whole(http: TestClient, send: dict[str, Any]) -> None:
    problem(http.post(f"{OBJECTS}/batch", **send), 422, "invalid-input")


@pytest.mark.parametrize("path", ["/health", "/info", "/openapi.json", "/v1/services", OBJECTS, f"{OBJECTS}/batch"])
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_a_wrong_method_is_a_problem_that_names_the_right_ones(http: TestClient, method: str, path: str) -> None:
    answer = http.request(method, path)
    message = problem(answer, 405, "method-not-allowed")
    for allowed in answer.headers["allow"].split(", "):
        assert allowed in message
    assert ("POST" in answer.headers["allow"]) == (OBJECTS in path)
    assert ("GET" in answer.headers["allow"]) == (not path.endswith("batch"))


@pytest.mark.parametrize("path", ["/health", "/info", "/openapi.json", "/v1/services", OBJECTS])
def test_head_is_get_without_the_body(http: TestClient, path: str) -> None:
    answer = http.head(path)
    assert answer.status_code == 200
    assert answer.content == b""


@pytest.mark.parametrize(
    "path", ["/nothing", "/v1", "/v1/services/objects/nothing", "/ui/%2e%2e/__init__.py", "/ui/nothing.js"]
)
def test_an_unknown_route_is_a_problem(http: TestClient, path: str) -> None:
    assert path.split("/")[1] in problem(http.get(path), 404, "not-found")
