"""Labelled examples in each form, and what counts as right."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from glia.core.card import Card
from glia.core.errors import DamagedMedia, InputError
from glia.core.settings import Settings
from glia.evaluate.evaluate import evaluate, wanted
from glia.evaluate.examples import LabelledFile, read_examples
from glia.evaluate.metrics import metric_named, top1, top5
from glia.runtime.directory import Directory
from glia.runtime.service import Service, load
from glia.store.store import Store
from house import colour_card, colour_network, picture

RED, GREEN, BLUE = (250, 10, 10), (10, 250, 10), (10, 10, 250)


@pytest.fixture
def service(colours: Card, settings: Settings, home: Path) -> Service:
    return load(Directory(settings).resolve("objects"), Store(home))


def packed(path: Path, **columns: object) -> Path:
    files = [picture(RED), picture(GREEN), picture(BLUE)]
    offsets = np.cumsum([0, *map(len, files)])
    np.savez(path, data=np.frombuffer(b"".join(files), np.uint8), offsets=offsets, **columns)  # type: ignore[arg-type]
    return path


def test_an_npz_of_encoded_pictures_is_scored(service: Service, tmp_path: Path) -> None:
    data = packed(tmp_path / "photos.npz", label=np.array([0, 1, 0], np.int16))
    done: list[int] = []
    result = evaluate(service, read_examples(data), done.append)
    assert result == {"model": "colours", "version": 1, "n": 3, "metrics": {"top1": pytest.approx(2 / 3), "top5": 1.0}}
    assert done == [1, 2, 3]


def test_another_column_can_be_the_target(service: Service, tmp_path: Path) -> None:
    data = packed(tmp_path / "photos.npz", label=np.array([2, 2, 2]), colour=np.array(["red", "green", "blue"]))
    assert evaluate(service, read_examples(data, "colour"))["metrics"]["top1"] == 1.0
    with pytest.raises(InputError, match="it has label, colour"):
        read_examples(data, "shade")


def test_a_folder_per_class_is_scored(service: Service, tmp_path: Path) -> None:
    for name, colour in (("red", RED), ("Green", GREEN)):
        (tmp_path / "classes" / name).mkdir(parents=True)
        (tmp_path / "classes" / name / "one.png").write_bytes(picture(colour))
    assert evaluate(service, read_examples(tmp_path / "classes"))["metrics"]["top1"] == 1.0


@pytest.mark.parametrize("form", ["csv", "json", "jsonl"])
def test_a_manifest_is_scored(service: Service, tmp_path: Path, form: str) -> None:
    (tmp_path / "a.png").write_bytes(picture(RED))
    (tmp_path / "b.png").write_bytes(picture(BLUE))
    rows = [{"file": "a.png", "label": "red"}, {"file": "b.png", "label": "blue"}]
    path = tmp_path / f"manifest.{form}"
    lines = [json.dumps(row) for row in rows]
    path.write_text(
        {"csv": "file,label\na.png,red\nb.png,blue\n", "json": json.dumps(rows), "jsonl": "\n".join(lines)}[form]
    )
    assert evaluate(service, read_examples(path))["metrics"] == {"top1": 1.0, "top5": 1.0}


def test_any_of_several_labels_is_right(service: Service) -> None:
    examples = [LabelledFile(picture(RED), ["green", "red"]), LabelledFile(picture(BLUE), ["green"])]
    assert evaluate(service, examples)["metrics"]["top1"] == 0.5


def test_a_target_is_an_index_an_id_or_a_name() -> None:
    card = colour_card(label_ids=("n1", "n2", "n3"))
    assert [wanted(target, card) for target in (1, "1", "n2", "green", "GREEN")] == [frozenset({"green"})] * 5
    for wrong in (3, -1, "purple"):
        with pytest.raises(InputError, match="Expected a label of colours@0"):
            wanted(wrong, card)


def test_only_the_first_five_count_for_top5() -> None:
    answer = [{"label": letter, "score": 0.1} for letter in "abcdef"]
    assert (top1([answer], [{"a"}]), top1([answer], [{"b"}])) == (1.0, 0.0)
    assert (top5([answer], [{"e"}]), top5([answer], [{"f"}])) == (1.0, 0.0)
    with pytest.raises(InputError, match="No metric is named"):
        metric_named("beauty")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.npz", b"PK not an archive", "npz of arrays"),
        ("x.txt", b"hello", "Expected an npz"),
        ("x.csv", b"file,label\n../gone.png,red\n", "no such file"),
        ("x.csv", b"title,label\na,b\n", "Expected a column file"),
        ("x.json", b"{", "list of objects"),
        ("x.jsonl", b"", "named columns"),
    ],
)
def test_data_that_is_none_is_refused_in_words(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_examples(tmp_path / name)


def test_nothing_there_and_an_empty_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is nothing at"):
        read_examples(tmp_path / "gone.npz")
    with pytest.raises(InputError, match="found none"):
        read_examples(tmp_path)


def test_offsets_that_lie_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", data=np.zeros(4, np.uint8), offsets=np.array([0, 9]), label=np.array([0]))
    with pytest.raises(InputError, match="do not fit"):
        read_examples(tmp_path / "x.npz")


def test_a_picture_that_cannot_be_read_ends_the_evaluation(service: Service) -> None:
    with pytest.raises(DamagedMedia):
        evaluate(service, [LabelledFile(picture(RED)[:60], "red")])


def test_the_colour_network_is_what_the_tests_think(service: Service) -> None:
    assert colour_network()
    answer = service.predict(service.contract.request({"image": picture(GREEN)}))
    assert answer[0].label == "green"
