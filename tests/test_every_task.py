"""What must hold for every task there is, made from the registry: a new task file brings no test code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from glia.api.cli import cli
from glia.api.describe import describe
from glia.api.http.openapi import openapi
from glia.core.card import Card
from glia.core.errors import InputError
from glia.core.settings import Settings
from glia.evaluate.metrics import metric_named
from glia.runtime.directory import Directory, Resolved
from glia.runtime.service import Service, load
from glia.store.store import Store
from glia.tasks.registry import find_tasks
from house import EXTRA_TASKS, colour_card, colour_network, picture, sum_card, sum_network

TASKS = find_tasks(EXTRA_TASKS)

CARDS = {
    "image-classification": (colour_card("model-of-it"), colour_network()),
    "column-sum": (sum_card("model-of-it"), sum_network()),
    "tensor-inference": (sum_card("model-of-it", "tensor-inference"), sum_network()),
    "two-networks": (
        sum_card("model-of-it", "two-networks", graphs={r: sum_card("x").graph() for r in ("first", "second")}),
        sum_network(),
    ),
}
"""A small model for each task that needs networks."""


@pytest.fixture
def resolved(request: pytest.FixtureRequest, settings: Settings, home: Path) -> Resolved:
    task = TASKS[request.param]
    if task.roles:
        card, graph = CARDS[task.name]
        Store(home).put(card.model_copy(update={"service": "it"}), {"graph.onnx": graph})
        return Directory(settings).resolve("it")
    return Directory(settings).resolve(task.name)


every_task = pytest.mark.parametrize("resolved", sorted(TASKS), indirect=True)


def value_for(schema: dict[str, Any], definitions: dict[str, Any], seed: int) -> Any:
    """Some value that fits a JSON Schema."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    if "x-media" in schema:
        return picture((seed * 40 % 256, 90, 200 - seed * 30), (24 + seed, 24))
    kind = schema.get("type")
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return {"row": [[seed, 2.0]]}
    if kind == "object":
        return {name: value_for(inner, definitions, seed) for name, inner in schema.get("properties", {}).items()}
    if kind == "array":
        return [value_for(schema["items"], definitions, seed + i) for i in range(schema.get("minItems", 1))]
    return {"string": "say:hello", "integer": 3 + seed, "number": 1.5 * seed, "boolean": True}[kind]


def subject_for(service: Service, seed: int) -> dict[str, Any]:
    contract = service.contract
    schema = contract.input_schema
    return {contract.subject: value_for(schema["properties"][contract.subject], schema.get("$defs", {}), seed)}


@every_task
def test_the_docstring_s_first_line_says_what_the_task_does(resolved: Resolved) -> None:
    assert 10 < len(resolved.task.title) < 90


@every_task
def test_every_field_is_described(resolved: Resolved) -> None:
    for name, schema in resolved.contract.input_schema["properties"].items():
        assert schema.get("description"), name


@every_task
def test_unknown_fields_are_refused_by_name(resolved: Resolved, settings: Settings) -> None:
    with pytest.raises(InputError, match="surprise: unknown"):
        resolved.contract.request({"surprise": 1})


@every_task
def test_a_batch_equals_single_calls(resolved: Resolved, settings: Settings, home: Path) -> None:
    service = load(resolved, Store(home))
    requests = [service.contract.request(subject_for(service, seed)) for seed in range(3)]
    together = [service.contract.answer_json(answer) for answer in service.predict_batch(requests)]
    alone = [service.contract.answer_json(service.predict(request)) for request in requests]
    assert together == alone


@every_task
def test_the_answer_fits_the_output_schema_and_is_json(resolved: Resolved, home: Path) -> None:
    service = load(resolved, Store(home))
    answer = service.contract.answer_json(service.predict(service.contract.request(subject_for(service, 1))))
    assert json.loads(json.dumps(answer)) == answer


@every_task
def test_the_http_door_describes_it(resolved: Resolved) -> None:
    described = describe(resolved, "idle")
    assert json.loads(json.dumps(described))["subject"]["field"] == resolved.contract.subject
    document = openapi([resolved])
    assert f"/v1/services/{resolved.name}" in document["paths"]
    assert "#/$defs/" not in json.dumps(document)


@every_task
def test_the_shell_has_a_command_with_an_option_for_each_parameter(resolved: Resolved) -> None:
    result = CliRunner().invoke(cli, ["predict", "--tasks-dir", str(EXTRA_TASKS), resolved.name, "--help"])
    assert result.exit_code == 0, result.output
    for name in resolved.contract.input.model_fields:
        if name != resolved.contract.subject:
            assert "--" + name.replace("_", "-") in result.output


@pytest.mark.parametrize("name", sorted(find_tasks()))
def test_the_metrics_of_a_task_exist(name: str) -> None:
    for metric in TASKS[name].metrics:
        assert metric_named(metric)([[{"label": "a", "score": 1.0}]], [{"a"}]) == 1.0


def test_a_name_met_twice_is_an_error(tmp_path: Path) -> None:
    text = (EXTRA_TASKS / "seams.py").read_text()
    for name in ("one.py", "two.py"):
        (tmp_path / name).write_text(text)
    with pytest.raises(Exception, match="Two tasks are named"):
        find_tasks(tmp_path)


def test_no_door_names_a_task() -> None:
    api = Path(__file__).parent.parent / "src" / "glia" / "api"
    for path in api.rglob("*"):
        if path.suffix in (".py", ".js", ".html"):
            for name in find_tasks():
                assert name not in path.read_text(), f"{path.name} names {name}"


def test_a_card_without_networks_is_made_for_a_task_that_needs_none(settings: Settings) -> None:
    assert isinstance(Directory(settings).resolve("counting").card, Card)
