"""The two Python doors: `glia.Client` against a server, `glia.predict` in this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

import glia
from glia.api import local
from glia.core.card import Card
from glia.core.errors import (
    DamagedMedia,
    DeadlineExceeded,
    GliaError,
    InputError,
    NoModel,
    NotAllowed,
    NotFound,
    Unavailable,
    UnsupportedMedia,
)
from glia.core.fields import Media
from house import EXTRA_TASKS, Server, picture

RED, GREEN = picture(), picture((0, 255, 0))


@pytest.fixture
def client(colours: Card, sums: Card, serve: Callable[..., Server]) -> Iterator[glia.Client]:
    with glia.Client(serve().url) as client:
        yield client


@pytest.fixture
def red(tmp_path: Path) -> Path:
    path = tmp_path / "red.png"
    path.write_bytes(RED)
    return path


def test_the_client_asks_in_every_way(client: glia.Client, red: Path) -> None:
    for subject in (red, str(red), RED, bytearray(RED), Media(RED)):
        assert client.predict("objects", subject)[0]["label"] == "red"
    assert len(client.predict("objects", red, top_k=2)) == 2
    assert client.predict("objects@1", red)[0]["label"] == "red"

    same = client.predict("image-comparison", [red, GREEN])
    assert same == {"same": True, "sizes": [[32, 24], [32, 24]]}

    mirrored = client.predict("image-mirroring", red)
    assert isinstance(mirrored, Media)
    assert mirrored.content_type == "image/png"
    assert client.predict("objects", mirrored)[0]["label"] == "red"

    assert client.predict("sums", {"a": 1, "b": 2}) == 4
    assert client.predict("trouble", "say:hello") == "hello"
    assert client.predict("image-brightness", RED, floor=0.25) == pytest.approx(1 / 3 - 0.25)

    answers = client.batch("objects", [red, b"no picture", GREEN], top_k=1)
    assert [answers[0][0]["label"], answers[2][0]["label"]] == ["red", "green"]
    assert answers[1]["code"] == "unsupported-media"
    assert client.batch("sums", [{"a": 1, "b": 1}, {"a": 2, "b": 2}]) == [3, 5]
    assert [row["same"] for row in client.batch("image-comparison", [[red, GREEN], [red, picture(size=(5, 5))]])] == [
        True,
        False,
    ]

    assert list(client.stream("counting", 2)) == [("item", 1), ("item", 2), ("end", [1, 2])]
    assert list(client.stream("objects", red))[-1][1][0]["label"] == "red"

    assert client.health()
    assert "objects" in [row["name"] for row in client.services()]
    assert client.service("objects")["subject"] == {"field": "image", "media": "image", "many": False}


def test_the_client_raises_the_server_s_errors_as_the_same_classes(client: glia.Client) -> None:
    cases: list[tuple[type[GliaError], str, Any, dict[str, Any]]] = [
        (UnsupportedMedia, "objects", b"text", {}),
        (DamagedMedia, "objects", RED[:60], {}),
        (InputError, "objects", RED, {"top_k": 0}),
        (InputError, "objects", RED, {"topk": 1}),
        (InputError, "objects", "there-is-no-such-file.png", {}),
        (NotFound, "nothing", RED, {}),
        (NotFound, "objects@5", RED, {}),
        (NotFound, "a/../b?c", RED, {}),
    ]
    for kind, service, subject, parameters in cases:
        with pytest.raises(GliaError) as raised:
            client.predict(service, subject, **parameters)
        assert type(raised.value) is kind, (service, raised.value)
        assert raised.value.message
        with pytest.raises(kind):
            list(client.stream(service, subject, **parameters))


def test_the_client_sends_the_key(serve: Callable[..., Server]) -> None:
    url = serve(GLIA_API_KEY="k").url
    with glia.Client(url, api_key="k") as right, glia.Client(url) as wrong:
        assert right.predict("counting", 1) == [1]
        with pytest.raises(NoModel, match="glia fetch"):
            right.predict("objects", RED)
        with pytest.raises(NotAllowed):
            wrong.predict("counting", 1)
        assert wrong.health()


def test_where_no_server_answers_the_client_says_how_to_start_one() -> None:
    with glia.Client("http://127.0.0.1:9") as client:
        assert not client.health()
        for ask in (lambda: client.predict("objects", RED), lambda: list(client.stream("objects", RED))):
            with pytest.raises(Unavailable, match="Start one: glia serve"):
                ask()


class _Foreign(BaseHTTPRequestHandler):
    """Something that is no Glia: it hangs on one path, and speaks its own errors on others."""

    release = threading.Event()

    def do_POST(self) -> None:
        if "hang" in self.path:
            self.release.wait(30)
            return
        self.send_response(404)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(b"no json" if "text" in self.path else b'{"message": "Not Found", "self": 1}')

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def foreign() -> Iterator[str]:
    _Foreign.release.clear()
    server = HTTPServer(("127.0.0.1", 0), _Foreign)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    _Foreign.release.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_server_that_is_no_glia_gives_an_error_all_the_same(foreign: str) -> None:
    with glia.Client(foreign, timeout_s=0.2) as client:
        with pytest.raises(GliaError, match="Not Found"):
            client.predict("objects", 1)
        with pytest.raises(GliaError, match="HTTP 404: no json"):
            client.predict("text", 1)
        with pytest.raises(DeadlineExceeded, match=r"within 0\.2 s"):
            client.predict("hang", 1)


@pytest.fixture
def here(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`glia.predict` with the extra tasks, as a new process has it."""
    monkeypatch.setenv("GLIA_TASKS_DIR", str(EXTRA_TASKS))
    monkeypatch.setattr(local, "_shared", None)


