"""What every request passes: the key, origins, ids, headers, the log, a proxy's path; and what an empty store says."""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import glia.api
from glia.api.http.app import build_app
from glia.core.card import Card
from glia.core.log import JsonLines, TextLines
from glia.core.settings import Settings
from glia.store.bindings import Bindings
from house import EXTRA_TASKS, picture

KEY = "kéy-with-a-secret"
ROUTES = ["/", "/docs", "/info", "/openapi.json", "/v1/services", "/v1/services/objects", "/models/objects"]
ROUTES += ["/ui/app.js", "/ui/samples/samples.json", "/nothing", "/health/", "//health"]


@pytest.fixture
def app(home: Path) -> Callable[..., TestClient]:
    """An application with flags of its own; outside a `with` it starts no replica."""

    def build(root_path: str = "", **flags: Any) -> TestClient:
        return TestClient(
            build_app(Settings({"home": str(home), "lanes": 1, **flags}, environ={})), root_path=root_path
        )

    return build


def _utf8(text: str) -> bytes:
    return text.encode("utf-8")


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS"])
def test_every_route_but_health_asks_for_the_key(app: Callable[..., TestClient], method: str, route: str) -> None:
    answer = app(api_key=KEY).request(method, f"http://testserver{route}")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic")
    assert answer.headers["content-type"] == "application/problem+json"
    if method != "HEAD":
        assert answer.json()["code"] == "not-allowed"
        assert "Authorization: Bearer KEY" in answer.json()["detail"]


def test_health_asks_for_no_key(app: Callable[..., TestClient]) -> None:
    assert app(api_key=KEY).get("/health").json() == {"status": "ok"}
    assert app("/glia", api_key=KEY).get("/health").status_code == 200
    assert app("/glia", api_key=KEY).get("/glia/health").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": _utf8(f"Bearer {KEY}")},
        {"authorization": _utf8(f"bearer {KEY}")},
        {"x-api-key": _utf8(KEY)},
        {"authorization": b"Basic " + base64.b64encode(f"anybody:{KEY}".encode())},
    ],
    ids=["bearer", "bearer in small letters", "X-API-Key", "password"],
)
def test_the_key_opens_in_each_of_its_forms(app: Callable[..., TestClient], headers: dict[str, bytes]) -> None:
    assert app(api_key=KEY).get("/info", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer wrong"},
        {"authorization": "Bearer "},
        {"authorization": "Bearer"},
        {"authorization": "Basic ###"},
        {"authorization": "Basic " + base64.b64encode(KEY.encode() + b":").decode()},
        {"authorization": b"Basic " + base64.b64encode(b"a:\xff")},
        {"x-api-key": ""},
        {"x-api-key": KEY.encode()[:-1]},
        {"x-api-key": b"\xff\xff"},
    ],
    ids=range(9),
)
def test_another_key_opens_nothing(app: Callable[..., TestClient], headers: dict[str, Any]) -> None:
    assert app(api_key=KEY).get("/info", headers=headers).status_code == 401


