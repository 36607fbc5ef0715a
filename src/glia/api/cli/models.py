"""`glia services | models | catalog | fetch | settings`."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from glia.api.cli.options import screen, side, with_settings
from glia.api.cli.tune import arrive
from glia.api.describe import summary
from glia.core.card import Card
from glia.core.errors import Conflict, GliaError, InputError
from glia.core.settings import TABLE, Settings
from glia.jobs import fetch as jobs
from glia.runtime.directory import Directory
from glia.runtime.plan import forget_plans
from glia.store import catalog
from glia.store.store import Store

T = TypeVar("T")

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=index == 0)
    return table


def fetch_with_bar(work: Callable[[jobs.Progress, Callable[[str], None]], T], console: Console) -> T:
    """Run a fetch with a bar per file and a line per remark, on stderr."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=console,
        transient=True,
    )
    rows: dict[str, Any] = {}

    def progress(done: int, total: int | None, what: str) -> None:
        if what not in rows:
            rows[what] = bar.add_task(escape(what), total=total)
        bar.update(rows[what], completed=done, total=total)

    with bar:
        return work(progress, lambda line: console.print(escape(line), soft_wrap=True))


@click.command("fetch")
@click.argument("names", nargs=-1)
@click.option("--service", help="Fetch the best network of this service.")
@click.option(
    "--starter", is_flag=True, help="Fetch the small network of a first start, if nothing answers its service."
)
@click.option("--no-tune", is_flag=True, help="Do not measure how this machine runs it best (some seconds).")
@with_settings()
def fetch_command(
    settings: Settings, names: tuple[str, ...], service: str | None, starter: bool, no_tune: bool
) -> None:
    """Fetch published networks by their catalog names, verify, import, store and tune them."""
    if starter:
        card = fetch_with_bar(partial(jobs.fetch_starter, settings), side())
        if card is not None and not no_tune:
            arrive(card.name, settings)
        return
    wanted = [*names, *([catalog.best_for(service, permissive=settings.permissive).name] if service else [])]
    if not wanted:
        raise InputError("Expected a name or --service. `glia catalog` lists what there is.")
    for name in wanted:
        card = fetch_with_bar(partial(jobs.fetch, name, settings), side())
        side().print(f"{card.id} is in the store{_part_of(card, settings)}")
        if not no_tune:
            arrive(name, settings)


def _part_of(card: Card, settings: Settings) -> str:
    """What a stored model does for its service."""
    if not card.service:
        return ""
    first = ", ".join(Directory(settings).resolve(card.service).models.values())
    if card.id in first.split(", "):
        return f", answers service {card.service}"
    return f"; {card.service} is answered by {first} (glia services bind {card.service} {card.name} changes that)"


@click.command("catalog")
@as_json
@with_settings()
def catalog_command(settings: Settings, as_json: bool) -> None:
    """List the networks that can be fetched."""
    entries = [e for e in catalog.catalog().values() if not settings.permissive or e.permissive]
    stored = {card.name for card in Store(settings.home).list()}
    if as_json:
        click.echo(json.dumps([e.model_dump(mode="json") | {"in_store": e.name in stored} for e in entries], indent=1))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", "name", "size", "licence", "score"):
        table.add_column(column, no_wrap=True, justify="right" if column == "size" else "left")
    for service in sorted({entry.service for entry in entries}, key=lambda name: (name is None, name)):
        table.add_row("", f"[bold]{service}[/bold]" if service else "[bold]no service of their own yet[/bold]")
        for entry in sorted((e for e in entries if e.service == service), key=lambda e: (-e.rank, e.name)):
            score = entry.scores[0] if entry.scores else None
            table.add_row(
                "✓" if entry.name in stored else "",
                entry.name,
                f"{entry.bytes / 1e6:.1f} MB",
                escape(entry.licence.weights),
                f"{score.value:.1%}" if score else "",
            )
    screen().print(table)
    side().print(
        "✓: in the store; score: the published one. Sources, metrics and the licences of data: --json", style="dim"
    )


@click.group("services", invoke_without_command=True)
@as_json
@with_settings()
def services_command(settings: Settings, as_json: bool) -> None:
    """Show each service with the model it is bound to; bind and unbind."""
    if click.get_current_context().invoked_subcommand is None:
        _list_services(settings, as_json)


def _list_services(settings: Settings, as_json: bool) -> None:
    directory = Directory(settings)
    rows = []
    for name in directory.names():
        try:
            rows.append(summary(directory.resolve(name), "idle"))
        except GliaError as error:
            rows.append({"name": name, **directory.known(name), "model": None, "message": error.message})
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    table = _table("service", "task", "model", "licence", "")
    bound = directory.bindings.all()
    for row in rows:
        models = ", ".join(row["models"].values()) if row["model"] else "none"
        licence = row["licence"]["weights"] if row.get("licence") else ""
        note = "bound" if row["name"] in bound else (row.get("message") or "")
        table.add_row(row["name"], row.get("task") or "", models, licence, note)
    screen().print(table)


