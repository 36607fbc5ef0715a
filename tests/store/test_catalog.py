from __future__ import annotations

import re
from pathlib import Path

import pytest

from glia.core.errors import NotFound, StoreError
from glia.store import catalog as module
from glia.store.catalog import Entry, best_for, catalog, entries_for, entry, read_entry
from glia.store.labels import labels

FOLDER = Path(module.__file__).parent / "catalog"
TEXT = (FOLDER / "imagenet-squeezenet-fp16-onnx.toml").read_text()


@pytest.mark.parametrize("name", [path.stem for path in sorted(FOLDER.glob("*.toml"))])
def test_every_entry_parses_and_gives_a_card(name: str) -> None:
    found = entry(name)
    card = found.card()
    assert (card.name, card.service, card.rank) == (name, found.service, found.rank)
    assert card.source_files
    assert all(score.source and 0 < score.value <= 1 for score in card.scores)
    assert found.description.endswith(".")
    if found.labels:
        assert len(card.labels) == len(card.label_ids) > 0
    if found.task == "image-classification":
        from glia.data.resize import ImagePreprocessing

        assert card.read_preprocessing(ImagePreprocessing).size[0] >= 32


def test_the_imagenet_labels_are_a_thousand_unique_names_in_the_order_of_their_ids() -> None:
    ids, names = labels("imagenet-1k")
    assert len(ids) == len(names) == len(set(ids)) == len(set(names)) == 1000
    assert list(ids) == sorted(ids)
    assert all(re.fullmatch(r"n\d{8}", wnid) for wnid in ids)
    assert all(name == name.strip() and "," not in name for name in names)
    assert names[0] == "tench"
    assert (names[134], names[517]) == ("crane (bird)", "crane (machine)")


@pytest.mark.parametrize("name", ["imagenet", "../labels/imagenet-1k", ""])
def test_an_unknown_vocabulary_is_answered_with_those_there_are(name: str) -> None:
    with pytest.raises(NotFound, match="there are: imagenet-1k"):
        labels(name)


def test_the_best_network_of_a_service_has_the_highest_rank() -> None:
    ranked = entries_for("objects")
    assert [item.rank for item in ranked] == sorted((item.rank for item in ranked), reverse=True)
    assert best_for("objects") == ranked[0]
    with pytest.raises(NotFound, match="'nothing'"):
        best_for("nothing")


def test_one_starter_is_there_and_it_is_permissive() -> None:
    (starter,) = [item for item in catalog().values() if item.starter and item.service == "objects"]
    assert starter.permissive


def test_a_research_licence_is_left_out_of_the_permissive(monkeypatch: pytest.MonkeyPatch) -> None:
    licence = {"weights": "research-only", "data": "unknown"}
    strict = Entry.model_validate(entry("imagenet-efficientnet-lite2").model_dump() | {"licence": licence, "rank": 99})
    monkeypatch.setattr(module, "catalog", lambda: {**catalog(), strict.name: strict})
    assert best_for("objects") == strict
    assert best_for("objects", permissive=True).name == "imagenet-efficientnet-lite0"


def test_an_unknown_entry_is_answered_with_the_nearest() -> None:
    with pytest.raises(NotFound, match="did you mean imagenet-efficientnet-lite"):
        entry("imagenet-efficientnet-lite")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"mirror",', '"npm:net@1!x",'),
        ('"mirror",', '"http://example.org/x",'),
        ('"mirror",', '"pypi:net!x",'),
        ("rank = 10", "rank = 10\ncolour = 1"),
        ("sha256 = ", "sha256 = 'x'\nother = "),
        ('file = "', 'file = "../'),
        ("rank = 10", "rank"),
    ],
)
def test_a_mistake_in_an_entry_is_an_error_that_names_the_file(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "imagenet-squeezenet-fp16-onnx.toml"
    path.write_text(TEXT)
    assert read_entry(path) == entry("imagenet-squeezenet-fp16-onnx")
    assert old in TEXT
    path.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(StoreError, match=path.name):
        read_entry(path)
