"""The opcode interpreter against streams written by hand."""

from __future__ import annotations

import pytest

from glia.core.errors import ImportFailed
from glia.importers import pickle_stream
from glia.importers.pickle_stream import PickleStream, Symbol
from importers.streams import integer, state, text


def read(data: bytes, **symbols: Symbol) -> object:
    return PickleStream(data, {symbol.name: symbol for symbol in symbols.values()}).read()


def test_values_of_every_kind_are_read():
    stream = (
        b"\x80\x02(N\x88\x89J\xff\xff\xff\xffK\x07M\x01\x02" + integer(-(2**70)) + b"G\x3f\xf8" + bytes(6) + text("é")
    )
    stream += b"U\x01a]K\x01aK\x02\x85K\x02K\x03\x86)t."
    assert read(stream) == (None, True, False, -1, 7, 513, -(2**70), 1.5, "é", "a", [1], (2,), (2, 3), ())


def test_items_are_set_one_by_one_and_together():
    assert read(b"\x80\x02}" + text("a") + b"K\x01s(" + text("b") + b"K\x02K\x09K\x03u.") == {"a": 1, "b": 2, 9: 3}


def test_the_memo_gives_the_same_value_again():
    first, second = read(b"\x80\x02]q\x05h\x05\x86.")
    assert first is second
    assert read(b"\x80\x02K\x01r\xff\xff\xff\xff0j\xff\xff\xff\xff.") == 1


def test_attributes_are_dropped_and_the_dict_kept():
    assert read(b"\x80\x02}}" + text("_metadata") + b"}sb.") == {}


def test_pickles_that_follow_each_other_are_read_in_turn():
    stream = PickleStream(b"\x80\x02K\x01.\x80\x02K\x02.rest", {})
    assert (stream.read(), stream.read(), stream.position) == (1, 2, 10)


def test_symbols_are_called_with_their_arguments():
    assert read(b"\x80\x02ca\nb\nK\x01K\x02\x86R.", ab=Symbol("a.b", sum)) == 3


@pytest.mark.parametrize(
    ("stream", "named"),
    [
        (b"cos\nsystem\n" + text("true") + b"\x85R.", "os.system"),
        (b"cposix\nsystem\n" + text("true") + b"\x85R.", "posix.system"),
        (b"cbuiltins\neval\n" + text("1") + b"\x85R.", "builtins.eval"),
        (b"c__builtin__\ngetattr\n.", "__builtin__.getattr"),
        (b"ctorch.nn\nModule\n)R.", "torch.nn.Module"),
        (b"ccollections\nOrderedDict.fromkeys\n.", "collections.OrderedDict.fromkeys"),
        (b"ca\nb\nq\x00\x8a\x00\x85R.", None),
    ],
)
def test_globals_outside_the_table_are_refused_by_name(stream: bytes, named: str | None):
    with pytest.raises(ImportFailed) as error:
        read(b"\x80\x02" + stream, known=Symbol("a.b"))
    assert (named or "a call of a.b") in error.value.message


HOSTILE = {
    "an empty stack": b"0.",
    "nothing to end with": b".",
    "two values at the end": b"NN.",
    "an open mark at the end": b"N(.",
    "a pop below the mark": b"N(0.",
    "a tuple below the mark": b"N(\x85.",
    "no mark": b"Nt.",
    "a memo entry that was never written": b"h\x07.",
    "a memo put of nothing": b"q\x00.",
    "a call of a number": b"K\x01)R.",
    "a call without a tuple": b"ca\nb\nK\x01R.",
    "an append to a dict": b"}K\x01a.",
    "an item set on a list": b"]K\x01K\x02s.",
    "a key without value": b"}(K\x01u.",
    "a list as key": b"}]K\x01s.",
    "a tuple as key": b"})K\x01s.",
    "a float as key": b"}G" + bytes(8) + b"K\x01s.",
    "a key of 100 bits": b"}" + integer(2**100) + b"K\x01s.",
    "attributes of a list": b"]}b.",
    "attributes of a number": b"K\x01}b.",
    "a reference": b"NQ.",
    "NEWOBJ": b"ca\nb\n)\x81.",
    "INST": b"(ios\nsystem\n.",
    "OBJ": b"(ca\nb\no.",
    "EXT1": b"\x82\x01.",
    "STACK_GLOBAL": text("os") + text("system") + b"\x93.",
    "an integer as text": b"I1\n.",
    "a long of 255 bytes": b"\x8a\xff" + bytes(255) + b".",
    "a long of 2 GB": b"\x8b\xff\xff\xff\x7f.",
    "a string of 4 GB": b"X\xff\xff\xff\xff.",
    "a string that is no UTF-8": b"X\x01\x00\x00\x00\xff.",
    "a global without end": b"c" + b"a" * 5000,
    "an unknown opcode": b"\xff.",
    "protocol 4": b"\x80\x04N.",
    "no end": b"N",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_faults_of_a_stream_fail_the_import(name: str):
    with pytest.raises(ImportFailed, match="expected"):
        read(HOSTILE[name], known=Symbol("a.b", lambda arguments: None))


def test_bombs_are_stopped_by_the_limits(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pickle_stream, "MAX_STACK", 1000)
    monkeypatch.setattr(pickle_stream, "MAX_MEMO", 1000)
    monkeypatch.setattr(pickle_stream, "MAX_OPCODES", 100_000)
    memo = b"N" + b"".join(b"r" + n.to_bytes(4, "little") for n in range(1001)) + b"."
    bombs = {"stack": b"N" * 1001 + b".", "marks": b"(" * 201, "memo": memo, "opcodes": b"N0" * 50_001 + b"N."}
    for name, bomb in bombs.items():
        with pytest.raises(ImportFailed, match=r"expected at most|more than 100000 opcodes"):
            read(bomb)
        assert name


def test_deep_and_circular_values_do_no_harm():
    deep = read(b")" + b"\x85" * 50_000 + b".")
    assert isinstance(deep, tuple)
    circular = read(b"]q\x00h\x00a.")
    assert isinstance(circular, list)
    assert circular[0] is circular
    with pytest.raises(ImportFailed, match="tuple as key"):
        read(b"})" + b"\x85" * 50_000 + b"Ns.")


def test_every_prefix_of_a_stream_fails_the_import():
    whole = state(("a", b"K\x01"), ("b", b"ca\nb\n)R"))
    known = Symbol("a.b", lambda arguments: None)
    assert read(whole, known=known) == {"a": 1, "b": None}
    for end in range(len(whole)):
        with pytest.raises(ImportFailed):
            read(whole[:end], known=known)
