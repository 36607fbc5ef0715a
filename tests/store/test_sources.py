from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from glia.core.errors import SourceError
from glia.store import pypi
from glia.store.catalog import EntryFile
from glia.store.sources import obtain
from house import reach_only, web_server

OBTAIN = """
import json, sys
from pathlib import Path
from glia.store.catalog import EntryFile
from glia.store.sources import obtain
file = EntryFile.model_validate(json.loads(sys.argv[1]))
print(obtain(file, name="net", downloads=Path(sys.argv[2])))
"""


@dataclass
class Served:
    """A path's content: whether it keeps ranges, where it breaks off, whether it waits there, where it redirects."""

    content: bytes = b""
    status: int = 200
    ranges: bool = True
    length: bool = True
    stop_at: int | None = None
    hold: bool = False
    location: str = ""


@dataclass
class Web:
    url: str = ""
    paths: dict[str, Served] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    there = Web()

    def answer(request: BaseHTTPRequestHandler) -> None:
        found = there.paths.get(request.path, Served(status=404))
        asked = request.headers.get("range", "")
        there.asked.append((request.path, asked))
        begin = re.fullmatch(r"bytes=(\d+)-", asked)
        start = int(begin[1]) if begin and found.ranges and found.status == 200 else 0
        request.send_response(206 if start else found.status)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(found.content) - 1}/{len(found.content)}")
        request.send_header("Content-Type", "text/html" if request.path.endswith("/") else "application/octet-stream")
        if found.location:
            request.send_header("Location", found.location)
        if found.length:
            request.send_header("Content-Length", str(len(found.content) - start))
        request.end_headers()
        request.wfile.write(found.content[start : found.stop_at])
        request.wfile.flush()
        if found.hold:
            there.released.wait(30)

    with web_server(answer) as there.url:
        reach_only(there.url, monkeypatch)
        yield there
        there.released.set()


@pytest.fixture
def index(web: Web) -> Web:
    return web


CONTENT = bytes(range(256)) * 4000


def wanted(*sources: str, content: bytes = CONTENT) -> EntryFile:
    digest = hashlib.sha256(content).hexdigest()
    return EntryFile(file="net.bin", sha256=digest, bytes=len(content), sources=sources or ("mirror",))


def publish(index: Web, members: dict[str, bytes], name: str = "small-net", version: str = "1.0") -> None:
    """Put a wheel on the test's package index."""
    stem, packed = f"{name.replace('-', '_')}-{version}", BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as wheel:
        for member, content in members.items():
            wheel.writestr(member, content)
        about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        wheel.writestr(f"{stem}.dist-info/METADATA", about)
        wheel.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{stem}.dist-info/RECORD", "")
    file = f"{stem}-py3-none-any.whl"
    index.paths[f"/simple/{name}/"] = Served(f'<!DOCTYPE html><a href="/{file}">{file}</a>'.encode())
    index.paths[f"/{file}"] = Served(packed.getvalue())


def left(downloads: Path) -> set[str]:
    """What lies in the downloads, without the locks."""
    assert not list((downloads / "staging").glob("*-*")), "a staging folder is left over"
    return {path.name for path in downloads.iterdir()} - {"locks", "staging"}


class Fetch:
    """Obtain into one folder, and keep what was said meanwhile."""

    def __init__(self, downloads: Path) -> None:
        self.downloads = downloads
        self.lines: list[str] = []
        self.steps: list[tuple[int, int | None, str]] = []

    def __call__(self, file: EntryFile, mirror: str | None = None, max_bytes: int = 1 << 30) -> Path:
        return obtain(
            file,
            name="net",
            downloads=self.downloads,
            mirror=mirror,
            progress=lambda *step: self.steps.append(step),
            report=self.lines.append,
            max_bytes=max_bytes,
        )


@pytest.fixture
def fetch(tmp_path: Path) -> Fetch:
    return Fetch(tmp_path / "downloads")