@click.command("add")
@click.argument("service")
@click.argument("model", metavar="NAME[@VERSION]")
@with_settings()
def add_command(settings: Settings, service: str, model: str) -> None:
    """Put a model of the store up as a service of its own, under the name SERVICE."""
    directory = Directory(settings)
    if service in directory.names():
        raise Conflict(
            f"There is a service {service} already. To change its model: glia services bind {service} {model}"
        )
    _bind(directory, service, {"model": model})


@click.command("bind")
@click.argument("service")
@click.argument("models", nargs=-1, required=True, metavar="NAME[@VERSION] | ROLE=NAME[@VERSION]...")
@with_settings()
def bind_command(settings: Settings, service: str, models: tuple[str, ...]) -> None:
    """Bind SERVICE to a model, or each of its roles to one."""
    roles = {}
    for model in models:
        role, _, name = model.rpartition("=")
        roles[role or "model"] = name
    _bind(Directory(settings), service, roles)


def _bind(directory: Directory, service: str, roles: dict[str, str]) -> None:
    directory.check(service, roles)
    directory.bindings.set(service, roles)
    side().print(f"{service} is answered by {', '.join(directory.resolve(service).models.values())}")


@click.command("unbind")
@click.argument("service")
@with_settings()
def unbind_command(settings: Settings, service: str) -> None:
    """Let SERVICE be answered by the best model of its kind again."""
    Directory(settings).bindings.clear(service)


@click.group("models", invoke_without_command=True)
@as_json
@with_settings()
def models_command(settings: Settings, as_json: bool) -> None:
    """List the models in the store; show, default, roll back, delete."""
    if click.get_current_context().invoked_subcommand is None:
        _list_models(settings, as_json)


def _list_models(settings: Settings, as_json: bool) -> None:
    store = Store(settings.home)
    cards = store.list(every_version=True)
    if as_json:
        click.echo(
            json.dumps([card.model_dump(mode="json", exclude={"labels", "label_ids"}) for card in cards], indent=1)
        )
        return
    table = _table("model", "version", "task", "service", "licence", "size", "")
    for card in cards:
        size = sum(graph.bytes for graph in card.graphs.values())
        mark = "default" if store.default(card.name) == card.version else ""
        row = (card.name, str(card.version), card.task, card.service or "", card.licence.weights)
        table.add_row(*row, f"{size / 1e6:.1f} MB", mark)
    screen().print(table if cards else "The store is empty. `glia catalog` lists what can be fetched.")


@click.command("show")
@click.argument("model", metavar="NAME[@VERSION]")
@with_settings()
def show_command(settings: Settings, model: str) -> None:
    """Print a model's card as JSON."""
    click.echo(Store(settings.home).get(model).card.model_dump_json(indent=1))


@click.command("default")
@click.argument("model", metavar="NAME@VERSION")
@with_settings()
def default_command(settings: Settings, model: str) -> None:
    """Let NAME alone mean this version."""
    name, _, version = model.partition("@")
    if not version.isdigit():
        raise InputError(f"Expected NAME@VERSION, received {model!r}.")
    Store(settings.home).set_default(name, int(version))


@click.command("roll-back")
@click.argument("name")
@with_settings()
def roll_back_command(settings: Settings, name: str) -> None:
    """Make the default before today's the default again."""
    side().print(f"the default is {name}@{Store(settings.home).roll_back(name)}")


@click.command("delete")
@click.argument("model", metavar="NAME[@VERSION]")
@with_settings()
def delete_command(settings: Settings, model: str) -> None:
    """Remove a version from the store, and what tuning measured of it."""
    store = Store(settings.home)
    deleted = store.get(model, verify=False).card
    store.delete(deleted.id)
    forget_plans(settings.home, deleted, store.list(every_version=True))


@click.command("settings")
@as_json
@with_settings()
def settings_command(settings: Settings, as_json: bool) -> None:
    """Show every setting, its value, and where it came from."""
    rows = []
    for setting in TABLE:
        value = str(settings.home) if setting.name == "home" else settings[setting.name]
        if setting.name == "api_key" and value:
            value = "(set)"
        rows.append({"name": setting.name, "value": value, "from": settings.origin[setting.name], "help": setting.help})
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    table = _table("setting", "value", "from", "what it does")
    for row in rows:
        table.add_row(row["name"], escape(str(row["value"])), row["from"], escape(row["help"]))
    screen().print(table)
    side().print(f"Kept in {settings.file} as TOML; the environment's GLIA_* and flags go before.", style="dim")


services_command.add_command(add_command)
services_command.add_command(bind_command)
services_command.add_command(unbind_command)
for _command in (show_command, default_command, roll_back_command, delete_command):
    models_command.add_command(_command)
