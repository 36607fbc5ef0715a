"""`glia predict` and `glia evaluate`: commands made from the contract of the model that answers."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.progress import track

from glia.api.cli.options import screen, side, with_settings
from glia.api.local import Local
from glia.api.subject import fields, files_in
from glia.core.errors import GliaError, InputError
from glia.core.fields import Media
from glia.core.settings import Settings
from glia.core.task import Contract
from glia.evaluate.evaluate import evaluate
from glia.evaluate.examples import read_examples
from glia.runtime.directory import Directory
from glia.runtime.machine import cores

STDIN = "-"


class PredictGroup(click.Group):
    """One subcommand a service, its options from the contract; made when asked for."""

    def __init__(self) -> None:
        super().__init__("predict", help="Ask a service from the shell; files and folders, one or many.")
        self.params = [
            # Eager: the list of services in `--help` depends on them.
            click.Option(["--tasks-dir"], is_eager=True, help="Folder with further task files (*.py)."),
            click.Option(["--home"], is_eager=True, help="Folder of the store."),
        ]

    def _directory(self, context: click.Context) -> Directory:
        return Directory(Settings({name: context.params.get(name) for name in ("tasks_dir", "home")}))

    def list_commands(self, context: click.Context) -> list[str]:
        """Every service."""
        return self._directory(context).names()

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command of a service."""
        directory = self._directory(context)
        try:
            resolved = directory.resolve(name)
        except GliaError as error:
            if name not in directory.names():
                raise
            # It is a service, but nothing answers it: say so whatever else was given, and in the list of commands.
            return click.Command(
                name,
                params=[click.Argument(["given"], nargs=-1, type=click.UNPROCESSED)],
                context_settings={"ignore_unknown_options": True},
                help=error.message,
                callback=_raise(error),
            )
        return command_of(name, resolved.task.description, resolved.contract, directory.settings)


def _raise(error: GliaError) -> Any:
    def callback(given: tuple[str, ...]) -> None:
        raise error

    return callback


def command_of(name: str, text: str, contract: Contract, settings: Settings) -> click.Command:
    """The command of one contract: its subject as argument, its parameters as options."""
    subject = contract.subject
    kind = contract.subject_media
    metavar = f"{(kind.kind if kind else subject).upper()}..."
    options: list[click.Parameter] = [click.Argument(["subjects"], nargs=-1, required=True, metavar=metavar)]
    for field, info in contract.input.model_fields.items():
        if field == subject:
            continue
        words = info.description or ""
        if not info.is_required() and info.default is not None:
            words += f" [default: {info.default}]"
        options.append(
            click.Option(
                ["--" + field.replace("_", "-"), field],
                required=info.is_required(),
                multiple=contract.is_many(field),
                default=None,
                help=words,
            )
        )
    options += [
        click.Option(["--json", "as_json"], is_flag=True, help="Print JSON; one line a file when there are several."),
        click.Option(["--csv", "as_csv"], is_flag=True, help="Print CSV; one line a file and result."),
        click.Option(["--output", "-o"], help="Where to write a picture or sound; a folder for several."),
    ]

    def callback(subjects: tuple[str, ...], as_json: bool, as_csv: bool, output: str | None, **given: Any) -> int:
        parameters = {field: value for field, value in given.items() if value not in (None, ())}
        job = _Prediction(settings, name, contract, parameters)
        return job.run(subjects, as_json, as_csv, output)

    return click.Command(name, params=options, callback=callback, help=text)


