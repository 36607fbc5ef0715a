"""Media leave a value as buffers and come back; the rest is plain JSON."""

from __future__ import annotations

import json

from glia.core.fields import Answer, Media
from glia.core.parts import join, split


class Named(Answer):
    """A medium with words."""

    words: tuple[str, ...]
    medium: Media


def test_media_at_any_depth_become_buffers_and_come_back() -> None:
    first, second = Media(b"one", "image/png", "a.png"), Media(b"", name=None)
    value = {"deep": [{"x": first}, (1, second)], "plain": None, "again": first}
    plain, buffers = split(value)
    assert buffers == [b"one", b"", b"one"]
    back = join(json.loads(json.dumps(plain)), [bytearray(buffer) for buffer in buffers])
    assert back == {"deep": [{"x": first}, [1, second]], "plain": None, "again": first}
    assert (back["again"].content_type, back["again"].name) == ("image/png", "a.png")


def test_models_become_their_fields() -> None:
    plain, buffers = split([Named(words=("a", "b"), medium=Media(b"m"))])
    assert plain == [{"words": ["a", "b"], "medium": {"$part": 0, "type": "application/octet-stream", "name": None}}]
    assert buffers == [b"m"]


def test_a_medium_alone_is_a_value_too_and_takes_the_class_asked_for() -> None:
    class Sound(Media):
        kind = "sound"

    plain, buffers = split(Media(b"m"))
    back = join(plain, [memoryview(buffers[0])], Sound)
    assert (type(back), back.data) == (Sound, b"m")
    assert join(*split("words")) == "words"


def test_plain_data_that_looks_like_a_place_is_not_taken_for_one() -> None:
    for value in ({"$part": 0}, {"row": {"$part": 3.5, "type": "x"}}, {"$part": "a"}):
        plain, buffers = split(value)
        assert join(json.loads(json.dumps(plain)), buffers) == value
