"""The guard's pictures: a fixed set that ships with the package, for users who have none of their own.

Fifteen photos without people, twenty views of each. How well verdicts on them agree with verdicts on many different
photos is in docs/experiments.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files

from glia.data.image import Image
from glia.data.views import views

VIEWS = 20
"""Pictures that are made of each photo."""


def guard_photos() -> list[Image]:
    """The photos as they are stored, in a fixed order. guard.json beside them gives source, commit and licence."""
    folder = files("glia.store") / "guard"
    listed = json.loads((folder / "guard.json").read_text("utf-8"))["photos"]
    return [Image((folder / photo["file"]).read_bytes(), name=photo["file"]) for photo in listed]


def guard_pictures() -> Iterator[Image]:
    """The 300 pictures, made one by one, the same at every call: squares of 128 to 513 px, as JPEG."""
    for photo in guard_photos():
        for view in views(photo.rgb(), VIEWS):
            yield Image.from_array(view, "jpeg")
