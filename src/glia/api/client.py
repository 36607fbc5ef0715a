"""The Python client of a running server."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2 as httpx

from glia.api.subject import read_file
from glia.core.errors import GliaError, Unavailable, from_problem
from glia.core.fields import Media


class Client:
    """Asks a Glia server. Use it as a context manager, or close it.

    Every method raises the server's error as the GliaError of that code, and Unavailable where no server answers.
    """

    def __init__(self, url: str = "http://127.0.0.1:8080", api_key: str = "", timeout_s: float = 60.0) -> None:
        """`url`: where the server says it is ready, with a proxy's path if there is one."""
        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = httpx.Client(base_url=url.rstrip("/") + "/", headers=headers, timeout=timeout_s)

    def predict(self, service: str, subject: Any, **parameters: Any) -> Any:
        """The answer of `NAME[@VERSION]`: plain data, or a Media where it is a picture or a sound.

        `subject`: a Path or an existing file's name, bytes, or plain data; a list where the service takes several.
        """
        answer = self._send("POST", f"v1/services/{service}", **_form(subject, parameters))
        kind = answer.headers.get("content-type", "")
        return answer.json() if "json" in kind else Media(answer.content, kind)

    def stream(self, service: str, subject: Any, **parameters: Any) -> Iterator[tuple[str, Any]]:
        """`("item", value)` for each item as it comes, then `("end", answer)`."""
        request = self._http.build_request("POST", f"v1/services/{service}", **_form(subject, parameters))
        request.headers["accept"] = "text/event-stream"
        answer = self._http.send(request, stream=True)
        try:
            if answer.status_code >= 400:
                answer.read()
                raise _error(answer)
            kind = ""
            for line in answer.iter_lines():
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    value = json.loads(line.removeprefix("data: "))
                    if kind == "error":
                        raise from_problem(value)
                    yield kind, value
        finally:
            answer.close()

    def batch(self, service: str, subjects: Sequence[Any], **parameters: Any) -> list[Any]:
        """An answer or a problem (an object with `error`) for each subject, in their order."""
        form = _form(list(subjects), parameters)
        answers: list[Any] = self._send("POST", f"v1/services/{service}/batch", **form).json()
        return answers

    def services(self) -> list[dict[str, Any]]:
        """Every service, with its model and state."""
        rows: list[dict[str, Any]] = self._send("GET", "v1/services").json()["services"]
        return rows

    def service(self, name: str) -> dict[str, Any]:
        """One service: card, schemas, example."""
        described: dict[str, Any] = self._send("GET", f"v1/services/{name}").json()
        return described

    def health(self) -> bool:
        """Whether the server is alive and not stopping."""
        try:
            return bool(self._http.get("health").status_code == 200)
        except httpx.TransportError:
            return False

    def _send(self, method: str, path: str, **body: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **body)
        except httpx.TransportError as error:
            raise Unavailable(
                f"No Glia server answers at {self._http.base_url}: {error}. Start one: glia serve"
            ) from error
        if answer.status_code >= 400:
            raise _error(answer)
        return answer

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
        return {"json": {"inputs": subject, "parameters": {name: _plain(value) for name, value in parameters.items()}}}
    files: list[tuple[str, Any]] = [("file", (f"subject-{i}", part)) for i, part in enumerate(parts)]
    data: dict[str, Any] = {}
    for name, value in parameters.items():
        part = _bytes(value)
        if part is not None:
            files.append((name, (name, part)))
        elif value is not None:
            data[name] = value if isinstance(value, str | list) else json.dumps(value)
    return {"files": files, "data": data}


def _plain(value: Any) -> Any:
    part = _bytes(value)
    return value if part is None else Media(part).data_url()
