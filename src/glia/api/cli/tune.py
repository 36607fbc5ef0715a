"""`glia tune`: what runs a model fastest on this machine, and the table that it was chosen from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table

from glia.api.cli.options import screen, side, with_settings
from glia.core.errors import InputError
from glia.core.settings import Settings
from glia.jobs.tune import tune_on_arrival, tune_service
from glia.runtime.directory import Directory
from glia.runtime.machine import machine
from glia.runtime.plan import Measured, Plans, read_plans
from glia.runtime.tuning import Progress

T = TypeVar("T")


@click.command("tune")
@click.argument("name")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder or npz of your own inputs, 512 or more: int8 is calibrated on half of them and compared on the rest.",
)
@click.option("--show", is_flag=True, help="Measure nothing: show what was measured last.")
@click.option("--json", "as_json", is_flag=True, help="Print everything that was measured as JSON.")
@with_settings()
def tune_command(settings: Settings, name: str, data: Path | None, show: bool, as_json: bool) -> None:
    """Measure how a service or model is best run on this machine, and keep it.

    Runtimes, precisions, lanes, threads and batches are tried for some seconds; what answers differently than fp32 is
    out. Takes all cores: on a busy machine it measures that.
    """
    plans = measured(name, settings) if show else with_bar(lambda step: tune_service(name, settings, step, data))
    if as_json:
        click.echo(plans.model_dump_json(indent=1))
        return
    screen().print(plans_table(plans))
    for provider, verdict in {f"{one.plan.runtime} {one.plan.provider}": one.verdict for one in plans.measured}.items():
        screen().print(f"{provider}: {escape(verdict)}", style="dim", soft_wrap=True)
    best = plans.best(fp32=settings["precision"] == "fp32")
    side().print(f"{machine()['cpu']}, {machine()['cores']} cores: {best.plan.name if best else 'nothing passed'}")
    if not show:
        said = "A running server takes it up when the model is idle for some seconds, or loaded again."
        side().print(said, style="dim")


def arrive(name: str, settings: Settings) -> None:
    """Tune a model that was just stored, and say in one line what was chosen."""
    plans = with_bar(lambda progress: tune_on_arrival(name, settings, progress))
    best = plans.best(fp32=settings["precision"] == "fp32") if plans else None
    if best is not None and best.per_second is not None:
        side().print(f"tuned: {best.plan.name}, {best.per_second:.0f} a second (table: glia tune {name} --show)")


def measured(name: str, settings: Settings) -> Plans:
    """What was measured of a service or model on this machine. Raises InputError where nothing was."""
    plans = read_plans(settings.home, Directory(settings).resolve(name).card)
    if plans is None:
        raise InputError(f"{name} was never tuned on this machine, as it is now. Run: glia tune {name}")
    return plans


def with_bar(work: Callable[[Progress], T]) -> T:
    """Run with one bar on stderr."""
    bar = Bar(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=side(), transient=True)

    def progress(done: int, total: int, words: str) -> None:
        bar.update(row, completed=done, total=total, description=escape(f"tuning: {words}"))

    with bar:
        row = bar.add_task("tuning", total=None)
        return work(progress)


def plans_table(plans: Plans) -> Table:
    """What was measured, fastest first."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("runtime", "precision", "lanes", "threads", "batch", "a second", "alone", "guard"):
        table.add_column(column, no_wrap=True)
    best = plans.best()
    for one in plans.measured:
        table.add_row(*_row(one, one is best), style="bold green" if one is best else ("" if one.passed else "dim"))
    return table


def _row(one: Measured, chosen: bool) -> tuple[str, ...]:
    plan = one.plan
    speed = f"{one.per_second:.1f}" if one.per_second is not None else "-"
    alone = f"{one.latency_ms:.1f} ms" if one.latency_ms is not None else "-"
    shape = (str(plan.lanes), str(plan.threads), str(plan.batch) if plan.batch > 1 else "off")
    return (
        plan.runtime,
        plan.provider,
        *shape,
        speed,
        alone,
        "chosen" if chosen else "passed" if one.passed else "rejected",
    )
