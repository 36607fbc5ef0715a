"""Fetch as a whole: a catalog entry's bytes, imported, checked on its example, stored; or nothing at all."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from glia.core.card import RESEARCH_ONLY
from glia.core.errors import ImportFailed, SourceError
from glia.core.settings import Settings
from glia.jobs.example import is_close
from glia.jobs.fetch import fetch, fetch_starter, stored_already
from glia.runtime.directory import Directory
from glia.runtime.service import load
from glia.store import catalog
from glia.store.catalog import Entry, read_entry
from glia.store.store import Store
from house import colour_network, until

ENTRY = """
name = "colours"
title = "Colours"
description = "Red, green or blue."
task = "image-classification"
service = "objects"
rank = 5
starter = true
source = "these tests"
format = "onnx"
labels = "imagenet-1k"

[licence]
weights = "{licence}"

[inputs]
image = "image"

[outputs]
scores = "logits"

[preprocessing]
size = [8, 8]
std = [255, 255, 255]

[example]
input = {{ image = "sample:apple.jpg", top_k = 1 }}
output = [{{ label = "{answer}", score = {score} }}]
tolerance = 0.9

[[files]]
file = "colours.onnx"
sha256 = "{sha256}"
bytes = {bytes}
sources = [{sources}]
"""

CHILD = """
import pathlib, sys
from glia.core.settings import Settings
from glia.jobs.fetch import fetch
from glia.store import catalog
entry = catalog.read_entry(pathlib.Path(sys.argv[1]))
catalog.catalog = lambda: {entry.name: entry}
card = fetch("colours", Settings(), lambda done, total, what: None, print)
print("stored", card.version, flush=True)
"""


@pytest.fixture
def write_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Entry]:
    """Makes the catalog hold one entry, whose network lies in a mirror."""

    def write(answer: str = "tench", licence: str = "CC0-1.0", sources: str = '"mirror"', score: float = 0.5) -> Entry:
        network = colour_network()
        for folder in ("mirror", "broken"):
            (tmp_path / folder / "colours").mkdir(parents=True, exist_ok=True)
        (tmp_path / "mirror" / "colours" / "colours.onnx").write_bytes(network)
        (tmp_path / "broken" / "colours" / "colours.onnx").write_bytes(network[:-1] + b"?")
        digest = hashlib.sha256(network).hexdigest()
        path = tmp_path / "colours.toml"
        text = ENTRY.format(
            answer=answer, licence=licence, sources=sources, sha256=digest, bytes=len(network), score=score
        )
        path.write_text(text)
        entry = read_entry(path)
        monkeypatch.setattr(catalog, "catalog", lambda: {entry.name: entry})
        return entry

    return write


class Lines(list[str]):
    """What a fetch reports."""

    def __call__(self, line: str) -> None:
        self.append(line)


def quiet(done: int, total: int | None, what: str) -> None:
    """No progress."""


def with_mirror(home: Path, folder: Path) -> Settings:
    return Settings({"home": str(home), "mirror": str(folder)}, environ={})


def test_a_fetched_network_answers_its_service(write_entry: Callable[..., Entry], home: Path, tmp_path: Path) -> None:
    entry = write_entry()
    card = fetch("colours", with_mirror(home, tmp_path / "mirror"), quiet, Lines())
    assert (card.id, card.source_files[0].sha256) == ("colours@1", entry.files[0].sha256)
    stored = Store(home).get("colours")
    assert stored.card.example is not None
    assert stored.card.example.input["image"] == "example/apple.jpg"
    assert stored.path("example/apple.jpg").stat().st_size > 1000
    resolved = Directory(Settings({"home": str(home)}, environ={})).resolve("objects")
    service = load(resolved, Store(home))
    picture = stored.path("example/apple.jpg").read_bytes()
    assert service.predict(service.contract.request({"image": picture}))[0].label == "tench"


def test_what_is_there_already_is_not_fetched_again(
    write_entry: Callable[..., Entry], home: Path, tmp_path: Path
) -> None:
    entry = write_entry()
    fetch("colours", with_mirror(home, tmp_path / "mirror"), quiet, Lines())
    lines = Lines()
    again = fetch("colours", with_mirror(home, tmp_path / "gone"), quiet, lines)
    assert again.version == 1
    assert "in the store already" in lines[0]
    assert stored_already(entry, Store(home)) == again


def test_an_example_with_another_answer_stores_nothing(
    write_entry: Callable[..., Entry], home: Path, tmp_path: Path
) -> None:
    write_entry(answer="goldfish")
    with pytest.raises(ImportFailed, match="its example gives"):
        fetch("colours", with_mirror(home, tmp_path / "mirror"), quiet, Lines())
    assert Store(home).list() == []


def test_wrong_bytes_leave_nothing_and_the_error_lists_every_source(
    write_entry: Callable[..., Entry], home: Path, tmp_path: Path
) -> None:
    write_entry(sources='"mirror", "http://127.0.0.1:9/colours.onnx"')
    with pytest.raises(SourceError) as error:
        fetch("colours", with_mirror(home, tmp_path / "broken"), quiet, Lines())
    assert "broken" in error.value.message
    assert "127.0.0.1:9" in error.value.message
    assert Store(home).list() == []
    left = [path for path in (home / "downloads").rglob("*") if path.is_file() and path.stat().st_size > 0]
    assert left == []


def test_a_research_only_network_is_left_out_when_only_permissive_ones_are_wanted(
    write_entry: Callable[..., Entry], home: Path, tmp_path: Path
) -> None:
    write_entry(licence=RESEARCH_ONLY)
    strict = Settings({"home": str(home), "mirror": str(tmp_path / "mirror"), "licences": "permissive"}, environ={})
    with pytest.raises(SourceError, match="GLIA_LICENCES=permissive"):
        fetch("colours", strict, quiet, Lines())


def test_the_starter_comes_once_or_says_why_not(write_entry: Callable[..., Entry], home: Path, tmp_path: Path) -> None:
    write_entry()
    offline, lines = with_mirror(home, tmp_path / "gone"), Lines()
    assert fetch_starter(offline, quiet, lines) is None
    assert "later: glia fetch colours" in lines[-1]
    without, lines = Settings({"home": str(home), "starter": "no"}, environ={}), Lines()
    assert fetch_starter(without, quiet, lines) is None
    assert len(lines) == 1
    assert "GLIA_STARTER=no" in lines[0]
    online = with_mirror(home, tmp_path / "mirror")
    card = fetch_starter(online, quiet, Lines())
    assert card is not None
    lines = Lines()
    assert fetch_starter(online, quiet, lines) is None
    assert lines == []


def wheel_index(folder: Path, network: bytes) -> None:
    """A folder of wheels with the network inside one, as `pip download --find-links` takes it."""
    folder.mkdir()
    with zipfile.ZipFile(folder / "colours_net-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("colours_net/colours.onnx", network)
        wheel.writestr("colours_net-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: colours-net\nVersion: 1.0\n")
        wheel.writestr(
            "colours_net-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("colours_net-1.0.dist-info/RECORD", "")


def start_child(tmp_path: Path, home: Path, **variables: str) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "GLIA_"))}
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path / "colours.toml")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**kept, "GLIA_HOME": str(home), **variables},
    )


def test_two_processes_that_fetch_from_a_package_at_once_store_one_version(
    write_entry: Callable[..., Entry], home: Path, tmp_path: Path
) -> None:
    write_entry(sources='"pypi:colours-net==1.0!colours_net/colours.onnx"')
    wheel_index(tmp_path / "wheels", colour_network())
    found = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "wheels"), "PIP_CONFIG_FILE": os.devnull}
    children = [start_child(tmp_path, home, **found) for _ in range(2)]
    said = [child.communicate(timeout=60) for child in children]
    assert [child.returncode for child in children] == [0, 0], said
    assert all(out.endswith("stored 1\n") for out, _ in said)
    assert sum("in the store already" in out for out, _ in said) == 1
    assert Store(home).versions("colours") == (1,)


def test_a_fetch_killed_with_9_leaves_nothing_half_and_works_again(
    write_entry: Callable[..., Entry], home: Path, tmp_path: Path
) -> None:
    write_entry()
    # Folders and files that appear one after another while a fetch goes on: a kill at each of these moments.
    for moment in ("downloads", "downloads/colours.lock", "staging"):
        child = start_child(tmp_path, home, GLIA_MIRROR=str(tmp_path / "mirror"))
        until(lambda path=home / moment, child=child: path.exists() or child.poll() is not None)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        assert all(card.version >= 1 for card in Store(home).list())
    card = fetch("colours", with_mirror(home, tmp_path / "mirror"), quiet, Lines())
    assert Store(home).get(card.id).card == card


def test_answers_are_compared_with_a_tolerance() -> None:
    recorded = [{"label": "a", "score": 0.5}]
    assert is_close([{"label": "a", "score": 0.51}, {"label": "b", "score": 0.1}], recorded, 0.02)
    assert not is_close([{"label": "a", "score": 0.53}], recorded, 0.02)
    assert not is_close([{"label": "b", "score": 0.5}], recorded, 0.02)
    assert not is_close([], recorded, 0.02)
    assert not is_close({"label": "a"}, recorded, 0.02)
    assert is_close(json.loads('{"same": true, "n": 2}'), {"same": True}, 0)
    assert not is_close({"same": False}, {"same": True}, 1)
