"""The shell door, run as the shell runs it."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest

from glia.core.card import Card, Licence
from glia.core.settings import Settings
from glia.runtime.plan import plan_for
from glia.store.bindings import Bindings
from glia.store.store import Store
from house import EXTRA_TASKS, Server, colour_card, colour_network, picture, sum_card, sum_network

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
TASKS = ("--tasks-dir", str(EXTRA_TASKS))

Shell = Callable[..., Any]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three pictures, one in a folder below, below a hidden folder; and a hidden file beside them."""
    folder = tmp_path / ".hidden" / "photos"
    (folder / "more").mkdir(parents=True)
    for name, colour in COLOURS.items():
        place = folder / "more" if name == "blue" else folder
        (place / f"{name}.png").write_bytes(picture(colour))
    (folder / ".DS_Store").write_bytes(b"nothing")
    return folder


@pytest.fixture
def ask(colours: Card, shell: Shell) -> Shell:
    return lambda *arguments: shell("predict", *TASKS, *arguments)


def test_one_file_is_answered_with_bars(ask: Shell, photos: Path) -> None:
    run = ask("objects", str(photos / "red.png"))
    assert (run.status, run.err) == (0, "")
    lines = run.out.splitlines()
    assert [line.split()[0] for line in lines] == ["red", "green", "blue"]
    assert "99.99%" in lines[0]
    assert lines[0].count("█") == 30


def test_parameters_are_options_and_json_is_the_answer(ask: Shell, photos: Path) -> None:
    run = ask("objects", str(photos / "green.png"), "--top-k", "2", "--json")
    answer = json.loads(run.out)
    assert answer[0]["label"] == "green"
    assert len(answer) == 2


def test_folders_and_files_are_lines_of_json(ask: Shell, photos: Path) -> None:
    run = ask("objects", str(photos), str(photos / "red.png"), "--json", "--top-k", "1")
    assert run.status == 0, run.err
    rows = [json.loads(line) for line in run.out.splitlines()]
    found = [(Path(row["file"]).name, row["answer"][0]["label"]) for row in rows]
    assert found == [("green.png", "green"), ("blue.png", "blue"), ("red.png", "red"), ("red.png", "red")]


def test_csv_has_a_row_for_each_result(ask: Shell, photos: Path) -> None:
    run = ask("objects", str(photos), "--csv", "--top-k", "2")
    rows = list(csv.reader(io.StringIO(run.out)))
    assert len(rows) == 6
    assert [row[1] for row in rows[::2]] == ["green", "blue", "red"]
    assert 0.9 < float(rows[0][2]) <= 1


def test_a_wrong_file_among_good_ones_is_told_and_the_rest_answered(ask: Shell, photos: Path) -> None:
    (photos / "notes.png").write_text("no picture")
    (photos / "manifest.json").write_text("{}")  # no picture by its name: left out of a folder
    run = ask("objects", str(photos), "--json")
    rows = {Path(row["file"]).name: row for row in map(json.loads, run.out.splitlines())}
    assert rows["notes.png"]["code"] == "unsupported-media"
    assert rows["notes.png"]["error"].startswith("Expected")
    assert rows["red.png"]["answer"][0]["label"] == "red"
    assert "1 of 4 could not be answered" in run.err
    assert run.status == 1
    run = ask("objects", str(photos))
    assert "notes.png: Expected" in run.err
    assert run.out.count("█" * 30) == 3
    row = next(row for row in csv.reader(io.StringIO(ask("objects", str(photos), "--csv").out)) if "notes" in row[0])
    assert row[1].startswith("Expected")


