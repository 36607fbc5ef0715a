"""The example on a card: brought along by a catalog entry and checked, or recorded at an import."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from glia.core.card import Card, Example
from glia.core.errors import ImportFailed
from glia.core.settings import Settings
from glia.data.image import Image
from glia.runtime.plan import Plan
from glia.runtime.service import Service
from glia.runtime.sessions import open_session
from glia.tasks.registry import find_tasks, task_named

SAMPLE = "mug.jpg"
"""The picture whose answer is recorded for networks that bring no example."""


def bring_example(card: Card, example: Example) -> tuple[Card, dict[str, bytes]]:
    """The card with its example's media beside it: `sample:NAME` becomes a file of the model."""
    media: dict[str, bytes] = {}
    fields: dict[str, Any] = {}
    for name, value in example.input.items():
        if isinstance(value, str) and value.startswith("sample:"):
            file = value.removeprefix("sample:")
            with as_file(files("glia.store") / "samples" / file) as path:
                media[f"example/{file}"] = path.read_bytes()
            value = f"example/{file}"
        fields[name] = value
    return card.model_copy(update={"example": example.model_copy(update={"input": fields})}), media


def check_example(card: Card, graphs: Mapping[str, Path], media: dict[str, bytes], settings: Settings) -> None:
    """Run the card's example. Raises ImportFailed where the answer is not the recorded one."""
    assert card.example is not None
    service = _service(card, graphs, settings)
    fields = {
        name: media.get(value, value) if isinstance(value, str) else value for name, value in card.example.input.items()
    }
    answer = service.contract.answer_json(service.predict(service.contract.request(fields)))
    if not is_close(answer, card.example.output, card.example.tolerance):
        raise ImportFailed(
            f"{card.name}: its example gives {str(answer)[:200]}, recorded is {str(card.example.output)[:200]}. "
            "The import is wrong for these bytes; nothing was stored."
        )


def is_close(found: Any, recorded: Any, tolerance: float) -> bool:
    """Whether an answer is the recorded one, numbers within `tolerance`."""
    if isinstance(recorded, bool) or recorded is None or isinstance(recorded, str):
        return bool(found == recorded)
    if isinstance(recorded, int | float):
        return isinstance(found, int | float) and abs(found - recorded) <= tolerance
    if isinstance(recorded, list):
        return (
            isinstance(found, list)
            and len(found) >= len(recorded)
            and all(is_close(a, b, tolerance) for a, b in zip(found, recorded, strict=False))
        )
    return isinstance(found, dict) and all(
        key in found and is_close(found[key], value, tolerance) for key, value in recorded.items()
    )


def _service(card: Card, graphs: Mapping[str, Path], settings: Settings) -> Service:
    task = task_named(card.task, find_tasks(settings["tasks_dir"]))
    return Service(task, card, {role: open_session(path, Plan()) for role, path in graphs.items()})


def record_example(
    card: Card, graphs: Mapping[str, Path], settings: Settings
) -> tuple[Example, dict[str, bytes]] | None:
    """What the network answers to a sample picture, to compare with later; None for tasks that take no picture alone.

    Raises InputError, ImportFailed where it cannot answer.
    """
    service = _service(card, graphs, settings)
    contract = service.contract
    kind = contract.subject_media
    if kind is None or not issubclass(Image, kind) or contract.is_many(contract.subject):
        return None
    data = (files("glia.store") / "samples" / SAMPLE).read_bytes()
    answer = contract.answer_json(service.predict(contract.request({contract.subject: data})))
    return Example(input={contract.subject: f"example/{SAMPLE}"}, output=answer), {f"example/{SAMPLE}": data}
