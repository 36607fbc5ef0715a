"""Intake: bodies under way are bounded, in bytes and in time, whatever clients do."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx2 as httpx

from glia.core.card import Card
from house import Server, picture, until

MB = 1 << 20


def opened(server: Server, length: int, sent: bytes, query: str = "") -> socket.socket:
    """A connection that announces a body and sends a part of it."""
    place = urlsplit(server.url)
    sock = socket.create_connection((place.hostname, place.port), 20)
    head = f"POST /v1/services/objects{query} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: {length}\r\n\r\n"
    sock.sendall(head.encode() + sent)
    return sock


def test_bodies_that_do_not_fit_beside_the_others_are_told_to_come_back(
    serve: Callable[..., Server], colours: Card
) -> None:
    server = serve(GLIA_MAX_PENDING_MB="4")
    objects = f"{server.url}/v1/services/objects"
    with opened(server, 6 * MB, bytes(3 * MB)):

        def refused() -> httpx.Response | None:
            answer = httpx.post(objects, content=bytes(2 * MB), timeout=20)
            return answer if answer.status_code == 503 else None

        answer = until(refused, what="503 while another body takes the room")
        assert answer.json()["code"] == "overloaded"
        assert "of 4 MB that all may" in answer.json()["detail"]
        assert answer.headers["retry-after"] == "1"
        assert httpx.post(objects, content=picture(), timeout=20).status_code == 200  # a small one fits beside it
    until(lambda: httpx.post(objects, content=bytes(2 * MB), timeout=20).status_code == 415, what="room again")


def test_a_body_larger_than_the_room_for_all_is_taken_while_it_is_alone(
    serve: Callable[..., Server], colours: Card
) -> None:
    server = serve(GLIA_MAX_PENDING_MB="1")
    answer = httpx.post(f"{server.url}/v1/services/objects", content=bytes(900_000), timeout=20)
    assert answer.status_code == 415


def test_a_body_that_never_ends_is_given_up(serve: Callable[..., Server], colours: Card) -> None:
    server = serve("--deadline-s", "1")
    with opened(server, 1000, b"\xff\xd8\xff") as sock:
        sock.settimeout(20)
        answer = b""
        while b"bytes of it" not in answer and (more := sock.recv(4096)):
            answer += more
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"received 3 bytes of it" in answer
    assert httpx.post(f"{server.url}/v1/services/objects", content=picture(), timeout=20).status_code == 200


def test_the_deadline_counts_from_the_first_byte(serve: Callable[..., Server], colours: Card) -> None:
    server, body = serve(), picture()
    with opened(server, len(body), body[:10], "?deadline_ms=200") as sock:
        begun = time.monotonic()
        until(lambda: time.monotonic() > begun + 0.3)
        sock.sendall(body[10:])
        sock.settimeout(20)
        answer = b""
        while b"the deadline was 0.2 s" not in answer and (more := sock.recv(4096)):
            answer += more
    assert answer.startswith(b"HTTP/1.1 504")
    assert b"The body alone took" in answer


def test_a_head_that_never_ends_is_cut_off_and_answers_go_on(serve: Callable[..., Server], colours: Card) -> None:
    server = serve("--deadline-s", "1")
    objects = f"{server.url}/v1/services/objects"
    until(lambda: httpx.post(objects, content=picture(), timeout=20).status_code == 200, what="the first answer")
    place = urlsplit(server.url)
    for said in (b"", b"POST /v1/services/objects HTTP/1.1\r\nHost:"):
        with socket.create_connection((place.hostname, place.port), 20) as sock:
            sock.sendall(said)
            assert sock.recv(100) == b""
    with httpx.Client() as client:  # one connection, kept, with pauses longer than a head may take
        for _ in range(2):
            assert client.post(f"{server.url}/v1/services/objects", content=picture()).status_code == 200
            begun = time.monotonic()
            until(lambda: time.monotonic() > begun + 1.2)  # noqa: B023