def test_a_long_name_is_not_broken_into_lines(ask: Shell, photos: Path) -> None:
    long = photos / ("n" * 120 + ".png")
    long.write_bytes(picture())
    run = ask("objects", str(long), str(photos / "red.png"))
    assert str(long) in run.out.splitlines()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["objects", "missing.png"], "glia: There is no file or folder missing.png."),
        (["objects", "https://example.com/a.jpg"], "There is no file or folder https://example.com/a.jpg"),
        (["object", "a.png"], "glia: No service is named 'object'. Did you mean 'objects'?"),
        (["objects"], "Missing argument"),
        (["objects", "a.png", "--topk", "3"], "No such option"),
        (["counting", "many"], "Expected upto as JSON, received 'many'."),
        (["counting", "-5"], "No such option"),
        (["objects@7", "a.png"], "7"),
    ],
)
def test_what_cannot_be_asked_is_said_in_a_line(ask: Shell, arguments: list[str], words: str) -> None:
    run = ask(*arguments)
    assert run.status in (1, 2)
    assert words in run.err
    assert run.out == ""
    assert "Traceback" not in run.err


def test_an_empty_folder_is_said(ask: Shell, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "Found no files" in ask("objects", str(tmp_path / "empty")).err


def test_a_parameter_out_of_range_is_said(ask: Shell, photos: Path) -> None:
    run = ask("objects", str(photos / "red.png"), "--top-k", "0")
    assert run.status == 1
    assert run.err.startswith("glia: top_k: ")


def test_an_empty_store_says_what_to_fetch_whatever_else_is_asked(shell: Shell, photos: Path) -> None:
    for arguments in (["objects"], ["objects", str(photos)], ["objects", str(photos), "--top-k", "3", "--json"]):
        run = shell("predict", *arguments)
        assert run.status == 1
        assert re.fullmatch(
            r"glia: Nothing in the store answers 'objects' yet\. Run: glia fetch imagenet-\S+\n", run.err
        )


def test_the_help_lists_services_and_options(ask: Shell, home: Path) -> None:
    Bindings(home).set("broken", {"model": "gone"})
    listed = ask("--help")
    assert listed.status == 0, listed.err
    for name in ("objects", "broken", "counting"):
        assert name in listed.out
    one = ask("objects", "--help").out
    assert "Name what an image shows." in one
    assert "How many classes to return. [default: 5]" in re.sub(r"\s+", " ", one)


def test_standard_input_is_a_subject(ask: Shell, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stdin(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    stdin(picture(COLOURS["blue"]))
    assert json.loads(ask("objects", "-", "--json").out)[0]["label"] == "blue"
    stdin(b"say:hello")
    assert ask("trouble", "-").out == "hello\n"
    stdin(b"3\n")
    assert json.loads(ask("counting", "-").out) == [1, 2, 3]


def test_subjects_of_other_kinds(ask: Shell, sums: Card, photos: Path) -> None:
    assert ask("trouble", "say:a", "b").out == "a b\n"
    assert json.loads(ask("sums", '{"a": 1, "b": 2}').out) == 4
    two = ask("image-comparison", str(photos / "red.png"), str(photos / "green.png"))
    assert json.loads(two.out)["same"] is True
    assert float(ask("image-brightness", str(photos / "red.png"), "--floor", "0.3").out) == pytest.approx(1 / 3 - 0.3)


def test_a_picture_goes_to_a_file_a_folder_or_the_pipe(
    ask: Shell, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    red = str(photos / "red.png")
    run = ask("image-mirroring", red, "-o", str(tmp_path / "out.png"))
    assert run.out.strip() == str(tmp_path / "out.png")
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    run = ask("image-mirroring", str(photos), "--output", str(tmp_path / "all"), "--json")
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["blue.png", "green.png", "red.png"]
    assert json.loads(run.out.splitlines()[0])["answer"] == str(tmp_path / "all" / "green.png")
    run = ask("image-mirroring", red, "-o", str(tmp_path / "no" / "such" / "x.png"))
    assert run.status == 1
    assert "Choose another --output" in run.err


def test_a_picture_in_a_pipe_is_nothing_but_its_bytes(colours: Card, photos: Path) -> None:
    command = [sys.executable, "-m", "glia", "predict", *TASKS, "image-mirroring", str(photos / "red.png")]
    out = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    assert out.startswith(b"\x89PNG")
    assert out.endswith(b"IEND\xaeB`\x82")


@pytest.fixture
def labelled(tmp_path: Path) -> dict[str, Path]:
    """The same four examples as a folder per class, an npz and a manifest; one of the four is labelled wrong."""
    rows = [("red", "red"), ("green", "green"), ("blue", "blue"), ("red", "blue")]
    root = tmp_path / "data"
    files = []
    for index, (colour, label) in enumerate(rows):
        path = root / "classes" / label / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(COLOURS[colour]))
        files.append((path, label))
    data = [path.read_bytes() for path, _ in files]
    offsets = np.cumsum([0, *(len(item) for item in data)])
    labels = [list(COLOURS).index(label) for _, label in files]
    np.savez(root / "images.npz", data=np.frombuffer(b"".join(data), np.uint8), offsets=offsets, label=np.array(labels))
    lines = ["file,what"] + [f"{path.relative_to(root)},{label}" for path, label in files]
    (root / "list.csv").write_text("\n".join(lines))
    return {"folder": root / "classes", "npz": root / "images.npz", "manifest": root / "list.csv"}


@pytest.mark.parametrize("form", ["folder", "npz", "manifest"])
@pytest.mark.parametrize("name", ["objects", "colours", "colours@1"])
def test_evaluate_prints_one_json_object(
    shell: Shell, colours: Card, labelled: dict[str, Path], form: str, name: str
) -> None:
    target = ["--target", "what"] if form == "manifest" else []
    run = shell("evaluate", name, str(labelled[form]), *target, "--json")
    assert run.status == 0, run.err
    assert json.loads(run.out) == {
        "model": "colours",
        "version": 1,
        "n": 4,
        "metrics": {"top1": 0.75, "top5": 1.0},
    }


def test_evaluate_prints_words_too_and_says_what_is_missing(
    shell: Shell, colours: Card, labelled: dict[str, Path], tmp_path: Path
) -> None:
    run = shell("evaluate", "objects", str(labelled["folder"]))
    assert "colours@1 on 4 examples" in run.out
    assert "top1   75.0%" in run.out
    for data, words in (
        (labelled["manifest"], "Name it with --target"),
        (tmp_path / "none", "there is nothing at"),
        (tmp_path, "label of colours@1"),
    ):
        run = shell("evaluate", "objects", str(data))
        assert run.status == 1
        assert words in run.err.replace("\n", " ")


def test_services_are_listed_bound_and_unbound(shell: Shell, colours: Card, sums: Card, home: Path) -> None:
    Store(home).put(colour_card("better", rank=9), {"graph.onnx": colour_network()})
    assert "better@1" in shell("services", *TASKS).out
    run = shell("services", "bind", "objects", "colours@1")
    assert (run.status, run.err) == (0, "objects is answered by colours@1\n")
    table = shell("services", *TASKS).out
    assert re.search(r"^objects .*colours@1 .*bound", table, re.MULTILINE)
    rows = {row["name"]: row for row in json.loads(shell("services", *TASKS, "--json").out)}
    assert (rows["objects"]["model"], rows["objects"]["version"]) == ("colours", 1)
    assert shell("services", "unbind", "objects").status == 0
    assert "better@1" in shell("services", *TASKS).out


@pytest.mark.parametrize(
    ("models", "words"),
    [
        (["sums"], "Service objects asks for image-classification, but sums does column-sum"),
        (["nothing"], "nothing"),
        (["colours@4"], "4"),
        (["first=colours", "second=nothing"], "nothing"),
        ([], "Missing argument"),
    ],
)
def test_a_service_is_not_bound_to_what_cannot_answer_it(
    shell: Shell, colours: Card, sums: Card, home: Path, models: list[str], words: str
) -> None:
    run = shell("services", *TASKS, "bind", "objects", *models)
    assert run.status in (1, 2)
    assert words in run.err
    assert Bindings(home).all() == {}


def test_roles_are_bound_by_name(shell: Shell, home: Path) -> None:
    for name in ("one", "two"):
        Store(home).put(sum_card(name, "two-networks"), {"graph.onnx": sum_network()})
    run = shell("services", "bind", *TASKS, "pair", "first=one", "second=two")
    assert (run.status, run.err) == (0, "pair is answered by one@1, two@1\n")
    assert json.loads(shell("predict", *TASKS, "pair", "5").out) == 7
    assert "lacks a model for second" in shell("services", "bind", *TASKS, "pair", "first=one").err


def test_the_store_of_the_outer_command_is_the_inner_one_s(shell: Shell, tmp_path: Path, colours: Card) -> None:
    other = tmp_path / "other"
    Store(other).put(colour_card("elsewhere"), {"graph.onnx": colour_network()})
    run = shell("services", "--home", str(other), "bind", "objects", "elsewhere")
    assert run.status == 0, run.err
    assert Bindings(other).all() == {"objects": {"model": "elsewhere"}}


def test_models_are_listed_shown_chosen_rolled_back_and_deleted(shell: Shell, colours: Card, home: Path) -> None:
    Store(home).put(colour_card(), {"graph.onnx": colour_network()})
    table = shell("models").out
    assert len(table.splitlines()) == 3
    assert re.search(r"^colours +2 .*default$", table, re.MULTILINE)
    assert [row["version"] for row in json.loads(shell("models", "--json").out)] == [1, 2]
    assert json.loads(shell("models", "show", "colours@1").out)["labels"] == ["red", "green", "blue"]
    assert shell("models", "default", "colours@1").status == 0
    assert Store(home).default("colours") == 1
    assert shell("models", "roll-back", "colours").err == "the default is colours@2\n"
    assert shell("models", "delete", "colours@2").status == 0
    assert Store(home).versions("colours") == (1,)
    assert "Expected NAME@VERSION" in shell("models", "default", "colours").err
    assert shell("models", "roll-back", "colours").status == 1
    for command in ("show", "delete"):
        run = shell("models", command, "nothing")
        assert run.status == 1
        assert "nothing" in run.err
    assert shell("models", "delete", "colours").status == 0
    assert "The store is empty." in shell("models").out


def test_the_catalog_is_a_table_whose_names_are_whole(shell: Shell) -> None:
    entries = json.loads(shell("catalog", "--json").out)
    table = shell("catalog").out
    assert max(len(line.rstrip()) for line in table.splitlines()) <= 100
    for entry in entries:
        assert re.search(
            rf"^ +{re.escape(entry['name'])} .*{re.escape(entry['licence']['weights'])}", table, re.MULTILINE
        )
        assert entry["in_store"] is False
        assert entry["licence"]["weights"]
        assert entry["files"][0]["sha256"]


def test_the_catalog_says_what_is_in_the_store(shell: Shell, home: Path) -> None:
    name = json.loads(shell("catalog", "--json").out)[0]["name"]
    Store(home).put(colour_card(name), {"graph.onnx": colour_network()})
    assert re.search(rf"^✓ +{re.escape(name)} ", shell("catalog").out, re.MULTILINE)
    assert json.loads(shell("catalog", "--json").out)[0]["in_store"] is True


def test_settings_hide_the_key_and_say_where_they_come_from(
    shell: Shell, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLIA_API_KEY", "topsecret")
    home.mkdir()
    (home / "settings.toml").write_text("port = 9000\n")
    for arguments in (["settings"], ["settings", "--json"]):
        run = shell(*arguments)
        assert run.status == 0
        assert "topsecret" not in run.out + run.err
    rows = {row["name"]: row for row in json.loads(shell("settings", "--json").out)}
    assert (rows["api_key"]["value"], rows["api_key"]["from"]) == ("(set)", "GLIA_API_KEY")
    assert (rows["port"]["value"], rows["port"]["from"]) == (9000, "file")
    assert (rows["home"]["value"], rows["home"]["from"]) == (str(home), "GLIA_HOME")
    assert all(row["help"] for row in rows.values())


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("GLIA_PORT", "http", "expected a whole number from 0, received 'http'"),
        ("GLIA_LANES", "-1", "expected a whole number from 0, received '-1'"),
        ("GLIA_LICENCES", "strict", "expected all or permissive, received 'strict'"),
        ("GLIA_LOG_LEVEL", "loud", "expected debug or info or warning or error"),
        ("GLIA_TASKS_DIR", "/no/such/folder", "Expected a folder of task files"),
    ],
)
def test_a_setting_that_cannot_be_is_said(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    monkeypatch.setenv(variable, value)
    run = shell("services")
    assert run.status == 1
    assert words in run.err


def test_a_file_of_settings_that_is_none_is_said(shell: Shell, home: Path) -> None:
    home.mkdir()
    for text, words in (("port = [", "Expected TOML"), ("prot = 1", "Unknown settings"), ('port = "x"', "(file)")):
        (home / "settings.toml").write_text(text)
        run = shell("services")
        assert run.status == 1
        assert words in run.err


def test_permissive_leaves_research_only_models_out(
    shell: Shell, home: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(home)
    store.put(
        colour_card("research", rank=9, licence=Licence(weights="MIT", data="research-only")),
        {"graph.onnx": colour_network()},
    )
    red = str(photos / "red.png")
    everything = len(json.loads(shell("catalog", "--json").out))
    assert json.loads(shell("predict", "objects", red, "--json").out)[0]["label"] == "red"
    monkeypatch.setenv("GLIA_LICENCES", "permissive")
    assert len(json.loads(shell("catalog", "--json").out)) <= everything
    run = shell("predict", "objects", red)
    assert run.status == 1
    assert "Nothing in the store answers 'objects'" in run.err
    assert "research-only" in shell("predict", "research", red).err
    store.put(colour_card(), {"graph.onnx": colour_network()})
    rows = {row["name"]: row for row in json.loads(shell("services", "--json").out)}
    assert rows["objects"]["model"] == "colours"


def test_fetch_asks_for_a_name_and_offers_the_nearest(shell: Shell) -> None:
    assert "Expected a name or --service" in shell("fetch").err
    run = shell("fetch", "imagenet-squeezenet")
    assert run.status == 1
    assert "imagenet-squeezenet-fp16-onnx" in run.err
    assert "objects" in shell("fetch", "--service", "nothing").err


def test_the_first_help_shows_three_commands_and_version_is_told(shell: Shell) -> None:
    shown = shell("--help")
    assert "glia predict objects photo.jpg" in shown.out
    assert re.fullmatch(r"glia, version \d+\.\d+\.\d+\n", shell("--version").out)
    wrong = shell("servce")
    assert wrong.status == 2
    assert "No such command" in wrong.err


def test_a_port_in_use_is_said_with_another_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "glia", "serve", "--port", str(port)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 1
    assert run.stdout == ""
    assert f"glia: Port {port} on 127.0.0.1 is in use by another program." in run.stderr
    assert f"glia serve --port {port + 1}" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("flags", [["--port", "99999"], ["--host", "203.0.113.9", "--port", "0"]])
def test_an_address_that_is_not_ours_is_said(shell: Shell, flags: list[str]) -> None:
    run = shell("serve", *flags)
    assert run.status == 1
    assert "Choose another --host or --port" in run.err


def test_serve_prints_one_line_and_answers(colours: Card, serve: Callable[..., Server]) -> None:
    server = serve("--root-path", "glia/", "--log-format", "json")
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", server.url)
    answer = httpx.post(f"{server.url}/v1/services/objects", content=picture())
    assert answer.json()[0]["label"] == "red"
    assert httpx.get(f"{server.url}/openapi.json").json()["servers"] == [{"url": "/glia"}]
    assert httpx.get(f"{server.url}/v1/services/image-brightness").status_code == 200
    assert server.stop() == 0
    assert server.process.stdout is not None
    assert server.process.stdout.read() == ""
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    line = next(line for line in lines if line["message"] == "POST /glia/v1/services/objects")
    assert (line["service"], line["status"], line["batch"]) == ("objects", 200, 1)
    assert "run_ms" in line


def test_a_pipe_that_closes_early_is_no_traceback(colours: Card, photos: Path) -> None:
    command = f"{sys.executable} -m glia predict objects {photos} {photos} --json | head -1"
    run = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60, env=os.environ, check=False)
    assert "Traceback" not in run.stderr
    assert "BrokenPipe" not in run.stderr


def test_tune_shows_the_table_it_chose_from_and_the_choice_is_served(
    shell: Callable[..., Run], colours: Card, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glia.runtime.tuning.SLICE_S", 0.02)
    for index in range(512):
        shade = (index % 256, index * 7 % 256, index * 31 % 256)
        (tmp_path / f"{index}.png").write_bytes(picture(shade, (8, 8)))
    assert "never tuned on this machine" in shell("tune", "objects", "--show").err
    run = shell("tune", "objects", "--data", str(tmp_path))
    assert run.status == 0, run.err
    assert shell("tune", "objects", "--show").out == run.out
    assert "onnxruntime  cpu-fp32" in run.out
    assert "the reference" in run.out
    measured = json.loads(shell("tune", "objects", "--data", str(tmp_path), "--json").out)["measured"]
    speeds = [one["per_second"] for one in measured if one["passed"]]
    assert speeds == sorted(speeds, reverse=True)
    plan = plan_for(colours, Settings())
    assert plan.model_dump() == measured[0]["plan"]
    Store(home).put(colour_card("twin"), {"graph.onnx": colour_network()})
    assert shell("models", "delete", "colours").status == 0
    assert list((home / "tuning").iterdir())  # its graph is another model's too
    assert shell("models", "delete", "twin").status == 0
    assert not list((home / "tuning").iterdir())


def test_tuning_without_anything_to_measure_with_says_what_to_give(
    shell: Callable[..., Run], colours: Card, tmp_path: Path
) -> None:
    run = shell("tune", "objects")
    assert run.status == 1
    assert "Give some input: glia tune objects --data" in run.err
    assert "Expected a folder of files, or an npz" in shell("tune", "objects", "--data", str(tmp_path / "none")).err
    folder = tmp_path / "few"
    folder.mkdir()
    (folder / "one.png").write_bytes(picture())
    (folder / "text.txt").write_text("no picture")
    few = shell("tune", "objects", "--data", str(folder))
    assert few.status == 1
    assert "Expected at least 512 inputs" in few.err
    assert "found 1 among 2 files" in few.err
    assert "runs no network" in shell("tune", "counting", *TASKS).err


def test_a_network_is_explained_imported_and_put_up_as_a_service(shell: Shell, tmp_path: Path, photos: Path) -> None:
    network, names = tmp_path / "net.onnx", tmp_path / "names.txt"
    network.write_bytes(colour_network())
    names.write_text("n00000001 red, scarlet\nn00000002 green\nn00000003 blue\n")
    explained = shell("import", str(network), "--explain")
    assert explained.status == 0, explained.err
    assert "onnx" in explained.out
    assert shell("models").out == "The store is empty. `glia catalog` lists what can be fetched.\n"
    asked = shell("import", str(network), "--name", "mine")
    assert "--labels FILE" in asked.err
    said = ("--labels", str(names), "--mean", "0", "--std", "255", "--colour", "rgb", "--no-tune")
    run = shell("import", str(network), "--name", "mine", *said)
    assert run.status == 0, run.err
    assert "mine@1 is in the store; ask it: glia predict mine FILE" in run.err
    assert shell("services", "add", "colour-names", "mine").err == "colour-names is answered by mine@1\n"
    assert json.loads(shell("predict", "colour-names", str(photos / "red.png"), "--json").out)[0]["label"] == "red"
    assert "There is a service colour-names already" in shell("services", "add", "colour-names", "mine").err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Expected a name for the model"),
        (["--name", "x", "--mean", "1,2"], "Expected one number or three as --mean"),
        (["--name", "x", "--size", "a"], "Expected numbers as --size"),
        (["--name", "x", "--size", "0x4"], "Expected HEIGHTxWIDTH"),
        (["--name", "x", "--option", "depth"], "Expected --option KEY=VALUE"),
        (["--name", "x", "--labels", "nowhere"], "nowhere"),
    ],
)
def test_an_import_that_is_said_wrongly_stores_nothing(
    shell: Shell, tmp_path: Path, arguments: list[str], words: str
) -> None:
    (tmp_path / "net.onnx").write_bytes(colour_network())
    run = shell("import", str(tmp_path / "net.onnx"), *arguments)
    assert run.status == 1
    assert words in run.err