def test_a_url_is_fetched_once_and_kept_under_its_hash(web: Web, fetch: Fetch) -> None:
    web.paths["/net.bin"] = Served(CONTENT)
    file = wanted(f"{web.url}/net.bin")
    path = fetch(file)
    assert (path.name, path.read_bytes()) == (file.sha256, CONTENT)
    assert fetch(file) == path
    assert web.asked == [("/net.bin", "")]
    assert fetch.lines == []
    assert fetch.steps[-1] == (len(CONTENT), len(CONTENT), "net.bin from 127.0.0.1")
    assert left(fetch.downloads) == {file.sha256}


def test_a_kept_file_that_was_damaged_is_fetched_again(web: Web, fetch: Fetch) -> None:
    web.paths["/net.bin"] = Served(CONTENT)
    fetch(wanted(f"{web.url}/net.bin")).write_bytes(b"x" * len(CONTENT))
    assert fetch(wanted(f"{web.url}/net.bin")).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("served", "reason"),
    [
        (Served(b"x" * len(CONTENT)), "other bytes: expected 1,024,000 with sha256"),
        (Served(CONTENT + b"x"), "offered 1024001"),
        (Served(CONTENT + b"x", length=False), "received more bytes"),
        (Served(b"<html>", length=False), "ended after 6 of 1,024,000 bytes"),
        (Served(CONTENT, status=404), "HTTP status 404"),
        (Served(status=302, location="http://example.org/net.bin"), "redirects to http://example.org/net.bin"),
        (Served(status=302, location="/bad.bin"), "more than 5 redirects"),
    ],
)
def test_a_url_with_other_bytes_leaves_nothing_and_the_next_source_is_tried(
    web: Web, fetch: Fetch, served: Served, reason: str
) -> None:
    web.paths |= {"/bad.bin": served, "/good.bin": Served(CONTENT)}
    with pytest.raises(SourceError, match=re.escape(reason)):
        fetch(wanted(f"{web.url}/bad.bin"))
    assert left(fetch.downloads) == set()
    fetch.lines.clear()
    file = wanted(f"{web.url}/bad.bin", f"{web.url}/good.bin")
    assert fetch(file).read_bytes() == CONTENT
    (line,) = fetch.lines
    assert reason in line
    assert left(fetch.downloads) == {file.sha256}


def test_no_source_left_lists_every_reason_without_credentials(web: Web, fetch: Fetch) -> None:
    mirror = web.url.replace("http://", "http://me:secret@")
    with pytest.raises(SourceError, match="from one of its sources") as caught:
        fetch(wanted("mirror", f"{web.url}/a", "http://127.0.0.1:9/b"), mirror=mirror)
    reasons = caught.value.details["reasons"]
    assert [reason.split(": ")[0] for reason in reasons] == [
        f"{web.url.replace('http://', 'http://***@')}/net/net.bin",
        f"{web.url}/a",
        "http://127.0.0.1:9/b",
    ]
    assert "secret" not in caught.value.message + "".join(fetch.lines)
    assert "not reachable" in reasons[2]


def test_a_redirect_on_this_machine_is_followed(web: Web, fetch: Fetch) -> None:
    web.paths |= {"/old": Served(status=302, location="/new"), "/new": Served(CONTENT)}
    assert fetch(wanted(f"{web.url}/old")).read_bytes() == CONTENT


def test_a_broken_download_goes_on_where_it_stopped(web: Web, fetch: Fetch) -> None:
    web.paths["/net.bin"] = Served(CONTENT, stop_at=300_000)
    file = wanted(f"{web.url}/net.bin")
    with pytest.raises(SourceError, match="broken off"):
        fetch(file)
    assert left(fetch.downloads) == {f"{file.sha256}.part"}
    web.paths["/net.bin"] = Served(CONTENT)
    assert fetch(file).read_bytes() == CONTENT
    assert web.asked[-1] == ("/net.bin", "bytes=300000-")
    assert left(fetch.downloads) == {file.sha256}


