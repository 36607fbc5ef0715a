from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from glia.core.card import Card, Example, Graph
from glia.core.errors import Conflict, InputError, NotFound, StoreError
from glia.store.disk import staging_folder
from glia.store.store import Store

CARD = Card(name="net", task="image-classification", graphs={"model": Graph()})

PUT = """
import os, sys
from pathlib import Path
from glia.core.card import Card, Graph
from glia.store.store import Store

root, reached, action, stop = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
store, seen = Store(root), 0

def stopping(real):
    def call(*arguments, **options):
        global seen
        seen += 1
        if seen == stop:
            reached.touch()
            sys.stdin.read()
        return real(*arguments, **options)
    return call

for name in ("fsync", "rename", "replace"):
    setattr(os, name, stopping(getattr(os, name)))
if action == "put":
    card = Card(name="net", task="image-classification", graphs={"model": Graph()})
    store.put(card, {"graph.onnx": b"new", "example/x.jpg": b"picture"})
elif action == "delete":
    store.delete("net@2")
else:
    store.roll_back("net")
print(seen)
"""

MANY = """
import sys
from pathlib import Path
from glia.core.card import Card, Graph
from glia.store.store import Store
card = Card(name="net", task="image-classification", graphs={"model": Graph()})
for n in range(8):
    print(Store(Path(sys.argv[1])).put(card, {"graph.onnx": f"{sys.argv[2]} {n}".encode()}).version)
"""


def put(store: Store, content: bytes = b"graph", name: str = "net", default: bool = True) -> Card:
    card = CARD.model_copy(update={"name": name})
    return store.put(card, {"graph.onnx": content}, make_default=default)


def state(store: Store) -> tuple[tuple[int, ...], int, bytes]:
    stored = store.get("net")
    return store.versions("net"), store.default("net"), stored.path("graph.onnx").read_bytes()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


def test_reading_creates_nothing(store: Store) -> None:
    assert store.list() == []
    with pytest.raises(NotFound):
        store.get("net")
    with pytest.raises(NotFound):
        store.delete("net")
    assert not store.root.exists()


def test_a_put_model_comes_back_with_its_version_hashes_and_files(store: Store, tmp_path: Path) -> None:
    lying = tmp_path / "made.onnx"
    lying.write_bytes(b"graph")
    example = Example(input={"image": "example/x.jpg"}, output=[])
    card = store.put(CARD.model_copy(update={"example": example}), {"graph.onnx": lying, "example/x.jpg": b"picture"})
    assert card.id == "net@1"
    assert card.graph().sha256 == hashlib.sha256(b"graph").hexdigest()
    assert card.graph().bytes == 5
    stored = store.get("net@1")
    assert stored.card == card == store.get("net").card
    assert stored.path("example/x.jpg").read_bytes() == b"picture"
    assert store.list() == [card]
    assert [path.name for path in (store.root / "staging").iterdir()] == ["lock"]


def test_a_new_version_is_the_default_unless_told_otherwise(store: Store) -> None:
    put(store, default=False)
    put(store, b"two")
    put(store, b"three", default=False)
    assert state(store) == ((1, 2, 3), 2, b"two")
    assert [card.version for card in store.list()] == [2]
    assert [card.version for card in store.list(every_version=True)] == [1, 2, 3]


def test_rolling_back_walks_the_history_of_defaults(store: Store) -> None:
    for _ in range(3):
        put(store)
    store.set_default("net", 1)
    assert [store.roll_back("net") for _ in range(3)] == [3, 2, 1]
    with pytest.raises(Conflict, match="earlier default of net"):
        store.roll_back("net")
    assert store.default("net") == 1


def test_deleting_the_default_gives_its_place_to_the_one_before(store: Store) -> None:
    put(store)
    put(store, default=False)
    put(store)
    store.delete("net")
    assert (store.versions("net"), store.default("net")) == ((1, 2), 1)
    store.delete("net@1")
    assert store.default("net") == 2


def test_a_version_number_is_never_given_twice(store: Store) -> None:
    put(store)
    put(store)
    store.delete("net@2")
    store.delete("net")
    assert store.list() == []
    assert put(store).version == 3


def test_deleted_files_are_gone(store: Store) -> None:
    put(store)
    store.delete("net@1")
    assert {path.name for path in (store.root / "models" / "net").iterdir()} == {"default", "lock"}
    with pytest.raises(NotFound):
        store.get("net@1")


def test_a_damaged_graph_is_refused_but_listed(store: Store) -> None:
    put(store)
    path = store.get("net").path("graph.onnx")
    path.write_bytes(b"grapH")
    with pytest.raises(StoreError, match=r"expected graph.onnx of net@1 .* other bytes.* fetch"):
        store.get("net")
    assert store.get("net", verify=False).card.id == "net@1"
    path.unlink()
    with pytest.raises(StoreError, match="no such file"):
        store.get("net")


