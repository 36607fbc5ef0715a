"""Fetch through a package index on this machine: how often it is asked, and what a kill in the middle leaves."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from pathlib import Path

import pytest

from glia.core.settings import Settings
from glia.jobs.fetch import fetch
from glia.store import catalog
from glia.store.catalog import Entry
from glia.store.store import Store
from house import colour_network, reach_only, until, web_server

WHEEL = "colours_net-1.0-py3-none-any.whl"
CHILD = """
import sys
from glia.core.settings import Settings
from glia.jobs.fetch import fetch
from glia.store import catalog
entry = catalog.Entry.model_validate_json(sys.argv[1])
catalog.catalog = lambda: {entry.name: entry}
print(fetch("colours", Settings(), lambda done, total, what: None, print).id, flush=True)
"""


class Index:
    """A package index with one wheel; it can stop in the middle of it."""

    def __init__(self) -> None:
        packed = BytesIO()
        with zipfile.ZipFile(packed, "w") as wheel:
            wheel.writestr("colours_net/colours.onnx", colour_network())
            wheel.writestr(
                "colours_net-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: colours-net\nVersion: 1.0\n"
            )
            wheel.writestr("colours_net-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            wheel.writestr("colours_net-1.0.dist-info/RECORD", "")
        self.wheel = packed.getvalue()
        self.asked: list[str] = []
        self.holds = False
        self.released = threading.Event()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.asked.append(request.path)
        content = self.wheel if request.path.endswith(".whl") else f'<a href="/{WHEEL}">{WHEEL}</a>'.encode()
        kind = "application/octet-stream" if request.path.endswith(".whl") else "text/html"
        held = self.holds and request.path.endswith(".whl")
        request.send_response(200)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content[: len(content) // 2] if held else content)
        request.wfile.flush()
        if held:
            self.released.wait(30)


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    there = Index()
    with web_server(there.answer) as url:
        reach_only(url, monkeypatch)
        yield there
        there.released.set()


@pytest.fixture
def entry(monkeypatch: pytest.MonkeyPatch) -> Entry:
    """The catalog's only entry: in a mirror, if one is set, and in the package."""
    network = colour_network()
    made = Entry.model_validate(
        {
            "name": "colours",
            "title": "Colours",
            "description": "Red, green or blue.",
            "task": "image-classification",
            "service": "objects",
            "rank": 5,
            "licence": {"weights": "CC0-1.0"},
            "source": "these tests",
            "format": "onnx",
            "labels": "imagenet-1k",
            "inputs": {"image": "image"},
            "outputs": {"scores": "logits"},
            "preprocessing": {"size": [8, 8], "std": [255, 255, 255]},
            "example": {
                "input": {"image": "sample:apple.jpg", "top_k": 1},
                "output": [{"label": "tench", "score": 0.5}],
                "tolerance": 0.9,
            },
            "files": [
                {
                    "file": "colours.onnx",
                    "sha256": hashlib.sha256(network).hexdigest(),
                    "bytes": len(network),
                    "sources": ["mirror", "pypi:colours-net==1.0!colours_net/colours.onnx"],
                }
            ],
        }
    )
    monkeypatch.setattr(catalog, "catalog", lambda: {made.name: made})
    return made


def quiet(done: int, total: int | None, what: str) -> None:
    """No progress."""


def child(entry: Entry) -> subprocess.Popen[str]:
    text = json.dumps(entry.model_dump(mode="json"))
    return subprocess.Popen([sys.executable, "-c", CHILD, text], stdout=subprocess.PIPE, text=True)


def leftovers(home: Path) -> list[Path]:
    """Files with bytes in them that are no part of a stored model."""
    files = [path for path in home.rglob("*") if path.is_file() and path.stat().st_size]
    return [path for path in files if "models" not in path.relative_to(home).parts]


def test_wrong_bytes_in_the_mirror_are_said_and_the_package_is_asked(
    index: Index, entry: Entry, home: Path, tmp_path: Path
) -> None:
    (tmp_path / "mirror" / "colours").mkdir(parents=True)
    (tmp_path / "mirror" / "colours" / "colours.onnx").write_bytes(colour_network()[:-1] + b"?")
    lines: list[str] = []
    card = fetch("colours", Settings({"mirror": str(tmp_path / "mirror")}), quiet, lines.append)
    assert card.source_files[0].sha256 == entry.files[0].sha256
    assert len(lines) == 1
    assert "colours.onnx is not from" in lines[0]
    assert "other bytes" in lines[0]
    assert leftovers(home) == []


def test_two_processes_that_fetch_at_once_ask_the_index_for_the_package_once(
    index: Index, entry: Entry, home: Path
) -> None:
    both = [child(entry), child(entry)]
    said = [one.communicate(timeout=60)[0] for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert all(text.endswith("colours@1\n") for text in said)
    assert index.asked.count(f"/{WHEEL}") == 1
    assert Store(home).versions("colours") == (1,)


def test_a_fetch_killed_in_the_middle_of_a_package_stores_nothing_and_works_again(
    index: Index, entry: Entry, home: Path
) -> None:
    index.holds = True
    killed = child(entry)
    until(lambda: f"/{WHEEL}" in index.asked, what="the package's first half")
    killed.kill()
    killed.communicate()
    assert Store(home).list() == []
    index.holds = False
    index.released.set()
    assert fetch("colours", Settings(), quiet, print).id == "colours@1"
    assert Store(home).get("colours@1").card.example is not None