@pytest.mark.parametrize("ranges", [True, False])
def test_a_wrong_beginning_is_fetched_anew(web: Web, fetch: Fetch, ranges: bool) -> None:
    web.paths["/net.bin"] = Served(CONTENT, ranges=ranges)
    file = wanted(f"{web.url}/net.bin")
    fetch.downloads.mkdir()
    (fetch.downloads / f"{file.sha256}.part").write_bytes(b"wrong")
    assert fetch(file).read_bytes() == CONTENT
    assert [asked for _, asked in web.asked] == (["bytes=5-", ""] if ranges else ["bytes=5-"])


@pytest.mark.parametrize("size", [len(CONTENT), len(CONTENT) + 1])
def test_a_beginning_as_long_as_the_file_is_checked_too(web: Web, fetch: Fetch, size: int) -> None:
    web.paths["/net.bin"] = Served(CONTENT)
    file = wanted(f"{web.url}/net.bin")
    fetch.downloads.mkdir()
    (fetch.downloads / f"{file.sha256}.part").write_bytes(b"x" * size)
    assert fetch(file).read_bytes() == CONTENT


def test_a_process_killed_during_a_download_is_followed_by_one_that_resumes(
    web: Web, fetch: Fetch, processes: Any
) -> None:
    web.paths["/net.bin"] = Served(CONTENT, stop_at=400_000, hold=True)
    file = wanted(f"{web.url}/net.bin")
    part = fetch.downloads / f"{file.sha256}.part"
    process = processes.child(OBTAIN, file.model_dump_json(), fetch.downloads)
    processes.until(lambda: part.exists() and part.stat().st_size > 200_000)
    processes.end(process)
    web.released.set()
    begun = part.stat().st_size
    web.paths["/net.bin"] = Served(CONTENT)
    assert fetch(file).read_bytes() == CONTENT
    assert web.asked[-1] == ("/net.bin", f"bytes={begun}-")
    assert left(fetch.downloads) == {file.sha256}


def test_two_processes_that_want_one_file_fetch_it_once(web: Web, fetch: Fetch, processes: Any) -> None:
    web.paths["/net.bin"] = Served(CONTENT)
    file = wanted(f"{web.url}/net.bin")
    children = [processes.child(OBTAIN, file.model_dump_json(), fetch.downloads) for _ in range(3)]
    assert {process.communicate(timeout=60)[0].strip() for process in children} == {str(fetch.downloads / file.sha256)}
    assert len(web.asked) == 1


def test_the_mirror_folder_comes_first_even_if_it_is_not_listed(web: Web, fetch: Fetch, tmp_path: Path) -> None:
    (tmp_path / "mirror" / "net").mkdir(parents=True)
    (tmp_path / "mirror" / "net" / "net.bin").write_bytes(CONTENT)
    assert fetch(wanted(f"{web.url}/net.bin"), mirror=str(tmp_path / "mirror")).read_bytes() == CONTENT
    assert web.asked == []


@pytest.mark.parametrize("content", [None, b"short", b"x" * len(CONTENT)])
def test_a_mirror_without_the_right_file_is_reported_and_passed_over(
    web: Web, fetch: Fetch, tmp_path: Path, content: bytes | None
) -> None:
    (tmp_path / "mirror" / "net").mkdir(parents=True)
    if content is not None:
        (tmp_path / "mirror" / "net" / "net.bin").write_bytes(content)
    web.paths["/net.bin"] = Served(CONTENT)
    assert fetch(wanted(f"{web.url}/net.bin"), mirror=str(tmp_path / "mirror")).read_bytes() == CONTENT
    assert len(fetch.lines) == 1