def test_a_damaged_card_is_refused_and_left_out_of_lists(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    put(store)
    put(store, name="other")
    (store.get("net").folder / "card.json").write_text("{")
    with pytest.raises(StoreError, match=r"card.json of net@1"):
        store.get("net")
    assert [card.name for card in store.list()] == ["other"]
    assert "net@1" in caplog.text


def test_an_unknown_name_is_answered_with_the_nearest(store: Store) -> None:
    put(store, name="squeezenet")
    with pytest.raises(NotFound, match="did you mean squeezenet"):
        store.get("squeeznet")
    with pytest.raises(NotFound, match="received 7; there are 1"):
        store.get("squeezenet@7")


@pytest.mark.parametrize(
    "ref", ["", "..", "../net", "net/1", "/etc", "Net", "net@0", "net@", "net@1/..", "net@-1", "net\n"]
)
def test_a_name_that_could_lie_elsewhere_is_refused(store: Store, ref: str) -> None:
    with pytest.raises(InputError, match="expected NAME or NAME@VERSION"):
        store.get(ref)
    with pytest.raises(InputError):
        store.delete(ref)
    with pytest.raises(InputError):
        store.versions(ref)


@pytest.mark.parametrize("file", ["../x", "/x", "a/b/c", ".x", "a/../x", "", "card.json", "a\\b", "a/", "x\n"])
def test_a_file_name_that_could_lie_elsewhere_is_refused(store: Store, file: str) -> None:
    with pytest.raises(InputError, match="plain file names"):
        store.put(CARD, {"graph.onnx": b"", file: b""})
    put(store)
    if file != "card.json":
        with pytest.raises(NotFound):
            store.get("net").path(file)


def test_links_out_of_the_store_are_not_followed(store: Store, tmp_path: Path) -> None:
    put(store)
    stored = store.get("net")
    outside = tmp_path / "outside"
    outside.write_bytes(b"graph")
    stored.path("graph.onnx").unlink()
    (stored.folder / "graph.onnx").symlink_to(outside)
    with pytest.raises(StoreError):
        store.get("net")
    (store.root / "models" / "linked").symlink_to(store.root / "models" / "net")
    with pytest.raises(StoreError, match="links are not followed"):
        put(store, name="linked")


def test_a_graph_without_its_file_is_not_stored(store: Store) -> None:
    with pytest.raises(StoreError, match=r"missing graph.onnx"):
        store.put(CARD, {"other.onnx": b""})
    assert store.list() == []


def test_a_source_that_cannot_be_read_leaves_the_old_state(store: Store, tmp_path: Path) -> None:
    put(store)
    with pytest.raises(StoreError, match="No such file"):
        store.put(CARD, {"graph.onnx": tmp_path / "absent"})
    assert state(store) == ((1,), 1, b"graph")


@pytest.mark.parametrize("action", ["put", "delete", "roll back"])
def test_a_process_killed_at_any_step_leaves_the_old_or_the_new_state(
    tmp_path: Path, action: str, processes: Any
) -> None:
    def prepared(name: str) -> Store:
        store = Store(tmp_path / name)
        put(store, b"one")
        put(store, b"two")
        return store

    whole = prepared("whole")
    old = state(whole)
    steps = int(processes.child(PUT, whole.root, tmp_path / "none", action, 0).communicate(timeout=30)[0])
    new = state(whole)
    assert old != new
    assert steps >= 3
    children = []
    for step in range(1, steps + 1):
        store, reached = prepared(f"home-{step}"), tmp_path / f"reached-{step}"
        children.append((store, reached, processes.child(PUT, store.root, reached, action, step)))
    found = []
    for store, reached, process in children:
        processes.until(reached.exists)
        processes.end(process)
        found.append(state(store))
        version = put(store, b"after").version
        versions = store.versions("net")
        assert version == max(versions)
        assert store.get("net").path("graph.onnx").read_bytes() == b"after"
        folders = {path.name for path in (store.root / "models" / "net").iterdir()}
        assert folders - {"default", "lock", "default.new"} == set(map(str, versions))
        assert [path.name for path in (store.root / "staging").iterdir()] == ["lock"]
    assert set(found) == {old, new}
    assert found == sorted(found, key=lambda item: item == new), "first the old state, then the new"


def test_several_processes_put_at_once_and_every_version_is_whole(tmp_path: Path, processes: Any) -> None:
    children = [processes.child(MANY, tmp_path / "home", n) for n in range(4)]
    given = [int(line) for process in children for line in process.communicate(timeout=60)[0].split()]
    assert sorted(given) == list(range(1, 33))
    store = Store(tmp_path / "home")
    contents = {store.get(f"net@{version}").path("graph.onnx").read_bytes() for version in given}
    assert len(contents) == 32
    assert store.default("net") == 32


def test_the_staging_folder_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    with staging_folder(tmp_path) as first:
        (tmp_path / "dead").mkdir()
        (tmp_path / "dead.lock").touch()
        with staging_folder(tmp_path) as second:
            assert first.is_dir()
            assert second.is_dir()
            assert not (tmp_path / "dead").exists()
    assert os.listdir(tmp_path) == ["lock"]
