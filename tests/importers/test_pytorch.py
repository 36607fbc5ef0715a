"""State dicts of both forms of torch.save: true ones, hostile ones, and mutated ones."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glia.core.errors import ImportFailed
from glia.importers.pytorch import PyTorch, parse_state_dict, read_state_dict
from house import SHARED
from importers.streams import archive, integer, old, state, tensor, text

FIXTURES = Path(__file__).parent / "fixtures"
FORMS = ("old", "zip")
RAW = struct.pack("<2f", 1.5, -2.0)
KINDS = {
    "float64": "f8",
    "float16": "f2",
    "bfloat16": "f4",
    "int64": "i8",
    "int32": "i4",
    "int16": "i2",
    "int8": "i1",
    "uint8": "u1",
    "bool": "?",
}


def zipped(value: bytes, storages: dict[str, bytes], **extra: bytes) -> bytes:
    members = [("a/data.pkl", value), *((f"a/{name}", raw) for name, raw in extra.items())]
    return archive(members + [(f"a/data/{key}", raw) for key, raw in storages.items()])


@pytest.mark.parametrize("form", FORMS)
def test_every_type_and_every_view_is_read(form: str):
    found = read_state_dict(FIXTURES / f"{form}.pth")
    base = np.arange(12, dtype=np.float32) / 4
    expected = {name: np.array([0, 1, 3, 100]).astype(kind) for name, kind in KINDS.items()} | {
        "whole": base.reshape(3, 4),
        "shifted": base[5:7],
        "transposed": base.reshape(3, 4).T,
        "strided": base[1::3],
        "scalar": np.array(-1.5, np.float32),
        "empty": np.zeros((0, 3), np.float32),
        "parameter": np.array([2.5, -2.5], np.float32),
    }
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, name, strict=True)
        assert found[name].flags.c_contiguous
        assert found[name].flags.writeable
        assert found[name].flags.aligned


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict"])
def test_a_state_dict_inside_a_checkpoint_is_found(key: str):
    inner = b"}" + text("w") + tensor() + b"s"
    data = old(state(("epoch", b"K\x03"), (key, inner)), {"0": RAW})
    np.testing.assert_array_equal(parse_state_dict(data)["w"], [1.5, -2.0])


def test_views_of_a_storage_start_where_they_say():
    view = b"(" + text("1") + integer(1) + integer(1) + b"t"
    value = tensor((1,), count=2).replace(b"NtQ", view + b"tQ")
    np.testing.assert_array_equal(parse_state_dict(old(state(("w", value)), {"0": RAW}))["w"], [-2.0])


TENSORS = {
    "more elements than stored": tensor((3,)),
    "stride zero and a huge shape": tensor((2**30,), (0,)),
    "a huge empty shape": tensor((0, 2**39, 2**39), (1, 1, 1)),
    "an end outside": tensor((2,), (1,), offset=1),
    "a stride outside": tensor((2,), (2,)),
    "a negative offset": tensor(offset=-1),
    "a negative size": tensor((-1,)),
    "a negative stride": tensor((2,), (-1,), offset=1),
    "a size of 100 bits": tensor((2**100,)),
    "a stride of 100 bits": tensor((1,), (2**100,)),
    "sizes without strides": tensor((1, 2), (1,)),
    "too many axes": tensor((1,) * 17, (1,) * 17),
    "a negative count": tensor(count=-1),
    "a count that is not there": tensor(count=2**39),
    "a missing storage": tensor(key="7"),
    "an unknown type": tensor(kind="QInt8Storage"),
    "a storage of two types": tensor() + text("v") + tensor(kind="LongStorage"),
    "no storage": b"ctorch._utils\n_rebuild_tensor_v2\n(NK\x00K\x00K\x00NNtR",
    "no arguments": b"ctorch._utils\n_rebuild_tensor_v2\n)R",
    "a parameter of a number": b"ctorch._utils\n_rebuild_parameter\nK\x01NN\x87R",
    "a number instead": b"K\x01",
    "a module": b"(" + text("module") + b"NNNtQ",
    "a reference to a number": b"K\x01Q",
    "a view outside": tensor((1,)).replace(b"NtQ", b"(" + text("1") + integer(2) + integer(1) + b"ttQ"),
    "a view that is none": tensor((1,)).replace(b"NtQ", b"K\x01tQ"),
}


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("form", [old, zipped])
def test_tensors_that_lie_fail_the_import(form, name: str):
    with pytest.raises(ImportFailed):
        parse_state_dict(form(state(("w", TENSORS[name])), {"0": RAW}))


def test_tensors_that_share_a_storage_cannot_multiply_it():
    many = [(f"w{n}", tensor((500, 500), (1, 1), count=250_000)) for n in range(5)]
    with pytest.raises(ImportFailed, match="1250000 elements, stored as 250000"):
        parse_state_dict(old(state(*many), {"0": bytes(1_000_000)}))


def test_names_that_are_no_strings_fail_the_import():
    with pytest.raises(ImportFailed, match="names with tensors"):
        parse_state_dict(old(b"\x80\x02}K\x01" + tensor() + b"s.", {"0": RAW}))


@pytest.mark.parametrize("value", [b"\x80\x02N.", b"\x80\x02}.", b"\x80\x02].", state(("epoch", b"K\x03"))])
def test_files_without_tensors_fail_the_import(value: bytes):
    with pytest.raises(ImportFailed, match="dict of tensors"):
        parse_state_dict(old(value, {}))


def test_big_endian_files_fail_the_import():
    good = old(state(("w", tensor())), {"0": RAW})
    with pytest.raises(ImportFailed, match="little-endian"):
        parse_state_dict(good.replace(b"little_endian\x88", b"little_endian\x89"))
    with pytest.raises(ImportFailed, match="little-endian"):
        parse_state_dict(zipped(state(("w", tensor())), {"0": RAW}, byteorder=b"big"))


def test_storages_of_the_old_form_must_be_those_announced():
    value = state(("w", tensor()))
    for storages in ({}, {"1": RAW}, {"0": RAW, "1": RAW}, {"0": RAW + RAW}, {"0": RAW[:4]}):
        with pytest.raises(ImportFailed):
            parse_state_dict(old(value, storages))
    with pytest.raises(ImportFailed, match="follow the last storage"):
        parse_state_dict(old(value, {"0": RAW}) + b"more")


def test_zips_that_torch_would_not_write_fail_the_import():
    value, members = state(("w", tensor())), [("a/data/0", RAW)]
    good = [("a/data.pkl", value), *members]
    np.testing.assert_array_equal(parse_state_dict(archive(good))["w"], [1.5, -2.0])
    bad = {
        "compressed": archive(good, method=8),
        "at most|members of": archive(good, claimed=1 << 31),
        "twice": archive(good + good),
        "found 0": archive(members),
        "found 2": archive([*good, ("b/data.pkl", value)]),
        "TorchScript": archive([*good, ("a/constants.pkl", b"")]),
        "expected 8 bytes": archive([good[0], ("a/data/0", RAW + RAW)]),
        "found nothing": archive(good[:1]),
        "checksum": archive(good).replace(RAW, RAW[::-1]),
        "follow the pickle": archive([("a/data.pkl", value + b"N."), *members]),
    }
    for reason, data in bad.items():
        with pytest.raises(ImportFailed, match=reason):
            parse_state_dict(data)


def test_a_zip_bomb_is_refused_before_it_grows():
    with pytest.raises(ImportFailed, match="compressed"):
        parse_state_dict(archive([("a/data.pkl", state(("w", tensor()))), ("a/data/0", bytes(50_000_000))], method=8))


def test_members_of_a_zip_that_overlap_are_refused():
    data = archive([("a/data.pkl", state(("w", tensor()))), *((f"a/data/{n}", bytes(3000)) for n in range(4))])
    whole = len(data)
    shrunk = data.replace(bytes(3000), b"", 3)
    directory = shrunk.index(b"PK\x01\x02")
    end = shrunk.index(b"PK\x05\x06")
    moved = shrunk[: end + 16] + struct.pack("<I", directory) + shrunk[end + 20 :]
    assert len(moved) == whole - 9000
    with pytest.raises(ImportFailed, match="overlap"):
        parse_state_dict(moved)


@pytest.mark.parametrize("form", [old, zipped])
def test_every_prefix_of_a_file_fails_the_import(form):
    whole = form(state(("w", tensor()), ("v", tensor((1,), offset=1))), {"0": RAW})
    assert len(parse_state_dict(whole)) == 2
    for end in range(len(whole)):
        with pytest.raises(ImportFailed):
            parse_state_dict(whole[:end])


EDITS = st.lists(
    st.tuples(st.integers(0, 5000), st.sampled_from(["set", "cut", "put"]), st.binary(min_size=1, max_size=4))
)


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(edits=EDITS)
def test_mutated_files_are_read_or_fail_the_import(form: str, edits: list[tuple[int, str, bytes]]):
    data = bytearray((FIXTURES / f"{form}.pth").read_bytes())
    for place, kind, value in edits:
        at = place % len(data)
        data[at : at + (0 if kind == "put" else len(value))] = b"" if kind == "cut" else value
    try:
        found = parse_state_dict(bytes(data))
    except ImportFailed:
        return
    assert all(isinstance(array, np.ndarray) for array in found.values())


def test_files_that_cannot_be_read_fail_the_import(tmp_path: Path):
    with pytest.raises(ImportFailed, match="cannot be read"):
        read_state_dict(tmp_path / "none.pth")
    (tmp_path / "empty.pth").write_bytes(b"")
    with pytest.raises(ImportFailed, match=r"file of torch\.save"):
        read_state_dict(tmp_path / "empty.pth")


def test_the_option_architecture_is_needed_and_its_values_are_listed():
    for options in ({}, {"architecture": "lenet"}, {"architecture": 3}):
        with pytest.raises(ImportFailed, match="efficientnet-lite"):
            PyTorch().read({"weights": FIXTURES / "zip.pth"}, options)


@pytest.mark.parametrize(
    ("name", "count"), [("blazeface/blazeface.pth", 74), ("winml-cifar-pytorch/myFirstModel.pth", 30)]
)
def test_published_files_are_read(name: str, count: int):
    path = SHARED / "interop" / "pytorch" / name
    if not path.exists():
        pytest.skip("the published file is not on this machine")
    assert len(read_state_dict(path)) == count


@pytest.mark.parametrize("form", FORMS)
def test_arrays_equal_those_of_torch(form: str):
    torch = pytest.importorskip("torch", reason="torch is the oracle")
    path = FIXTURES / f"{form}.pth"
    for name, value in torch.load(path, weights_only=True).items():
        found = read_state_dict(path)[name]
        known = value.detach().float().numpy() if value.dtype == torch.bfloat16 else value.detach().numpy()
        np.testing.assert_array_equal(found, known, strict=True)