def test_a_mirror_behind_a_url_is_laid_out_by_name_and_file(web: Web, fetch: Fetch) -> None:
    web.paths["/models/net/net.bin"] = Served(CONTENT)
    assert fetch(wanted(), mirror=f"{web.url}/models/").read_bytes() == CONTENT


def test_a_file_above_the_limit_is_not_begun(web: Web, fetch: Fetch) -> None:
    with pytest.raises(SourceError, match="at most 1,000 bytes"):
        fetch(wanted(f"{web.url}/net.bin"), max_bytes=1000)
    assert web.asked == []


def test_a_member_of_a_wheel_is_fetched_from_the_users_index(index: Web, fetch: Fetch) -> None:
    publish(index, {"small_net/net.bin": CONTENT, "small_net/other.bin": b"other"})
    file = wanted("pypi:small-net==1.0!small_net/net.bin")
    assert fetch(file).read_bytes() == CONTENT
    assert fetch.lines == []
    assert left(fetch.downloads) == {file.sha256}


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("pypi:small-net==1.0!small_net/wrong.bin", "other bytes: expected 1,024,000 with sha256"),
        ("pypi:small-net==1.0!small_net/short.bin", "in the package has 5"),
        ("pypi:small-net==1.0!small_net/absent.bin", "the package has no small_net/absent.bin"),
        ("pypi:small-net==2.0!small_net/net.bin", "the index has other versions only"),
        ("pypi:no-net==1.0!small_net/net.bin", "the index has no such package"),
    ],
)
def test_a_package_without_the_right_bytes_leaves_nothing(index: Web, fetch: Fetch, source: str, reason: str) -> None:
    publish(index, {"small_net/wrong.bin": b"x" * len(CONTENT), "small_net/short.bin": b"short"})
    with pytest.raises(SourceError, match=re.escape(reason)):
        fetch(wanted(source))
    assert left(fetch.downloads) == set()


def test_a_damaged_wheel_is_a_reason(index: Web, fetch: Fetch) -> None:
    publish(index, {"small_net/net.bin": CONTENT})
    wheel = index.paths["/small_net-1.0-py3-none-any.whl"]
    begin = wheel.content.index(b"small_net/net.bin")
    wheel.content = wheel.content[: begin + 40] + bytes(64) + wheel.content[begin + 104 :]
    with pytest.raises(SourceError, match="the package is damaged"):
        fetch(wanted("pypi:small-net==1.0!small_net/net.bin"))
    assert left(fetch.downloads) == set()


def test_an_index_that_is_not_there_is_told_from_a_missing_package(
    index: Web, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://me:secret@127.0.0.1:9/simple/")
    with pytest.raises(SourceError, match="no connection to the index") as caught:
        fetch(wanted("pypi:small-net==1.0!small_net/net.bin"))
    assert "secret" not in caught.value.message


def test_a_package_above_the_limit_is_broken_off(index: Web, fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pypi, "LEAST_WHEEL_LIMIT_BYTES", 100_000)
    content = CONTENT[:5000]
    publish(index, {"small_net/net.bin": content, "small_net/big.bin": os.urandom(300_000)})
    with pytest.raises(SourceError, match="larger than the limit of 100,000 bytes"):
        fetch(wanted("pypi:small-net==1.0!small_net/net.bin", content=content))
    assert left(fetch.downloads) == set()


def test_without_pip_the_reason_names_the_cure(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SourceError, match="ensurepip"):
        fetch(wanted("pypi:small-net==1.0!small_net/net.bin"))


def test_pip_ends_with_an_interrupted_download(index: Web, fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(index, {"small_net/net.bin": CONTENT})
    wheel = index.paths["/small_net-1.0-py3-none-any.whl"]
    wheel.stop_at, wheel.hold = 2000, True

    def interrupt(*_: object) -> None:
        if len(index.asked) > 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        obtain(
            wanted("pypi:small-net==1.0!small_net/net.bin"), name="net", downloads=fetch.downloads, progress=interrupt
        )
    assert left(fetch.downloads) == set()
