"""Which model answers a service, and what is said when none does."""

from __future__ import annotations

from pathlib import Path

import pytest

from glia.core.card import Card, Licence
from glia.core.errors import InputError, NoModel, NotFound
from glia.core.settings import Settings
from glia.runtime.directory import Directory
from glia.store.store import Store
from house import EXTRA_TASKS, colour_card, colour_network, sum_card, sum_network

RESEARCH = Licence(weights="research-only")


@pytest.fixture
def directory(settings: Settings) -> Directory:
    return Directory(settings)


@pytest.fixture
def permissive(home: Path) -> Directory:
    return Directory(Settings({"tasks_dir": str(EXTRA_TASKS), "licences": "permissive"}))


def put_colours(home: Path, name: str, **changes: object) -> Card:
    return Store(home).put(colour_card(name, **changes), {"graph.onnx": colour_network()})


def put_sum(home: Path, name: str, task: str = "column-sum", **changes: object) -> Card:
    return Store(home).put(sum_card(name, task, **changes), {"graph.onnx": sum_network()})


def test_an_unbound_service_is_answered_by_the_best_of_the_store(home: Path, directory: Directory) -> None:
    put_colours(home, "plain", rank=1)
    put_colours(home, "better", rank=5)
    put_colours(home, "worse", rank=2)
    assert directory.resolve("objects").models == {"model": "better@1"}


def test_a_bound_service_is_answered_by_its_model_whatever_the_ranks(home: Path, directory: Directory) -> None:
    put_colours(home, "plain", rank=1)
    put_colours(home, "better", rank=5)
    directory.bindings.set("objects", {"model": "plain"})
    assert directory.resolve("objects").models == {"model": "plain@1"}
    directory.bindings.clear("objects")
    assert directory.resolve("objects").models == {"model": "better@1"}


def test_a_bound_version_stays_and_a_bound_name_follows_its_default(home: Path, directory: Directory) -> None:
    put_colours(home, "net", title="first")
    directory.bindings.set("objects", {"model": "net@1"})
    directory.bindings.set("newest", {"model": "net"})
    put_colours(home, "net", title="second")
    assert directory.resolve("objects").card.title == "first"
    assert directory.resolve("newest").card.title == "second"


def test_a_request_may_pin_a_version_of_a_service_or_of_a_model(home: Path, directory: Directory) -> None:
    put_colours(home, "net", title="first")
    put_colours(home, "net", title="second")
    assert directory.resolve("objects").card.version == 2
    assert directory.resolve("objects@1").card.title == "first"
    assert directory.resolve("net@1").models == {"model": "net@1"}
    with pytest.raises(NotFound):
        directory.resolve("objects@3")
    for ref in ("objects@latest", "objects@-1", "objects@1@2"):
        with pytest.raises(InputError, match="Expected NAME@VERSION with a number"):
            directory.resolve(ref)


def test_a_model_of_no_service_is_a_service_of_its_own_name(home: Path, directory: Directory) -> None:
    put_sum(home, "sums")
    assert directory.resolve("sums").task.name == "column-sum"
    assert {"sums", "counting", "objects"} <= set(directory.names())
    assert "column-sum" not in directory.names()  # a task that needs a network is no service yet


def test_a_task_without_networks_needs_no_model(directory: Directory) -> None:
    resolved = directory.resolve("counting")
    assert (resolved.models, resolved.key) == ({}, "counting[]")
    assert resolved.contract.subject == "upto"


def test_research_only_models_are_passed_over_under_permissive(home: Path, permissive: Directory) -> None:
    put_colours(home, "best", rank=9, licence=RESEARCH)
    with pytest.raises(NoModel):
        permissive.resolve("objects")
    put_colours(home, "free", rank=1)
    assert permissive.resolve("objects").models == {"model": "free@1"}
    for ref in ("best", "best@1"):
        with pytest.raises(NoModel, match="research-only"):
            permissive.resolve(ref)
    permissive.bindings.set("objects", {"model": "best"})
    with pytest.raises(NoModel, match=r"best@1, whose licence is research-only.*glia services bind objects NAME"):
        permissive.resolve("objects")


