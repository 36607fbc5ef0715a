"""Which models a service is bound to, role by role; a service that is not here runs the best model of its kind."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from glia.core.card import NAME_PATTERN
from glia.core.errors import InputError, StoreError
from glia.store.disk import locked, replace_file
from glia.store.store import split_ref

Roles = dict[str, str]
_TABLE = TypeAdapter(dict[str, Roles])


class Bindings:
    """The file ROOT/bindings.json: service to role to `NAME` or `NAME@VERSION`.

    The usual single model has the role `model`. Replaced whole, under a lock; reading creates nothing.
    """

    def __init__(self, root: Path) -> None:
        self._path = root / "bindings.json"
        self._lock = root / "bindings.lock"

    def all(self) -> dict[str, Roles]:
        """Every binding. Raises StoreError where the file cannot be read."""
        try:
            return _TABLE.validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValidationError) as error:
            raise StoreError(
                f"expected services and their models in {self._path}, received a damaged file; remove it and bind again"
            ) from error

    def stamp(self) -> tuple[int, int]:
        """Differs whenever a binding was changed; cheap to ask for."""
        try:
            state = self._path.stat()
        except OSError:
            return (0, 0)
        return (state.st_ino, state.st_mtime_ns)

    def get(self, service: str) -> Roles:
        """Role to model of a service; empty where it is not bound."""
        return self.all().get(_service(service), {})

    def set(self, service: str, roles: Mapping[str, str]) -> None:
        """Bind a service. Whether the models are there is the store's to say, when they are loaded."""
        _service(service)
        if not roles:
            raise InputError(f"expected at least one role for {service}, received none; clear it to unbind it")
        for role, ref in roles.items():
            if not re.fullmatch(r"[a-z][a-z0-9_-]{0,49}", role):
                raise InputError(f"expected a role of small letters such as 'model', received {role[:60]!r}")
            split_ref(ref)
        self._change(lambda table: {**table, service: dict(roles)})

    def clear(self, service: str) -> None:
        """Unbind a service; nothing happens where it is not bound."""
        _service(service)
        if service in self.all():
            self._change(lambda table: {key: roles for key, roles in table.items() if key != service})

    def _change(self, change: Callable[[dict[str, Roles]], dict[str, Roles]]) -> None:
        with locked(self._lock):
            replace_file(self._path, _TABLE.dump_json(change(self.all()), indent=1))


def _service(name: str) -> str:
    """The name, if it can be a service's."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise InputError(f"expected a service's name, of small letters, digits, '.', '_', '-', received {name[:120]!r}")
    return name
