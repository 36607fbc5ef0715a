"""Formats are found by bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from glia.core.errors import ImportFailed
from glia.importers.sniff import importer_for, importers
from house import sum_network

FIXTURES = Path(__file__).parent / "fixtures"
STRANGERS = {
    "nothing": b"",
    "text": b"hello world",
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "a zip of something": b"PK\x03\x04" + bytes(22) + b"\x08\x00\x00\x00word.xml",
    "a SavedModel": b"\x08\x01\x12\x90\x4e" + bytes(10_000),
    "a caffemodel": b"\x0a\x05cafnet" + bytes(100),
    "endless varints": b"\x08" + b"\xff" * 5000,
    "a graph longer than its file": b"\x08\x08\x3a\xff\xff\x7f",
}


def test_every_importer_names_its_format():
    found = importers()
    assert {"onnx", "pytorch"} <= set(found)
    assert all(name == reader.format for name, reader in found.items())


def test_the_bytes_decide_and_not_the_name(tmp_path: Path):
    (tmp_path / "a.jpg").write_bytes(sum_network())
    (tmp_path / "b.onnx").write_bytes((FIXTURES / "old.pth").read_bytes())
    (tmp_path / "c.onnx").write_bytes((FIXTURES / "zip.pth").read_bytes())
    met = [importer_for({"model": path}).format for path in sorted(tmp_path.iterdir())]
    assert met == ["onnx", "pytorch", "pytorch"]


@pytest.mark.parametrize("name", STRANGERS)
def test_unknown_bytes_are_shown_beside_the_known_formats(tmp_path: Path, name: str):
    path = tmp_path / "file"
    path.write_bytes(STRANGERS[name])
    with pytest.raises(ImportFailed) as error:
        importer_for({"model": path})
    assert "'onnx', 'pytorch'" in error.value.message
    assert STRANGERS[name][:4].hex(" ") in error.value.message


def test_the_catalogs_format_must_be_that_of_the_bytes():
    files = {"model": FIXTURES / "old.pth"}
    assert importer_for(files, "pytorch").format == "pytorch"
    with pytest.raises(ImportFailed, match="bytes are of"):
        importer_for(files, "onnx")
    with pytest.raises(ImportFailed, match="format out of"):
        importer_for(files, "word")


def test_files_of_two_formats_need_a_word_from_the_user(tmp_path: Path):
    (tmp_path / "a").write_bytes(sum_network())
    files = {"a": tmp_path / "a", "b": FIXTURES / "old.pth"}
    with pytest.raises(ImportFailed, match="several formats"):
        importer_for(files)
    assert importer_for(files, "onnx").format == "onnx"


def test_missing_files_fail_the_import(tmp_path: Path):
    for files in ({}, {"model": tmp_path / "none"}):
        with pytest.raises(ImportFailed):
            importer_for(files)
