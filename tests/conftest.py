"""Fixtures: a home of its own for each test, tiny networks, and a server in a process."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jaxtyping
import pytest

# Arrays are checked against their written shapes in every test, in the rooms that pass them on.
ROOMS = ["glia.data.resize", "glia.tasks", "glia.runtime", "glia.evaluate", "glia.importers"]
jaxtyping.install_import_hook(ROOMS, "beartype.beartype")

from glia.core.card import Card  # noqa: E402
from glia.core.settings import Settings  # noqa: E402
from glia.store.store import Store  # noqa: E402
from house import EXTRA_TASKS, Server, colour_card, colour_network, sum_card, sum_network  # noqa: E402


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("GLIA_", "HF_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")


@pytest.fixture(autouse=True)
def _log_as_it_was() -> Iterator[None]:
    """A command that a test runs in this process sends the log to a stream that is closed with the test."""
    logger = logging.getLogger("glia")
    before = (logger.handlers[:], logger.level, logger.propagate)
    yield
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of its own, in GLIA_HOME."""
    folder = tmp_path / "home"
    monkeypatch.setenv("GLIA_HOME", str(folder))
    return folder


@pytest.fixture
def settings(home: Path) -> Settings:
    """Settings of that home, with the extra tasks."""
    return Settings({"tasks_dir": str(EXTRA_TASKS), "lanes": 2})


@pytest.fixture
def colours(home: Path) -> Card:
    """`colours` in the store: it answers objects with red, green, blue."""
    return Store(home).put(colour_card(), {"graph.onnx": colour_network()})


@pytest.fixture
def sums(home: Path) -> Card:
    """`sums` in the store: it adds the columns a and b, plus one."""
    return Store(home).put(sum_card("sums", options={"columns": ["a", "b"]}), {"graph.onnx": sum_network()})


@pytest.fixture
def serve(home: Path, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers with flags; each is gone after the test."""
    servers: list[Server] = []

    def start(*flags: str, **variables: str) -> Server:
        log = tmp_path / f"server-{len(servers)}.log"
        command = [sys.executable, "-m", "glia", "serve", "--port", "0", "--tasks-dir", str(EXTRA_TASKS), *flags]
        with log.open("w") as stream:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=stream, text=True, env={**os.environ, **variables}
            )
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("ready "), f"the server said {line!r}: {log.read_text()}"
        server = Server(process, line.split()[1], log)
        servers.append(server)
        return server

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait(10)
        if server.process.stdout is not None:
            server.process.stdout.close()