def test_roles_bound_to_several_models_make_one_card_with_the_strictest_licence(
    home: Path, directory: Directory, permissive: Directory
) -> None:
    put_sum(home, "free", "two-networks", title="Free")
    put_sum(home, "strict", "two-networks", licence=Licence(weights="MIT", data="research-only"))
    directory.bindings.set("pair", {"first": "free", "second": "strict@1"})
    resolved = directory.resolve("pair")
    assert resolved.models == {"first": "free@1", "second": "strict@1"}
    assert resolved.key == "two-networks[first=free@1,second=strict@1]"
    assert sorted(resolved.card.graphs) == ["first", "second"]
    assert resolved.card.licence.research_only
    assert resolved.card.made_from == {"first": "free@1", "second": "strict@1"}
    again = directory.resolve_models("pair", resolved.models)
    assert (again.key, again.card) == (resolved.key, resolved.card)
    with pytest.raises(NoModel, match="research-only"):
        permissive.resolve("pair")


def test_one_model_may_hold_the_graphs_of_every_role(home: Path, directory: Directory) -> None:
    graph = sum_card("x").graph()
    card = put_both(home, {"first": "first.onnx", "second": "second.onnx"}, graph)
    assert directory.resolve("whole").card == card


def put_both(home: Path, files: dict[str, str], graph: object) -> Card:
    graphs = {role: graph.model_copy(update={"file": file}) for role, file in files.items()}  # type: ignore[attr-defined]
    card = sum_card("whole", "two-networks", graphs=graphs)
    return Store(home).put(card, dict.fromkeys(files.values(), sum_network()))


def test_a_role_without_a_model_is_named(home: Path, directory: Directory) -> None:
    put_sum(home, "half", "two-networks")
    directory.bindings.set("pair", {"first": "half"})
    with pytest.raises(NoModel, match=r"lacks a model for second: glia services bind pair ROLE=MODEL"):
        directory.resolve("pair")


def test_binding_to_what_is_not_there_or_does_something_else_is_refused(home: Path, directory: Directory) -> None:
    put_sum(home, "sums")
    put_colours(home, "colours")
    directory.check("objects", {"model": "colours"})
    with pytest.raises(NotFound):
        directory.check("objects", {"model": "absent"})
    with pytest.raises(InputError, match="asks for image-classification, but sums does column-sum"):
        directory.check("objects", {"model": "sums"})


def test_a_service_without_a_model_names_the_command_that_brings_one(directory: Directory) -> None:
    with pytest.raises(NoModel) as error:
        directory.resolve("objects")
    assert error.value.message.endswith("Run: glia fetch imagenet-efficientnet-lite0")
    assert error.value.details == {"fetch": "imagenet-efficientnet-lite0"}
    with pytest.raises(NoModel, match="Run: glia fetch imagenet-squeezenet-fp16-onnx"):
        directory.resolve("imagenet-squeezenet-fp16-onnx")
    assert directory.known("objects")["task"] == "image-classification"


def test_an_unknown_name_is_answered_with_the_nearest(home: Path, directory: Directory) -> None:
    put_sum(home, "sums")
    with pytest.raises(NotFound, match="Did you mean 'objects'"):
        directory.resolve("object")
    with pytest.raises(NotFound, match=r"There are: .*counting.*sums"):
        directory.resolve("zzzzzz")


def test_what_another_process_puts_or_binds_is_seen_at_once(home: Path, directory: Directory) -> None:
    with pytest.raises(NoModel):
        directory.resolve("objects")
    put_colours(home, "net")
    assert directory.resolve("objects").models == {"model": "net@1"}
    Directory(directory.settings).bindings.set("mine", {"model": "net"})
    assert directory.resolve("mine").models == {"model": "net@1"}


def test_a_binding_to_a_deleted_model_says_how_to_get_out(home: Path, settings: Settings, colours: Card) -> None:
    directory = Directory(settings)
    directory.bindings.set("objects", {"model": "colours"})
    directory.store.delete("colours")
    with pytest.raises(NoModel, match="glia services unbind objects"):
        directory.resolve("objects")


def test_a_role_that_the_task_lacks_cannot_be_bound(settings: Settings, colours: Card) -> None:
    with pytest.raises(InputError, match="has no role foo; its roles are model"):
        Directory(settings).check("objects", {"foo": "colours"})