class _Prediction:
    """One call of `glia predict`."""

    def __init__(self, settings: Settings, name: str, contract: Contract, parameters: dict[str, Any]) -> None:
        self.settings, self.name, self.contract, self.parameters = settings, name, contract, parameters
        self.local = Local(settings)

    def subjects(self, given: tuple[str, ...]) -> list[tuple[str, Any]]:
        """What to ask about, each with the name it is reported under."""
        if given == (STDIN,):
            data = sys.stdin.buffer.read()
            value: Any = data if self.contract.subject_media else _plain(data.decode(errors="replace"), self.contract)
            return [("stdin", [value] if self.contract.is_many(self.contract.subject) else value)]
        if self.contract.subject_media is None:
            return [(" ".join(given), _plain(" ".join(given), self.contract))]
        files = list(files_in(given))
        if self.contract.is_many(self.contract.subject):
            return [(", ".join(map(str, files)), files)]
        return [(str(file), file) for file in files]

    def ask(self, subject: Any) -> Any:
        """The answer, or the error that came instead."""
        try:
            service = self.local.service(self.name)
            request = service.contract.request(fields(service.contract, subject, self.parameters))
            answer = service.predict(request)
            return answer if isinstance(answer, Media) else service.contract.answer_json(answer)
        except InputError as error:
            return error

    def run(self, given: tuple[str, ...], as_json: bool, as_csv: bool, output: str | None) -> int:
        """Ask about each subject and print; the exit status."""
        rows = self.subjects(given)
        if not rows:
            raise InputError(f"Found no files in {', '.join(given)}.")
        if len(rows) == 1:
            answer = self.ask(rows[0][1])
            if isinstance(answer, GliaError):
                raise answer
            self.show(rows[0][0], answer, as_json, as_csv, output, alone=True)
            return 0
        failed = 0
        for name, answer in self.answers(rows):
            failed += isinstance(answer, GliaError)
            self.show(name, answer, as_json, as_csv, output, alone=False)
        if failed:
            side().print(f"{failed} of {len(rows)} could not be answered")
        return 1 if failed else 0

    def answers(self, rows: list[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
        """Every subject's answer in order, worked on by all cores, with a bar."""
        self.local = Local(self.settings, many=True)
        with ThreadPoolExecutor(cores(), initializer=step_back) as lanes:
            lanes.submit(self.local.service, self.name).result()  # there: a runtime's own threads inherit the priority
            answers = lanes.map(self.ask, [subject for _, subject in rows])
            shown: Iterable[Any] = track(answers, self.name, len(rows), console=side(), transient=True)
            yield from zip((name for name, _ in rows), shown, strict=True)

    def show(self, name: str, answer: Any, as_json: bool, as_csv: bool, output: str | None, alone: bool) -> None:
        """Print one answer, or write its medium."""
        if isinstance(answer, Media):
            answer = _write(answer, name, output, alone)
            if answer is None:
                return
        problem = answer.problem() if isinstance(answer, GliaError) else None
        if as_csv:
            _csv(name, {"error": answer.message} if isinstance(answer, GliaError) else answer)
        elif as_json and alone:
            click.echo(json.dumps(answer, indent=1, ensure_ascii=False))
        elif as_json:
            row = {
                "file": name,
                **({"error": problem["detail"], "code": problem["code"]} if problem else {"answer": answer}),
            }
            click.echo(json.dumps(row, ensure_ascii=False))
        elif isinstance(answer, GliaError):
            side().print(f"{escape(name)}: {escape(answer.message)}", style="red", soft_wrap=True)
        else:
            if not alone:
                screen().print(f"[bold]{escape(name)}[/bold]", soft_wrap=True)
            _print(answer)


def step_back() -> None:
    """Let this thread use the cores that others leave: work over a folder must not slow a server beside it."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


def _plain(text: str, contract: Contract) -> Any:
    schema = contract.input_schema["properties"][contract.subject]
    try:
        return text if schema.get("type") == "string" else json.loads(text)
    except ValueError as error:
        raise InputError(f"Expected {contract.subject} as JSON, received {text[:80]!r}.") from error


def _write(medium: Media, name: str, output: str | None, alone: bool) -> str | None:
    """Put a medium where the caller wants it; the path, or None for standard output. Raises InputError."""
    if output == STDIN or (output is None and alone and not sys.stdout.isatty()):
        sys.stdout.buffer.write(medium.data)
        sys.stdout.buffer.flush()
        return None
    suffix = "." + medium.content_type.rpartition("/")[2]
    stem = Path(name).stem if name != "stdin" else "answer"
    target = Path(output) if output else Path(f"{stem}-answer{suffix}")
    try:
        if output and (not alone or target.is_dir()):
            target.mkdir(parents=True, exist_ok=True)
            target = target / f"{stem}{suffix}"
        target.write_bytes(medium.data)
    except OSError as error:
        raise InputError(f"Cannot write {target}: {error.strerror}. Choose another --output.") from error
    return str(target)


def _csv(name: str, answer: Any) -> None:
    """A row per result: the file, then the values of a flat object; anything nested is JSON."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    for item in answer if isinstance(answer, list) else [answer]:
        values = item.values() if isinstance(item, dict) else [item]
        writer.writerow([name, *(json.dumps(v) if isinstance(v, dict | list) else v for v in values)])


def _print(answer: Any) -> None:
    """Scores as bars, anything else as it reads best."""
    if (
        isinstance(answer, list)
        and answer
        and all(isinstance(a, dict) and set(a) == {"label", "score"} for a in answer)
    ):
        width = max(len(row["label"]) for row in answer)
        for row in answer:
            bar = "█" * round(row["score"] * 30)
            screen().print(f"{escape(row['label']):<{width}}  {row['score']:7.2%}  [cyan]{bar}[/cyan]", soft_wrap=True)
    elif isinstance(answer, str):
        click.echo(answer)
    else:
        click.echo(json.dumps(answer, indent=1, ensure_ascii=False))


predict_command = PredictGroup()


@click.command("evaluate")
@click.argument("name")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--target", help="The column that says what is right.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@with_settings()
def evaluate_command(settings: Settings, name: str, data: Path, target: str | None, as_json: bool) -> None:
    """Score a service or a model on labelled data, as it is served.

    DATA: an npz of encoded files, a folder per class, or a manifest (csv, tsv, json, jsonl).
    Metrics are shares, 0 to 1.
    """
    service = Local(settings, many=True).service(name)
    examples = read_examples(data, target)
    from rich.progress import Progress

    with Progress(console=side(), transient=True) as bar:
        row = bar.add_task(f"evaluating {service.card.id}", total=len(examples))
        result = evaluate(service, examples, lambda done: bar.update(row, completed=done))
    if as_json:
        click.echo(json.dumps(result))
        return
    screen().print(f"[bold]{service.card.id}[/bold] on {result['n']} examples")
    for metric, value in result["metrics"].items():
        published = [f"{s.value:.1%} on {s.data}" for s in service.card.scores if s.metric == metric]
        beside = f"   published: {'; '.join(published)}" if published else ""
        screen().print(f"  {metric:<6} {value:.1%}{beside}")
