"""The Python client of a running server."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx2 as httpx

from glia.api.subject import read_file
from glia.core.errors import DeadlineExceeded, GliaError, Unavailable, from_problem
from glia.core.fields import Media


class Client:
    """Asks a Glia server. Use it as a context manager, or close it.

    Every method raises the server's error as the GliaError of that code, and Unavailable where no server answers.
    """

    def __init__(self, url: str = "http://127.0.0.1:8080", api_key: str = "", timeout_s: float = 60.0) -> None:
        """`url`: where the server says it is ready, with a proxy's path if there is one."""
        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._timeout_s = timeout_s
        self._http = httpx.Client(base_url=url.rstrip("/") + "/", headers=headers, timeout=timeout_s)

    def predict(self, service: str, subject: Any, **parameters: Any) -> Any:
        """The answer of `NAME[@VERSION]`: plain data, or a Media where it is a picture or a sound.

        `subject`: a Path or an existing file's name, bytes, or plain data; a list where the service takes several.
        """
        answer = self._send("POST", _path(service), **_form(subject, parameters))
        kind = answer.headers.get("content-type", "")
        return answer.json() if "json" in kind else Media(answer.content, kind)

    def stream(self, service: str, subject: Any, **parameters: Any) -> Iterator[tuple[str, Any]]:
        """`("item", value)` for each item as it comes, then `("end", answer)`."""
        request = self._http.build_request("POST", _path(service), **_form(subject, parameters))
        request.headers["accept"] = "text/event-stream"
        with self._connected():
            answer = self._http.send(request, stream=True)
            try:
                if answer.status_code >= 400:
                    answer.read()
                    raise _error(answer)
                yield from _events(answer.iter_lines())
            finally:
                answer.close()

    def batch(self, service: str, subjects: Sequence[Any], **parameters: Any) -> list[Any]:
        """An answer or a problem (an object with `error`) for each subject, in their order."""
        form = _form(list(subjects), parameters)
        answers: list[Any] = self._send("POST", f"{_path(service)}/batch", **form).json()
        return answers

    def services(self) -> list[dict[str, Any]]:
        """Every service, with its model and state."""
        rows: list[dict[str, Any]] = self._send("GET", "v1/services").json()["services"]
        return rows

    def service(self, name: str) -> dict[str, Any]:
        """One service: card, schemas, example."""
        described: dict[str, Any] = self._send("GET", _path(name)).json()
        return described

    def health(self) -> bool:
        """Whether the server is alive and not stopping."""
        try:
            return bool(self._http.get("health").status_code == 200)
        except httpx.TransportError:
            return False

    def _send(self, method: str, path: str, **body: Any) -> httpx.Response:
        with self._connected():
            answer = self._http.request(method, path, **body)
        if answer.status_code >= 400:
            raise _error(answer)
        return answer

    @contextmanager
    def _connected(self) -> Iterator[None]:
        """Turns what can happen to a connection into our errors."""
        try:
            yield
        except (httpx.ReadTimeout, httpx.WriteTimeout) as error:
            raise DeadlineExceeded(
                f"No answer from {self._http.base_url} within {self._timeout_s:g} s. "
                "Ask for less, or give Client a longer timeout_s."
            ) from error
        except httpx.TransportError as error:
            raise Unavailable(
                f"No Glia server answers at {self._http.base_url}: {error}. Start one: glia serve"
            ) from error

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _error(answer: httpx.Response) -> GliaError:
    try:
        problem = answer.json()
    except ValueError:
        problem = {"detail": f"HTTP {answer.status_code}: {answer.text[:200]}"}
    return from_problem(problem if isinstance(problem, dict) else {"detail": str(problem)})


def _bytes(value: Any) -> bytes | None:
    """The bytes that a value stands for, or None for plain data."""
    if isinstance(value, Media):
        return value.data
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, Path) or (
        isinstance(value, str) and len(value) < 4096 and "\n" not in value and Path(value).is_file()
    ):
        return read_file(Path(value))
    return None


def _form(subject: Any, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments for the HTTP library: multipart for bytes, JSON in Hugging Face's form for plain data."""
    several = subject if isinstance(subject, list | tuple) else [subject]
    parts = [_bytes(item) for item in several]
    if not parts or any(part is None for part in parts):
        plain = {name: _plain(value) for name, value in parameters.items()}
        return {"json": {"inputs": _plain(subject), "parameters": plain}}
    files: list[tuple[str, Any]] = [("file", (f"subject-{i}", part)) for i, part in enumerate(parts)]
    data: dict[str, Any] = {}
    for name, value in parameters.items():
        part = _bytes(value)
        if part is not None:
            files.append((name, (name, part)))
        elif value is not None:
            data[name] = value if isinstance(value, str) else json.dumps(_plain(value))
    return {"files": files, "data": data}


def _events(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    kind = ""
    for line in lines:
        if line.startswith("event: "):
            kind = line.removeprefix("event: ")
        elif line.startswith("data: "):
            value = json.loads(line.removeprefix("data: "))
            if kind == "error":
                raise from_problem(value)
            yield kind, value


def _path(service: str) -> str:
    return f"v1/services/{quote(service, safe='@')}"


def _plain(value: Any) -> Any:
    """A value as JSON; what stands for bytes becomes a data: URL, also inside lists."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    part = _bytes(value)
    return value if part is None else f"data:application/octet-stream;base64,{base64.b64encode(part).decode()}"
