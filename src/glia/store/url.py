"""Files by URL: streamed, resumed where an earlier try stopped, and redirected to https only."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from glia.store.arrival import NotThere, Progress, WrongBytes, masked, receive
from glia.store.catalog import EntryFile

if TYPE_CHECKING:
    import httpx2

CONNECT_TIMEOUT_S = 10.0
SILENCE_TIMEOUT_S = 30.0
MOST_REDIRECTS = 5

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def download(url: str, part: Path, file: EntryFile, progress: Progress) -> None:
    """Fetch a URL into `part`, going on after what is already there; verified. Raises NotThere with the reason.

    A connection that breaks leaves `part` for the next try. If the whole is wrong although an earlier part was right
    for its source, it is fetched once more from the beginning.
    """
    import httpx2

    timeout = httpx2.Timeout(SILENCE_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    try:
        with httpx2.Client(timeout=timeout, headers={"accept-encoding": "identity"}) as client:
            start = part.stat().st_size if part.exists() else 0
            if 0 < start <= file.bytes:
                try:
                    return _stream(client, url, part, file, progress, start)
                except WrongBytes:
                    pass
            _stream(client, url, part, file, progress, 0)
    except httpx2.TimeoutException as error:
        raise NotThere(f"no answer within {SILENCE_TIMEOUT_S:.0f} s") from error
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
        raise NotThere(masked(f"not reachable or broken off ({str(error) or type(error).__name__})")) from error


def _stream(client: httpx2.Client, url: str, part: Path, file: EntryFile, progress: Progress, start: int) -> None:
    """One try: the answer's bytes, or what is missing after `start`, into `part`."""
    with ExitStack() as stack:
        text = f"{file.file} from {client.build_request('GET', url).url.host}"

        def told(done: int) -> None:
            progress(done, file.bytes, text)

        if start == file.bytes:
            return receive((), part, file, told, start)
        answer = _answer(client, url, {"range": f"bytes={start}-"} if start else {}, stack)
        if start and not (answer.status_code == 206 and _begins_at(answer, start)):
            if answer.status_code == 206:
                raise WrongBytes("another part than the one asked for")
            start = 0
        if answer.status_code not in (200, 206):
            kind = WrongBytes if answer.status_code == 416 else NotThere
            raise kind(f"HTTP status {answer.status_code}")
        _receive_answer(answer, part, file, told, start)


def _receive_answer(
    answer: httpx2.Response, part: Path, file: EntryFile, told: Callable[[int], None], start: int
) -> None:
    """The body into `part`; a length that differs from the catalog's is refused before the first byte."""
    length = answer.headers.get("content-length", "")
    if length and (not length.isdecimal() or int(length) != file.bytes - start):
        raise WrongBytes(f"other bytes: expected {file.bytes - start:,}, offered {length[:20]}")
    try:
        receive(answer.iter_raw(), part, file, told, start)
    except WrongBytes:
        raise
    except NotThere:
        if not length:  # it ended where it wanted to: this is all there is
            part.unlink(missing_ok=True)
        raise


def _answer(client: httpx2.Client, url: str, headers: dict[str, str], stack: ExitStack) -> httpx2.Response:
    """The answer to a GET after its redirects, each to https, to this machine or to where it began."""
    request = client.build_request("GET", url, headers=headers)
    first = request.url
    for _ in range(MOST_REDIRECTS):
        answer = client.send(request, stream=True)
        stack.callback(answer.close)
        if answer.next_request is None:
            return answer
        goal = answer.next_request.url
        same = (goal.scheme, goal.host, goal.port) == (first.scheme, first.host, first.port)
        if not (goal.scheme == "https" or same or (goal.scheme == "http" and goal.host in _LOOPBACK)):
            raise NotThere(masked(f"redirects to {goal}, which is not https"))
        request = answer.next_request
    raise NotThere(f"more than {MOST_REDIRECTS} redirects")


def _begins_at(answer: httpx2.Response, start: int) -> bool:
    return re.match(rf"bytes {start}-", answer.headers.get("content-range", "")) is not None