def test_the_key_is_nowhere_in_the_log_or_in_an_answer(
    app: Callable[..., TestClient], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        client = app(api_key="topsecret")
        for headers in ({"x-api-key": "topsecret"}, {"authorization": "Bearer topsecretly"}):
            for route in ("/info", "/openapi.json", "/v1/services", "/v1/services/objects"):
                assert "topsecret" not in client.get(f"{route}?api_key=topsecret", headers=headers).text
    lines = [style.format(record) for record in caplog.records for style in (JsonLines(), TextLines("%(message)s"))]
    assert any("/v1/services/objects" in line for line in lines)
    assert not [line for line in lines if "topsecret" in line and "glia" in line]


def test_the_description_says_that_a_key_is_asked_for(app: Callable[..., TestClient]) -> None:
    document = app(api_key="k").get("/openapi.json", headers={"x-api-key": "k"}).json()
    assert document["security"] == [{"key": []}]
    assert "security" not in app().get("/openapi.json").json()


def test_no_origin_may_call_from_a_browser_unless_named(app: Callable[..., TestClient]) -> None:
    answer = app().get("/info", headers={"origin": "https://shop.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_named_origin_may_call_and_ask_first_without_the_key(app: Callable[..., TestClient]) -> None:
    client = app(cors_origins="https://shop.example, https://admin.example", api_key="k")
    origin = {"origin": "https://shop.example"}
    asked = client.options(
        "/v1/services/objects",
        headers=origin
        | {"access-control-request-method": "POST", "access-control-request-headers": "authorization, content-type"},
    )
    assert asked.status_code == 200
    assert asked.headers["access-control-allow-origin"] == "https://shop.example"
    assert "authorization" in asked.headers["access-control-allow-headers"].lower()
    refused = client.get("/info", headers=origin)
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "https://shop.example"
    answer = client.get("/info", headers=origin | {"x-api-key": "k"})
    assert answer.status_code == 200
    assert "x-glia-model" in answer.headers["access-control-expose-headers"].lower()
    other = client.get("/info", headers={"origin": "https://evil.example", "x-api-key": "k"})
    assert "access-control-allow-origin" not in other.headers


def test_a_request_s_id_is_echoed_and_a_dangerous_one_replaced(app: Callable[..., TestClient]) -> None:
    client = app()
    assert client.get("/health", headers={"x-request-id": "order-17.a:b_c"}).headers["x-request-id"] == "order-17.a:b_c"
    for given in ("", "a b", "x" * 65, 'a"b', "<script>", b"\xff", "a\tb"):
        shown = client.get("/health", headers={"x-request-id": given}).headers["x-request-id"]
        assert re.fullmatch(r"[0-9a-f]{16}", shown)
    answer = client.post("/v1/services/nothing", headers={"x-request-id": "mine"})
    assert answer.json()["instance"] == "urn:glia:request:mine"


@pytest.mark.parametrize("route", ["/health", "/info", "/nothing", "/v1/services/objects", "/ui/samples/samples.json"])
def test_every_answer_has_the_headers_that_keep_browsers_safe(app: Callable[..., TestClient], route: str) -> None:
    headers = app().get(route).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """The fields of the access log's lines."""
    with caplog.at_level(logging.INFO, "glia"):
        yield lambda: [record.fields for record in caplog.records if record.name == "glia.access"]  # type: ignore[attr-defined]


def test_the_log_has_one_line_a_request_with_what_it_cost(
    app: Callable[..., TestClient], colours: Card, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    with app() as client:
        client.post("/v1/services/objects", content=picture(), headers={"x-request-id": "one"})
        client.post("/v1/services/objects/batch", files=[("image", picture())] * 3)
        client.post("/v1/services/objects", content=b"text")
    one, many, wrong = lines()
    assert (one["id"], one["status"], one["service"], one["batch"]) == ("one", 200, "objects", 1)
    assert {"ms", "queue_ms", "decode_ms", "preprocess_ms", "run_ms", "postprocess_ms"} <= set(one)
    assert (many["status"], many["batch"]) == (200, 3)
    assert (wrong["status"], wrong["error"]) == (415, "unsupported-media")


def test_a_line_break_in_a_path_begins_no_line_of_the_log(
    app: Callable[..., TestClient], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "glia"):
        app().get("/v1/services/a%0A12:00:00%20I%20forged%1b[31m")
    (record,) = caplog.records
    shown = TextLines("%(message)s").format(record)
    assert shown.isprintable()


def test_a_bug_is_a_problem_that_keeps_its_text_to_the_log(
    app: Callable[..., TestClient], caplog: pytest.LogCaptureFixture
) -> None:
    with app(tasks_dir=str(EXTRA_TASKS)) as client:
        answer = client.post("/v1/services/trouble", content=b"bug")
        assert answer.status_code == 500
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "internal"
        assert "bug" in answer.json()["detail"]
        assert "secret" not in answer.text
        assert client.post("/v1/services/trouble", content=b"say:fine").json() == "fine"


def test_a_bug_in_the_front_is_a_problem_too(
    app: Callable[..., TestClient], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = app()
    door = client.app.state.door  # type: ignore[attr-defined]

    def broken() -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(door.pool, "facts", broken)
    answer = client.get("/info", headers={"x-request-id": "find-me"})
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "find-me" in answer.json()["detail"]
    assert "secret" not in answer.text
    assert "a secret" in caplog.text


def test_a_stopping_server_says_so_to_everybody(app: Callable[..., TestClient]) -> None:
    client = app()
    client.app.state.draining = True  # type: ignore[attr-defined]
    assert client.get("/health").status_code == 503
    answer = client.post("/v1/services/objects", content=picture())
    assert (answer.status_code, answer.json()["code"]) == (503, "draining")
    assert answer.headers["retry-after"] == "1"


def test_a_proxy_s_path_is_in_the_description_and_routes_work_under_it(
    app: Callable[..., TestClient], colours: Card
) -> None:
    client = app("/glia")
    for path in ("/glia/openapi.json", "/openapi.json"):
        assert client.get(path).json()["servers"] == [{"url": "/glia"}]
    assert client.get("/glia/v1/services/objects").json()["name"] == "objects"
    assert client.get("/glia/ui/samples/samples.json").status_code == 200
    assert app().get("/openapi.json").json()["servers"] == [{"url": "/"}]


def test_pages_name_their_files_relative_to_themselves() -> None:
    ui = Path(glia.api.__file__).parent / "ui"
    for page in ui.rglob("*.html"):
        absolute = re.findall(r"""(?:src|href|action)=["'](/[^"']*|https?:[^"']*)""", page.read_text())
        assert not absolute, page.name
    for script in ui.rglob("*.js"):
        assert not re.findall(r"""fetch\(\s*["'`]/""", script.read_text()), script.name


def test_an_empty_store_says_which_command_to_run(app: Callable[..., TestClient]) -> None:
    client = app()
    rows = {row["name"]: row for row in client.get("/v1/services").json()["services"]}
    objects = rows["objects"]
    assert (objects["ready"], objects["state"], objects["model"]) == (False, "no-model", None)
    assert objects["title"]
    assert re.search(r"glia fetch imagenet-[\w-]+$", objects["message"])
    assert "\n" not in objects["message"]
    for answer in (client.post("/v1/services/objects", content=picture()), client.get("/v1/services/objects")):
        assert (answer.status_code, answer.json()["code"]) == (503, "no-model")
        assert answer.json()["detail"] == objects["message"]
        assert answer.json()["fetch"] == objects["message"].split()[-1]
        assert "retry-after" not in answer.headers


def test_a_binding_to_a_model_that_is_gone_is_one_service_s_trouble(
    app: Callable[..., TestClient], colours: Card, home: Path
) -> None:
    client = app()
    Bindings(home).set("broken", {"model": "colours@7"})
    rows = {row["name"]: row for row in client.get("/v1/services").json()["services"]}
    assert rows["objects"]["model"] == "colours"
    assert rows["broken"]["state"] == "no-model"
    assert "/v1/services/objects" in client.get("/openapi.json").json()["paths"]
