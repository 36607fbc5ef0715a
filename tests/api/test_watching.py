"""`/metrics` and `/v1/status` of a running server: they count what was asked, and start nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from glia.core.card import Card
from house import Server, picture, until


def scrape(url: str) -> dict[tuple[Any, ...], float]:
    """Every sample by name and labels."""
    answer = httpx.get(url + "/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def status(url: str, since: int = -1) -> Any:
    return httpx.get(f"{url}/v1/status", params={"since": since}).json()


def row(url: str, name: str) -> Any:
    return next(one for one in status(url)["services"] if one["name"] == name)


def ask(url: str, service: str = "objects", **options: Any) -> httpx.Response:
    return httpx.post(f"{url}/v1/services/{service}", timeout=60, **({"content": picture()} | options))


def test_counts_go_up_by_the_requests_that_were_made(serve: Callable[..., Server], colours: Card) -> None:
    url = serve().url
    before = scrape(url).get(("glia_requests_total", ("code", "ok"), ("service", "objects")), 0)
    for _ in range(5):
        assert ask(url).status_code == 200
    assert ask(url, params={"top_k": 0}).status_code == 422
    assert ask(url, content=b"no picture").status_code == 415
    samples = scrape(url)
    objects = ("service", "objects")
    assert samples["glia_requests_total", ("code", "ok"), objects] - before == 5
    assert samples["glia_requests_total", ("code", "invalid-input"), objects] == 1
    assert samples["glia_requests_total", ("code", "unsupported-media"), objects] == 1
    assert samples["glia_request_seconds_count", objects] == 5
    for step in ("queue", "decode", "run", "postprocess"):
        assert samples["glia_step_seconds_count", objects, ("step", step)] == 5
    assert samples["glia_batch_rows_sum", objects] == 5
    assert samples["glia_http_responses_total", ("status", "200")] >= 5
    assert samples["glia_http_responses_total", ("status", "422")] == 1
    assert samples["glia_requests_in_flight", objects] == 0


def test_tensors_are_counted_as_requests_are(serve: Callable[..., Server], sums: Card) -> None:
    url = serve().url
    tensor = {"name": "row", "datatype": "FP32", "shape": [3, 2], "data": [1, 2, 3, 4, 5, 6]}
    answer = httpx.post(url + "/v2/models/sums/infer", json={"inputs": [tensor]}, timeout=60)
    assert answer.status_code == 200
    assert "run;dur=" in answer.headers["server-timing"]
    assert httpx.post(url + "/v2/models/sums/infer", json={"inputs": 1}).status_code == 422
    samples = scrape(url)
    sums_ = ("service", "sums")
    assert samples["glia_requests_total", ("code", "ok"), sums_] == 1
    assert samples["glia_requests_total", ("code", "invalid-input"), sums_] == 1
    assert samples["glia_batch_rows_sum", sums_] == 3


def test_memory_and_starts_of_replicas_are_told(serve: Callable[..., Server], colours: Card) -> None:
    url = serve("--memory", "500").url
    ask(url)
    samples = scrape(url)
    held = [key for key in samples if key[0] == "glia_replica_memory_bytes" and "colours@1" in key[1][1]]
    assert len(held) == 1
    assert samples[held[0]] > 5 << 20
    assert samples["glia_replica_starts_total", held[0][1]] == 1
    assert samples["glia_replica_lanes", held[0][1]] >= 1
    assert samples["glia_memory_budget_bytes",] == 500 << 20
    memory = status(url)["memory"]
    assert memory["budget_bytes"] == 500 << 20
    assert memory["used_bytes"] >= samples[held[0]] // 2
    assert memory["front_bytes"] > 5 << 20


def test_a_replica_that_dies_is_counted(serve: Callable[..., Server]) -> None:
    url = serve().url
    assert ask(url, "trouble", content=b"die").status_code == 503
    assert status(url)["replica_events"]["deaths"] == 1
    assert row(url, "trouble")["errors"] == {"replica-died": 1}


def test_watching_starts_nothing(serve: Callable[..., Server], colours: Card) -> None:
    server = serve()
    until(lambda: row(server.url, "objects")["state"] == "ready", what="the warm-up")
    until(lambda: row(server.url, "counting")["state"] == "ready", what="the warm-up of the last")
    before = sorted(server.replicas())
    for _ in range(3):
        scrape(server.url)
        status(server.url)
    assert sorted(server.replicas()) == before
    assert status(server.url)["requests"]["total"] == 0


def test_what_clients_ask_for_becomes_no_label(serve: Callable[..., Server], colours: Card) -> None:
    url = serve().url
    for path in ("/v1/services/zebra-17", "/zebra-17", "/v1/services/objects@17"):
        httpx.post(url + path, content=b"x")
    ask(url, params={"zebra-17": "zebra-17"}, headers={"x-request-id": "zebra-17"})
    text = httpx.get(url + "/metrics").text
    assert "zebra" not in text
    assert "@17" not in text
    assert 'service="objects"' in text


def test_the_status_tells_the_last_seconds(serve: Callable[..., Server], colours: Card) -> None:
    url = serve().url
    for _ in range(4):
        ask(url)
    found = until(lambda: (one := row(url, "objects"))["last_10_s"]["p50_ms"] is not None and one, what="a second")
    assert found["requests"] == 4
    assert found["last_10_s"]["per_second"] > 0
    assert 0 < found["last_10_s"]["p50_ms"] <= found["last_10_s"]["p90_ms"] <= found["last_10_s"]["p99_ms"]
    assert found["waiting"] == found["executing"] == 0
    assert found["model"] == "colours"
    assert found["licence"]["weights"] == "CC0-1.0"
    assert set(found["steps_ms"]) >= {"queue", "decode", "run"}
    until(lambda: sum(second[1] for second in status(url)["history"]) == 4, what="the end of the last one's second")
    whole = status(url)
    assert whole["requests"]["total"] == 4
    held = next(one for one in whole["replicas"] if one["replica"] == found["replica"])
    assert held["memory_bytes"] > 0
    assert held["pid"] > 0
    assert held["idle_s"] >= 0
    assert held["sessions"]["model"]
    last = whole["history"][-1][0]
    assert all(second[0] > last for second in status(url, since=last)["history"])


def test_requests_in_flight_are_seen(serve: Callable[..., Server], tmp_path: Path) -> None:
    url = serve("--lanes", "1").url
    gate = tmp_path / "gate"
    order = f"wait:{gate}".encode()
    asking = [threading.Thread(target=lambda: ask(url, "trouble", content=order)) for _ in range(3)]
    for thread in asking:
        thread.start()
    until(lambda: row(url, "trouble")["waiting"] == 2 and row(url, "trouble")["executing"] == 1, what="the queue")
    assert scrape(url)["glia_requests_in_flight", ("service", "trouble")] == 3
    gate.touch()
    for thread in asking:
        thread.join()
    until(lambda: row(url, "trouble")["requests"] == 3, what="the end of all")


def test_since_is_a_number(serve: Callable[..., Server]) -> None:
    answer = httpx.get(serve().url + "/v1/status?since=yesterday")
    assert answer.status_code == 422
    assert "since" in answer.json()["detail"]


def test_both_ask_for_the_key(serve: Callable[..., Server]) -> None:
    url = serve(GLIA_API_KEY="k").url
    for path in ("/metrics", "/v1/status", "/live"):
        assert httpx.get(url + path).status_code == 401
        assert httpx.get(url + path, headers={"x-api-key": "k"}).status_code == 200


def test_the_log_has_replica_rows_and_steps_and_is_spared_the_polls(
    serve: Callable[..., Server], colours: Card
) -> None:
    server = serve("--log-format", "json")
    ask(server.url)
    status(server.url)
    httpx.get(server.url + "/health")
    until(lambda: "/health" in server.log.read_text(), what="the log")
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    line = next(one for one in lines if one["message"] == "POST /v1/services/objects")
    assert line["service"] == "objects"
    assert line["replica"] == "image-classification[model=colours@1]"
    assert line["batch"] == 1
    assert {"queue_ms", "decode_ms", "run_ms"} <= set(line)
    assert not [one for one in lines if "/v1/status" in one["message"]]


def test_the_icon_is_found_where_browsers_look(serve: Callable[..., Server]) -> None:
    answer = httpx.get(serve().url + "/favicon.ico")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/svg+xml"


@pytest.mark.parametrize("path", ["/", "/live", "/docs"])
def test_a_page_marks_where_one_is(serve: Callable[..., Server], path: str) -> None:
    text = httpx.get(serve().url + path).text
    assert text.count('aria-current="page"') == 1
    assert "{{" not in text
