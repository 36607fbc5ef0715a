"""Options that several commands share, and what the terminal shows."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any, TypeVar

import click
from rich.console import Console

from glia.core.settings import TABLE, Settings

Command = TypeVar("Command", bound=Callable[..., Any])

SHARED = ("home", "mirror", "licences", "tasks_dir")


def with_settings(*names: str) -> Callable[[Command], Callable[..., Any]]:
    """Give a command flags for these settings, beside the shared ones, and the settings as its first argument."""
    wanted = [setting for setting in TABLE if setting.name in (*SHARED, *names)]

    def decorate(command: Command) -> Callable[..., Any]:
        @functools.wraps(command)
        def run(**values: Any) -> Any:
            flags = {setting.name: values.pop(setting.name) for setting in wanted}
            # `glia services --home X bind ...` means X as much as `glia services bind --home X ...` does.
            above = click.get_current_context().parent
            for name, value in (above.params if above else {}).items():
                if name in flags and flags[name] is None:
                    flags[name] = value
            return command(Settings(flags), **values)

        decorated: Any = run
        for setting in reversed(wanted):
            flag = "--" + setting.name.replace("_", "-")
            decorated = click.option(flag, setting.name, type=setting.kind, default=None, help=setting.help)(decorated)
        return decorated  # type: ignore[no-any-return]

    return decorate


PIPE_COLUMNS = 200
"""The width of tables and remarks that go to a file or a pipe, where 80 would fold their words."""


def screen() -> Console:
    """Where tables go."""
    return _wide_in_pipes(Console(highlight=False))


def side() -> Console:
    """Where progress and remarks go: never into a pipe's data."""
    return _wide_in_pipes(Console(stderr=True, highlight=False))


def _wide_in_pipes(console: Console) -> Console:
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPE_COLUMNS
    return console
