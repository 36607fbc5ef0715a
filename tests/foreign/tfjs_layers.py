"""Networks of TensorFlow.js in Keras' layers."""

from __future__ import annotations

from pathlib import Path

from foreign.case import Case
from house import SHARED


def folder(format: str, name: str) -> dict[str, Path]:
    """All files of an entry but the note where it comes from."""
    return {path.name: path for path in sorted((SHARED / format / name).glob("*")) if path.name != "source.json"}


def cases() -> list[Case]:
    """Every network of the format."""
    if not (SHARED / "interop" / "tfjs-layers").exists():
        return []
    places = [
        ("interop/tfjs-layers", "ml5-doodlenet"),
        ("interop/tfjs-layers", "tfjs-integration"),
        ("interop/tfjs-layers", "tfjs-rn-bundle"),
        ("weights", "imagenet-darknet-tiny-tfjs"),
        ("weights", "nsfw-mobilenet-v2-tfjs"),
    ]
    return [Case("tfjs-layers", name, folder(place, name), "none") for place, name in places]
