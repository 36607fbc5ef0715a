"""Which service is answered by which model: bindings, else the best in the store, else a word on what to do."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from glia.core.card import Card, Graph, Licence
from glia.core.errors import InputError, NoModel, NotFound
from glia.core.settings import Settings
from glia.core.task import Contract, Task
from glia.store import catalog
from glia.store.bindings import Bindings
from glia.store.store import Store
from glia.tasks.registry import find_tasks, task_named


@dataclass(frozen=True)
class Resolved:
    """A service's task with the models bound to its roles, and the card of the whole."""

    name: str
    task: Task
    card: Card
    models: Mapping[str, str]
    """Role to `name@version`; empty for a task without networks."""

    @cached_property
    def key(self) -> str:
        """What a replica that answers it holds."""
        held = ",".join(f"{role}={model}" for role, model in sorted(self.models.items()))
        return f"{self.task.name}[{held}]"

    @cached_property
    def contract(self) -> Contract:
        """The contract of this model."""
        return self.task.contract(self.card)


def compose(cards: Mapping[str, Card]) -> Card:
    """One card for several models: the first one's, with every role's graph; research-only if any of them is."""
    first = next(iter(cards.values()))
    if len(cards) == 1:
        return first
    graphs: dict[str, Graph] = {role: next(iter(card.graphs.values())) for role, card in cards.items()}
    strict = next((card.licence for card in cards.values() if card.licence.research_only), first.licence)
    return first.model_copy(
        update={
            "graphs": graphs,
            "licence": Licence(weights=strict.weights, data=strict.data),
            "made_from": {role: card.id for role, card in cards.items()},
            "example": None,
        }
    )


class Directory:
    """Services by name, resolved afresh at every call; nothing is kept, so that a fetch in another process is seen."""

    def __init__(self, settings: Settings) -> None:
        """Reads the task files; opens nothing else."""
        self.settings = settings
        self.store = Store(settings.home)
        self.bindings = Bindings(settings.home)
        self.tasks = find_tasks(settings["tasks_dir"])

    def stamp(self) -> object:
        """Differs whenever `resolve` may answer differently than before; cheap to ask for."""
        return (self.store.stamp(), self.bindings.stamp())

    def names(self) -> list[str]:
        """Every service: of the catalog, of the store, of the bindings, and tasks without networks."""
        names = {entry.service for entry in self._entries().values() if entry.service}
        names |= {card.service or card.name for card in self.store.list()}
        names |= set(self.bindings.all())
        names |= {task.name for task in self.tasks.values() if not task.roles}
        return sorted(names)

    def known(self, name: str) -> dict[str, str]:
        """Task and title of a service that no model answers yet, from the catalog."""
        for entry in self._entries().values():
            if entry.service == name and entry.task in self.tasks:
                task = self.tasks[entry.task]
                return {"task": task.name, "title": task.title, "description": task.description}
        return {}

    def resolve(self, ref: str) -> Resolved:
        """`NAME` or `NAME@VERSION`, a service's or a model's. Raises NoModel (what to fetch) or NotFound."""
        name, _, version = ref.partition("@")
        if version and not version.isdigit():
            raise InputError(f"Expected NAME@VERSION with a number, received {ref!r}.")
        bound = self.bindings.get(name)
        if bound:
            try:
                return self._bound(name, dict(bound), version)
            except NotFound as error:
                if version:  # it is the version asked for that is not there
                    raise
                raise NoModel(
                    f"Service {name} is bound to {', '.join(bound.values())}, which the store lacks: {error.message}. "
                    f"Bind another model, or let the best one answer: glia services unbind {name}"
                ) from error
        card = self._best(name)
        if card is not None:
            return self._bound(name, {"model": card.name}, version)
        if self._in_store(name):
            return self._bound(name, {"model": name}, version)
        task = self.tasks.get(name)
        if task is not None and not task.roles:
            return self.resolve_models(name, {})
        raise self._missing(name)

    def check(self, name: str, roles: Mapping[str, str]) -> None:
        """Whether a service can be bound to these models. Raises NotFound, NoModel, InputError (another task)."""
        resolved = self._bound(name, dict(roles), "")
        strange = [role for role in roles if role not in resolved.task.roles]
        if strange:
            raise InputError(
                f"{resolved.task.name} has no role {', '.join(strange)}; "
                f"its roles are {', '.join(resolved.task.roles)}."
            )
        expected = self.known(name).get("task")
        if expected is not None and expected != resolved.task.name:
            raise InputError(
                f"Service {name} asks for {expected}, but {', '.join(roles.values())} does {resolved.task.name}. "
                "Choose a model of its task: glia models"
            )

    def resolve_models(self, name: str, models: Mapping[str, str]) -> Resolved:
        """A service with exactly these models, `name@version` by role: what a replica is told to hold."""
        if models:
            return self._bound(name, dict(models), "")
        task = task_named(name, self.tasks)
        return Resolved(name, task, Card(name=name, task=task.name, title=task.title, service=name), {})

    def _bound(self, name: str, roles: dict[str, str], version: str) -> Resolved:
        if version:
            role, model = next(iter(roles.items()))
            roles[role] = f"{model.partition('@')[0]}@{version}"
        cards = {role: self.store.get(model, verify=False).card for role, model in roles.items()}
        for card in cards.values():
            if self.settings.permissive and card.licence.research_only:
                raise NoModel(
                    f"Service {name} is bound to {card.id}, whose licence is research-only, "
                    f"and GLIA_LICENCES=permissive leaves it out. Bind another model: glia services bind {name} NAME."
                )
        task = task_named(next(iter(cards.values())).task, self.tasks)
        absent = [] if len(cards) == 1 and len(task.roles) == 1 else [r for r in task.roles if r not in cards]
        if absent and len(cards) == 1:  # one model that holds every role's graph itself
            absent = [role for role in absent if role not in next(iter(cards.values())).graphs]
        if absent:
            raise NoModel(
                f"Service {name} lacks a model for {', '.join(absent)}: glia services bind {name} ROLE=MODEL ..."
            )
        return Resolved(name, task, compose(cards), {role: card.id for role, card in cards.items()})

    def _best(self, service: str) -> Card | None:
        fitting = [
            card
            for card in self.store.list()
            if card.service == service and not (self.settings.permissive and card.licence.research_only)
        ]
        return max(fitting, key=lambda card: (card.rank, card.name), default=None)

    def _in_store(self, name: str) -> bool:
        return any(card.name == name for card in self.store.list())

    def _entries(self) -> Mapping[str, catalog.Entry]:
        return catalog.catalog()

    def _missing(self, name: str) -> NoModel | NotFound:
        entries = catalog.entries_for(name, permissive=self.settings.permissive)
        if entries:
            # Not the best but the starter, where there is one: the first photo should be answered soon.
            first = next((entry for entry in entries if entry.starter), entries[0])
            return NoModel(f"Nothing in the store answers {name!r} yet. Run: glia fetch {first.name}", fetch=first.name)
        if name in self._entries():
            return NoModel(f"{name} is in the catalog, but not in the store. Run: glia fetch {name}", fetch=name)
        known = self.names()
        near = difflib.get_close_matches(name, known, 1)
        hint = f" Did you mean {near[0]!r}?" if near else f" There are: {', '.join(known)}." if known else ""
        return NotFound(f"No service is named {name!r}.{hint}")