@pytest.mark.usefixtures("here", "colours", "sums")
def test_predict_asks_in_this_process(red: Path) -> None:
    for subject in (red, str(red), RED, memoryview(RED), Media(RED), Media(RED).data_url()):
        assert glia.predict("objects", subject)[0]["label"] == "red"
    assert glia.predict("objects", red, top_k=1) == [{"label": "red", "score": pytest.approx(1, abs=1e-3)}]
    assert glia.predict("colours@1", red)[0]["label"] == "red"
    assert glia.predict("image-comparison", [red, GREEN])["same"] is True
    assert glia.predict("counting", 3) == [1, 2, 3]
    assert glia.predict("sums", {"a": 1, "b": 2}) == 4
    mirrored = glia.predict("image-mirroring", red)
    assert isinstance(mirrored, Media)
    assert mirrored.data.startswith(b"\x89PNG")


@pytest.mark.usefixtures("here", "colours")
@pytest.mark.parametrize(
    ("service", "subject", "parameters", "kind", "words"),
    [
        ("objects", "missing.jpg", {}, InputError, "There is no file missing.jpg"),
        ("objects", "/", {}, InputError, "is a folder"),
        ("objects", "http://example.com/a.jpg", {}, InputError, "fetches nothing"),
        ("objects", 7, {}, InputError, "Expected a path or bytes"),
        ("objects", b"", {}, InputError, "received"),
        ("objects", b"text", {}, UnsupportedMedia, "Expected"),
        ("objects", RED, {"topk": 1}, InputError, "topk: unknown"),
        ("objects", RED, {"top_k": 0}, InputError, "top_k"),
        ("object", RED, {}, NotFound, "Did you mean 'objects'"),
        ("objects@9", RED, {}, NotFound, "9"),
    ],
)
def test_predict_says_what_is_wrong(
    service: str, subject: Any, parameters: dict[str, Any], kind: type[GliaError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        glia.predict(service, subject, **parameters)


@pytest.mark.usefixtures("here")
def test_predict_says_what_to_fetch_where_the_store_is_empty() -> None:
    with pytest.raises(NoModel, match="Run: glia fetch imagenet-"):
        glia.predict("objects", RED)
