from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from glia.core.errors import InputError, StoreError
from glia.store.bindings import Bindings

MANY = """
import sys
from pathlib import Path
from glia.store.bindings import Bindings
for n in range(20):
    Bindings(Path(sys.argv[1])).set(f"service-{sys.argv[2]}-{n}", {"model": f"net@{n + 1}"})
"""


def test_a_binding_is_read_back_until_it_is_cleared(tmp_path: Path) -> None:
    bindings = Bindings(tmp_path / "home")
    assert bindings.all() == {}
    assert bindings.get("objects") == {}
    assert not (tmp_path / "home").exists()
    bindings.set("objects", {"model": "net@2"})
    bindings.set("ages", {"detector": "faces", "ages": "age-v1@1"})
    assert Bindings(tmp_path / "home").get("objects") == {"model": "net@2"}
    bindings.clear("objects")
    bindings.clear("objects")
    assert bindings.all() == {"ages": {"detector": "faces", "ages": "age-v1@1"}}


@pytest.mark.parametrize(
    ("service", "roles"),
    [("../x", {"model": "net"}), ("ok", {}), ("ok", {"model": "../net"}), ("ok", {"": "net"}), ("ok", {"m": "net@0"})],
)
def test_what_cannot_be_a_binding_is_refused(tmp_path: Path, service: str, roles: dict[str, str]) -> None:
    with pytest.raises(InputError):
        Bindings(tmp_path).set(service, roles)
    assert Bindings(tmp_path).all() == {}


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "bindings.json").write_text("[]")
    with pytest.raises(StoreError, match=r"bindings.json"):
        Bindings(tmp_path).all()


def test_several_processes_bind_at_once_and_nothing_is_lost(tmp_path: Path, processes: Any) -> None:
    for process in [processes.child(MANY, tmp_path, n) for n in range(4)]:
        process.communicate(timeout=60)
    assert len(Bindings(tmp_path).all()) == 80
