"""Which tasks there are: the files beside this one, entry points `glia.tasks`, and a folder that the user names."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import inspect
import pkgutil
import sys
from pathlib import Path
from types import ModuleType

import glia.tasks
from glia.core.errors import Conflict, NotFound, SettingError
from glia.core.task import Task


def _tasks_of(module: ModuleType) -> list[type[Task]]:
    return [
        item
        for item in vars(module).values()
        if inspect.isclass(item)
        and issubclass(item, Task)
        and item.__module__ == module.__name__
        and "name" in vars(item)
    ]


def _load(path: Path) -> ModuleType:
    name = f"glia_tasks_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise SettingError(f"The task file {path} cannot be loaded: {type(error).__name__}: {error}") from error
    return module


def find_tasks(folder: str | Path = "") -> dict[str, Task]:
    """Every task by name. `folder`: further *.py files, whose code is run. Raises Conflict for a name met twice."""
    modules = [
        importlib.import_module(f"glia.tasks.{found.name}")
        for found in pkgutil.iter_modules(glia.tasks.__path__)
        if found.name != "registry"
    ]
    kinds = [kind for module in modules for kind in _tasks_of(module)]
    kinds += [point.load() for point in importlib.metadata.entry_points(group="glia.tasks")]
    if folder:
        path = Path(folder).expanduser()
        if not path.is_dir():
            raise SettingError(f"Expected a folder of task files, received {folder!r}, which is none.")
        kinds += [kind for file in sorted(path.glob("*.py")) for kind in _tasks_of(_load(file))]
    tasks: dict[str, Task] = {}
    for kind in kinds:
        if kind.name in tasks:
            first = type(tasks[kind.name])
            raise Conflict(
                f"Two tasks are named {kind.name!r}: {first.__module__}.{first.__name__} and "
                f"{kind.__module__}.{kind.__name__}. Rename one."
            )
        tasks[kind.name] = kind()
    return tasks


def task_named(name: str, tasks: dict[str, Task]) -> Task:
    """One of `tasks`. Raises NotFound with the names that there are."""
    if name not in tasks:
        raise NotFound(f"No task is named {name!r}; there are {', '.join(sorted(tasks))}.")
    return tasks[name]
