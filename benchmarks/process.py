"""A system's processes: started, waited for, weighed, and ended."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

START_S = 90
MARK = "BENCH_TREE"
"""Set in the environment of a system's first process, and so in that of every process of its tree."""


@dataclass(frozen=True)
class Memory:
    """Of a whole tree of processes [MB]."""

    rss: float
    pss: float
    processes: int


class NotReady(Exception):
    """A system that did not answer in time."""


def free_port() -> int:
    """A port with two free ones above it, for systems that open several."""
    for port in range(18100, 19000, 10):
        try:
            for number in range(port, port + 3):
                with socket.socket() as sock:
                    sock.bind(("127.0.0.1", number))
            return port
        except OSError:
            continue
    raise NotReady("no free port")


class Tree:
    """A server's process with everything that it starts."""

    def __init__(self, command: list[str], environ: dict[str, str], port: int, log: Path) -> None:
        """Starts it; output goes to `log`."""
        self.port = port
        self.log = log
        self._mark = uuid.uuid4().hex
        log.parent.mkdir(parents=True, exist_ok=True)
        self.started = time.perf_counter()
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                command,
                env={**environ, MARK: self._mark},
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        """End every process of it."""
        self.stop()

    def until_answered(self, path: str, kind: str, body: bytes, seconds: float = START_S) -> tuple[float, Any]:
        """Ask until a 200 comes: seconds since the start of the command, and the answer. Raises NotReady."""
        said = "nothing"
        while time.perf_counter() < self.started + seconds:
            if self.process.poll() is not None:
                break
            try:
                status, answer = post(self.port, path, kind, body)
                if status == 200:
                    return time.perf_counter() - self.started, json.loads(answer)
                said = f"{status} {answer[:200]!r}"
            except (OSError, http.client.HTTPException) as error:
                said = repr(error)
            time.sleep(0.01)
        raise NotReady(f"no answer within {seconds:g} s, last {said}; {self._last_words()}")

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return f"exit status {self.process.poll()}, log ends with {lines[-1:]}"

    def pids(self) -> list[int]:
        """Of every process of the tree."""
        wanted = f"{MARK}={self._mark}".encode()
        found = []
        for entry in os.listdir("/proc"):
            try:
                if entry.isdigit() and wanted in Path(f"/proc/{entry}/environ").read_bytes().split(b"\0"):
                    found.append(int(entry))
            except OSError:
                continue
        return found

    def memory(self) -> Memory:
        """Resident and proportional set size of the tree."""
        sizes = [weigh(pid) for pid in self.pids()]
        return Memory(sum(rss for rss, _ in sizes), sum(pss for _, pss in sizes), len(sizes))

    def stop(self) -> None:
        """SIGTERM to the first process, ten seconds later SIGKILL to what is left of the tree."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 10
        while self.pids() and time.monotonic() < deadline:
            self.process.poll()
            time.sleep(0.05)
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(10)


def weigh(pid: int) -> tuple[float, float]:
    """(RSS, PSS) of one process [MB]; zeros for one that is gone."""
    found = {"Rss": 0.0, "Pss": 0.0}
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in found:
                found[name] = int(rest.split()[0]) / 1024
    except OSError:
        pass
    return found["Rss"], found["Pss"]


def post(port: int, path: str, kind: str, body: bytes, timeout: float = 30) -> tuple[int, bytes]:
    """Status and body of one POST."""
    return ask("POST", port, path, kind, body, timeout)


def get(port: int, path: str) -> Any:
    """The JSON of one GET."""
    return json.loads(ask("GET", port, path, "", b"", 10)[1])


def ask(method: str, port: int, path: str, kind: str, body: bytes, timeout: float) -> tuple[int, bytes]:
    """Status and body of one request to this machine."""
    with connected(port, timeout) as connection:
        connection.request(method, path, body or None, {"content-type": kind} if kind else {})
        answer = connection.getresponse()
        return answer.status, answer.read()


@contextmanager
def connected(port: int, timeout: float) -> Iterator[http.client.HTTPConnection]:
    """A connection to this machine."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        yield connection
    finally:
        connection.close()
