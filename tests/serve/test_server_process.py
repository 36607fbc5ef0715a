"""`glia serve` as a process: draining, kills of either side, clients that leave."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from glia.core.card import Card
from glia.serve.memory import read_memory
from house import Server, is_running, picture, until


def post(server: Server, order: str, into: list[httpx.Response]) -> threading.Thread:
    """Ask `trouble` on a thread of its own."""

    def run() -> None:
        into.append(httpx.post(f"{server.url}/v1/services/trouble", json={"order": order}, timeout=30))

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_stopping_answers_what_is_running_and_refuses_the_rest(
    serve: Callable[..., Server], tmp_path: Path, signal_number: int
) -> None:
    server, answers = serve(), []
    waiting = post(server, f"wait:{tmp_path / 'go'}", answers)
    until((tmp_path / "go.started").exists)
    replicas = server.replicas()
    server.process.send_signal(signal_number)
    until(lambda: httpx.get(f"{server.url}/health").status_code == 503, what="draining")
    refused = httpx.post(f"{server.url}/v1/services/trouble", json={"order": "say:x"})
    assert (refused.status_code, refused.json()["code"]) == (503, "draining")
    (tmp_path / "go").touch()
    waiting.join(20)
    assert answers[0].status_code == 200
    assert server.process.wait(20) == 0
    assert not [pid for pid in replicas if is_running(pid)]


def test_a_front_killed_with_9_leaves_no_replica(serve: Callable[..., Server], colours: Card) -> None:
    server = serve()
    assert httpx.post(f"{server.url}/v1/services/objects", content=picture()).status_code == 200
    replicas = server.replicas()
    assert replicas
    server.stop(signal.SIGKILL)
    until(lambda: not any(is_running(pid) for pid in replicas), what="the end of the replicas")


def test_a_replica_killed_mid_request_gives_503_and_the_next_works(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    server, answers = serve(), []
    waiting = post(server, f"wait:{tmp_path / 'go'}", answers)
    until((tmp_path / "go.started").exists)
    for pid in server.replicas():
        os.kill(pid, signal.SIGKILL)
    waiting.join(20)
    assert (answers[0].status_code, answers[0].json()["code"]) == (503, "replica-died")
    assert answers[0].headers["retry-after"] == "1"
    again = httpx.post(f"{server.url}/v1/services/trouble", json={"order": "say:again"})
    assert again.json() == "again"


def test_a_client_that_leaves_frees_its_place(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve("--lanes", "1", "--queue", "1")
    host, port = server.url.removeprefix("http://").split(":")
    body = f'{{"order": "wait:{tmp_path / "go"}"}}'.encode()
    with socket.create_connection((host, int(port))) as client:
        head = f"POST /v1/services/trouble HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        until((tmp_path / "go.started").exists)
    until(lambda: "status=499" in server.log.read_text(), what="the line of the request that was left")
    (tmp_path / "go").touch()
    free = httpx.post(f"{server.url}/v1/services/trouble", json={"order": "say:free"}, timeout=20)
    assert free.json() == "free"


def test_an_empty_store_starts_and_says_what_to_do(serve: Callable[..., Server]) -> None:
    server = serve()
    assert httpx.get(f"{server.url}/health").status_code == 200
    rows: dict[str, Any] = {row["name"]: row for row in httpx.get(f"{server.url}/v1/services").json()["services"]}
    assert rows["objects"]["state"] == "no-model"
    assert "glia fetch imagenet-efficientnet-lite0" in rows["objects"]["message"]
    answer = httpx.post(f"{server.url}/v1/services/objects", content=picture())
    assert (answer.status_code, answer.json()["code"]) == (503, "no-model")
    assert "glia fetch imagenet-efficientnet-lite0" in answer.json()["detail"]


def test_an_empty_store_shows_its_page(serve: Callable[..., Server]) -> None:
    page = httpx.get(serve().url)
    assert (page.status_code, page.headers["content-type"].partition(";")[0]) == (200, "text/html")


def test_a_signal_to_every_process_of_the_service_drains_like_one_to_the_front(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    server, answers = serve(), []
    waiting = post(server, f"wait:{tmp_path / 'go'}", answers)
    until((tmp_path / "go.started").exists)
    for pid in (*server.replicas(), server.process.pid):
        os.kill(pid, signal.SIGTERM)
    until(lambda: httpx.get(f"{server.url}/health").status_code == 503, what="draining")
    (tmp_path / "go").touch()
    waiting.join(20)
    assert answers[0].status_code == 200
    assert server.process.wait(20) == 0


def test_what_does_not_end_in_time_is_cut_off_and_no_replica_stays(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    server, answers = serve(GLIA_DRAIN_S="1"), []
    waiting = post(server, f"wait:{tmp_path / 'never'}", answers)
    until((tmp_path / "never.started").exists)
    replicas = server.replicas()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(20) == 0
    waiting.join(20)
    assert (answers[0].status_code, answers[0].json()["code"]) == (503, "draining")
    assert not [pid for pid in replicas if is_running(pid)]


def test_a_client_that_leaves_a_stream_frees_its_place(serve: Callable[..., Server]) -> None:
    server = serve("--lanes", "1")
    url, events = f"{server.url}/v1/services/counting", {"accept": "text/event-stream"}
    for _ in range(3):
        with httpx.stream("POST", url, json={"upto": 1000}, headers=events, timeout=20) as answer:
            assert next(answer.iter_lines()) == "event: item"
    assert httpx.post(url, json={"upto": 2}, timeout=20).json() == [1, 2]
    assert "Traceback" not in server.log.read_text()


def test_the_memory_of_a_stopped_replica_is_given_back(serve: Callable[..., Server], colours: Card) -> None:
    server = serve("--memory", "1")  # every start ends what is idle

    def settled() -> int:
        """Ask every service; then the one replica that is left, and what it and the front use [bytes]."""
        for name, body in bodies.items():
            assert httpx.post(f"{server.url}/v1/services/{name}", timeout=20, **body).status_code == 200
        (last,) = until(lambda: len(found := server.replicas()) == 1 and found, what="one replica alone")
        (facts,) = httpx.get(f"{server.url}/info").json()["replicas"]
        assert facts["pid"] == last
        seen.add(last)
        return read_memory(server.process.pid).resident + read_memory(last).resident

    seen: set[int] = set()
    bodies: dict[str, Any] = {
        "objects": {"content": picture()},
        "counting": {"json": {"upto": 1}},
        "trouble": {"json": {"order": "say:x"}},
    }
    before = settled()
    for _ in range(2):
        after = settled()
    assert after < before * 1.25
    assert len([pid for pid in seen if is_running(pid)]) == 1


def test_a_crowd_gets_answers_or_is_told_when_to_come_back(serve: Callable[..., Server], colours: Card) -> None:
    server = serve("--queue", "4", "--lanes", "1")
    objects = f"{server.url}/v1/services/objects"
    photo = picture(size=(1500, 1500))
    assert httpx.post(objects, content=photo, timeout=20).status_code == 200
    with ThreadPoolExecutor(60) as crowd, httpx.Client(timeout=60, limits=httpx.Limits(max_connections=60)) as client:
        answers = list(crowd.map(lambda _: client.post(objects, content=photo), range(180)))
    counts = Counter(answer.status_code for answer in answers)
    assert set(counts) == {200, 503}
    for answer in answers:
        if answer.status_code == 503:
            assert answer.json()["code"] == "overloaded"
            assert int(answer.headers["retry-after"]) >= 1
        else:
            assert answer.json()[0]["label"] == "red"
    assert httpx.post(objects, content=photo, timeout=20).status_code == 200


def test_unloading_by_http_leaves_the_memory_of_before(serve: Callable[..., Server], colours: Card) -> None:
    server = serve("--memory", "1")  # nothing but what is asked for is loaded

    def used() -> int:
        """Resident memory of the server's processes [bytes]."""
        return sum(read_memory(pid).resident for pid in (server.process.pid, *server.replicas()))

    def change(what: str) -> None:
        assert httpx.post(f"{server.url}/v2/repository/models/objects/{what}", json={}, timeout=20).status_code == 200

    change("load")
    change("unload")
    until(lambda: not server.replicas(), what="no replica")
    before = used()
    for _ in range(3):
        change("load")
        assert httpx.post(f"{server.url}/v1/services/objects", content=picture(), timeout=20).status_code == 200
        assert used() > before + (20 << 20)
        change("unload")
        assert not server.replicas()
        assert used() - before < 15 << 20


def test_a_model_put_while_serving_is_served(serve: Callable[..., Server], home: Path) -> None:
    from glia.store.store import Store
    from house import colour_card, colour_network

    server = serve()
    assert httpx.post(f"{server.url}/v1/services/objects", content=picture()).status_code == 503
    Store(home).put(colour_card(), {"graph.onnx": colour_network()})
    answer = until(
        lambda: (got := httpx.post(f"{server.url}/v1/services/objects", content=picture())).status_code == 200 and got
    )
    assert answer.json()[0]["label"] == "red"
