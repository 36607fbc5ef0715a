"""Score a model on labelled examples, as it is served: through decode, preprocess, run and postprocess."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from glia.core.card import Card
from glia.core.errors import InputError
from glia.evaluate.examples import LabelledFile
from glia.evaluate.metrics import metric_named
from glia.runtime.machine import cores
from glia.runtime.service import Service


def wanted_label(target: Any, card: Card) -> str:
    """A target as one of the card's labels: given as their index, id or name. Raises InputError."""
    text = str(target)
    if isinstance(target, int) or (text.isdigit() and text not in card.labels):
        if 0 <= int(target) < len(card.labels):
            return card.labels[int(target)]
    elif text in card.labels:
        return text
    elif text in card.label_ids:
        return card.labels[card.label_ids.index(text)]
    else:
        plain = {label.casefold().replace("_", " "): label for label in card.labels}
        found = plain.get(text.casefold().replace("_", " "))
        if found is not None:
            return found
    raise InputError(
        f"Expected a label of {card.id} (its index, id or name), received {target!r}. Name another --target."
    )


def wanted(target: Any, card: Card) -> frozenset[str]:
    """Every label that counts as right: one, or any of several where the target is a list. Raises InputError."""
    return frozenset(wanted_label(each, card) for each in (target if isinstance(target, list) else [target]))


def evaluate(
    service: Service, examples: Sequence[LabelledFile], progress: Callable[[int], None] = lambda done: None
) -> dict[str, Any]:
    """`{"model", "version", "n", "metrics"}`; metrics are shares in [0, 1]. `progress` gets the number done.

    Raises InputError for a target that the model does not know, and GliaError for an example that cannot be read.
    """
    card, task, contract = service.card, service.task, service.contract
    if not task.metrics:
        raise InputError(f"Task {task.name} names no metrics, so {card.id} cannot be evaluated.")
    targets = [wanted(example.target, card) if card.labels else example.target for example in examples]

    def answer(example: LabelledFile) -> Any:
        request = contract.request({contract.subject: example.read(), **task.evaluation})
        return contract.answer_json(service.predict(request))

    answers = []
    with ThreadPoolExecutor(cores()) as lanes:
        for found in lanes.map(answer, examples):
            answers.append(found)
            progress(len(answers))
    metrics = {name: metric_named(name)(answers, targets) for name in task.metrics}
    return {"model": card.name, "version": card.version, "n": len(examples), "metrics": metrics}
