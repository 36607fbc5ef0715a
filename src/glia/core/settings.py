"""Settings of the installation: one table; flag > environment > file > default."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from glia.core.errors import SettingError


@dataclass(frozen=True)
class Setting:
    """One row of the table."""

    name: str
    default: Any
    kind: type
    help: str
    choices: tuple[str, ...] = ()
    """What a text may be; anything where empty."""

    @property
    def variable(self) -> str:
        """The environment variable."""
        return f"GLIA_{self.name.upper()}"


TABLE: tuple[Setting, ...] = (
    Setting("home", "", str, "Folder of the store; empty: the platform's user data folder."),
    Setting("mirror", "", str, "Folder or URL with one folder per network, tried before every other source."),
    Setting("host", "127.0.0.1", str, "Address to listen on; 0.0.0.0 for every interface."),
    Setting("port", 8080, int, "Port to listen on."),
    Setting("root_path", "", str, "Path under which a proxy serves Glia, such as /glia."),
    Setting("api_key", "", str, "When set, every route but /health asks for it."),
    Setting("cors_origins", "", str, "Web origins that may call from a browser, comma-separated; empty: none."),
    Setting(
        "licences",
        "all",
        str,
        "`permissive` leaves out models whose weights or data are research-only.",
        ("all", "permissive"),
    ),
    Setting("starter", "yes", str, "`no` keeps `make serve` from fetching the starter network.", ("yes", "no")),
    Setting("memory", 0, int, "Memory for all replicas [MB]; 0: three quarters of the machine's."),
    Setting("lanes", 0, int, "Requests that one replica works on at once; 0: one per core."),
    Setting(
        "precision", "any", str, "`fp32` leaves out the lower precisions that tuning found faster.", ("any", "fp32")
    ),
    Setting("idle_s", 0, int, "Unload a model that nobody asked for so long [s]; 0: never."),
    Setting("queue", 256, int, "Requests that may wait per service; more are answered 503."),
    Setting("deadline_s", 60, int, "Longest time a request may take [s]; a request may ask for less."),
    Setting("drain_s", 20, int, "Longest time that stopping waits for requests [s]."),
    Setting(
        "max_pending_mb",
        0,
        int,
        "Bodies received and not yet answered, all together [MB]; above it: 503. 0: 1024, or an eighth of the memory.",
    ),
    Setting("max_body_mb", 64, int, "Largest request body [MB]."),
    Setting("max_media_mb", 32, int, "Largest encoded picture or sound [MB]."),
    Setting("max_megapixels", 64, int, "Largest picture [megapixels], by its header."),
    Setting("tasks_dir", "", str, "Folder with further task files (*.py); their code is run."),
    Setting("log_format", "text", str, "`json` writes one JSON object a line.", ("text", "json")),
    Setting("log_level", "info", str, "debug, info, warning or error.", ("debug", "info", "warning", "error")),
)


class Settings(Mapping[str, Any]):
    """The settings in force, each with where it came from."""

    def __init__(self, flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None) -> None:
        """`flags`: values given on the command line, None for those not given. Raises SettingError."""
        environ = os.environ if environ is None else environ
        given = {name: value for name, value in (flags or {}).items() if value is not None}
        self._values: dict[str, Any] = {}
        self.origin: dict[str, str] = {}
        self._take(TABLE[0], given, environ, {})
        file = self.file
        try:
            stored = tomllib.loads(file.read_text()) if file.is_file() else {}
        except (OSError, ValueError) as error:
            raise SettingError(f"Expected TOML in {file}, received: {error}. Mend or remove the file.") from error
        unknown = set(stored) - {setting.name for setting in TABLE}
        if unknown:
            raise SettingError(
                f"Unknown settings in {file}: {', '.join(sorted(unknown))}. `glia settings` lists them all."
            )
        for setting in TABLE[1:]:
            self._take(setting, given, environ, stored)

    def _take(
        self, setting: Setting, flags: Mapping[str, Any], environ: Mapping[str, str], stored: Mapping[str, Any]
    ) -> None:
        if setting.name in flags:
            value, origin = flags[setting.name], "flag"
        elif setting.variable in environ:
            value, origin = environ[setting.variable], setting.variable
        elif setting.name in stored:
            value, origin = stored[setting.name], "file"
        else:
            value, origin = setting.default, "default"
        wanted = " or ".join(setting.choices) or {"int": "a whole number from 0", "str": "text"}[setting.kind.__name__]
        try:
            taken = setting.kind(value)
        except (ValueError, TypeError):
            taken = None
        if taken is None or (setting.choices and taken not in setting.choices) or (setting.kind is int and taken < 0):
            raise SettingError(f"Setting {setting.name} ({origin}): expected {wanted}, received {value!r}.")
        self._values[setting.name] = taken
        self.origin[setting.name] = origin

    @property
    def home(self) -> Path:
        """The store's folder."""
        return Path(self._values["home"] or platformdirs.user_data_dir("glia", appauthor=False)).expanduser().resolve()

    @property
    def file(self) -> Path:
        """Where settings are kept."""
        return self.home / "settings.toml"

    @property
    def permissive(self) -> bool:
        """Whether research-only models are left out."""
        return bool(self._values["licences"] == "permissive")

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Any:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)
