"""Draw the sample pictures of the first page: small scenes, sphere-traced in numpy. They are ours, so free to ship.

    python tools/draw_samples.py [NAME ...] [--width 640] [--out src/glia/store/samples]

Each scene is a set of signed distance functions with a paint; `shows` lists the ImageNet names that count as right.
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from PIL import Image
from tracer import (
    Paint,
    Points,
    Scene,
    Values,
    ball,
    blend,
    brick,
    clouds,
    drum,
    grass,
    melt,
    mix,
    noise,
    render,
    rgb,
    step_up,
    vec,
    wood,
)

MAX_BYTES = 80_000

# ---- the scenes ---------------------------------------------------------------------------------------------------


def _mug_parts(p: Points) -> list[Values]:
    across = np.hypot(p[:, 0], p[:, 2])
    outer = drum(across, p[:, 1] - 0.9, 0.8, 0.9, 0.06)
    cup = np.maximum(outer, -drum(across, p[:, 1] - 1.1, 0.71, 0.95, 0.05))
    bend = np.hypot(np.hypot(p[:, 0] - 0.82, (p[:, 1] - 0.92) * 0.92) - 0.44, p[:, 2]) - 0.1
    handle = np.maximum(bend, 0.74 - across)
    return [p[:, 1], melt(cup, handle, 0.08), drum(across, p[:, 1] - 1.1, 0.72, 0.42, 0.02)]


def _mug_paint(part: int, p: Points, n: Points) -> Paint:
    if part == 0:
        return wood(p), 0.08, 0.0
    if part == 1:
        return np.broadcast_to(rgb("#c8281e"), p.shape), 0.8, 0.0
    foam = step_up(0.6, 0.7, np.hypot(p[:, 0], p[:, 2]))
    return mix(rgb("#2a1206"), rgb("#7a4a22"), foam), 0.5, 0.0


def _signal_parts(p: Points) -> list[Values]:
    box = brick(p, (0, 0, 0), (0.62, 1.6, 0.35), 0.12)
    pole = drum(np.hypot(p[:, 0], p[:, 2] + 0.1), p[:, 1] + 4.2, 0.13, 3.0, 0.02)
    lenses, visors = [], []
    for at in (1.02, 0.0, -1.02):
        away = np.hypot(p[:, 0], p[:, 1] - at)
        lenses.append(drum(away, p[:, 2] - 0.33, 0.38, 0.06, 0.03))
        tube = np.maximum(drum(away, p[:, 2] - 0.55, 0.45, 0.3, 0.01), 0.41 - away)
        visors.append(np.maximum(tube, (at - 0.12 - p[:, 1]) + (p[:, 2] - 0.35) * 0.5))
    return [np.minimum(box, np.minimum.reduce(visors)), pole, *lenses]


def _signal_paint(part: int, p: Points, n: Points) -> Paint:
    if part < 2:
        return np.broadcast_to(rgb("#23272a"), p.shape), 0.25, 0.0
    at = (1.02, 0.0, -1.02)[part - 2]
    middle = np.exp(-3.5 * (p[:, 0] ** 2 + (p[:, 1] - at) ** 2))
    pattern = 0.85 + 0.15 * np.sin(p[:, 0] * 60) * np.sin(p[:, 1] * 60)
    if part == 2:
        return mix(rgb("#c40a06"), rgb("#f0301c"), middle) * pattern[:, None], 0.2, 0.75
    return np.broadcast_to(rgb("#3d2f08" if part == 3 else "#0b3018"), p.shape), 0.4, 0.0


def _day(ray: Points) -> Float32[np.ndarray, "n 3"]:
    q = ray * vec(3.2, 7, 3.2) / (np.abs(ray[:, 1:2]) * 1.2 + 0.6)
    return mix(blend(ray, "#a9d2f2", "#3f86d2"), rgb("#ffffff"), step_up(0.52, 0.85, clouds(q, 5, 11)) * 0.85)


def _balloon_parts(p: Points) -> list[Values]:
    across = np.hypot(p[:, 0], p[:, 2])
    turn = np.arctan2(p[:, 2], p[:, 0])
    ribs = 0.035 * np.abs(np.cos(turn * 8)) * np.clip(across, 0, 1)
    dome = np.linalg.norm(p, axis=1) - 1.5
    slope = (across - 0.3) * 0.83 + (-p[:, 1] - 2.1) * 0.56
    taper = np.maximum(np.maximum(slope, -p[:, 1] - 2.1), p[:, 1] + 0.84)
    basket = brick(p, (0, -3.0, 0), (0.26, 0.22, 0.26), 0.05)
    ropes = [
        np.hypot(p[:, 0] - a * (0.22 + 0.02 * (p[:, 1] + 2.8)), p[:, 2] - b * 0.22) - 0.012
        for a in (-1, 1)
        for b in (-1, 1)
    ]
    rope = np.maximum(np.minimum.reduce(ropes), np.abs(p[:, 1] + 2.45) - 0.4)
    return [melt(dome, taper, 0.1) - ribs, basket, rope]


def _balloon_paint(part: int, p: Points, n: Points) -> Paint:
    if part:
        return np.broadcast_to(rgb("#6b4423"), p.shape) * (0.7 + 0.5 * noise(p * 30, 2)[:, None]), 0.05, 0.0
    gore = np.floor((np.arctan2(p[:, 2], p[:, 0]) / np.pi + 1) * 8).astype(int) % 4
    colours = np.stack([rgb(code) for code in ("#e3241b", "#ffc81e", "#e3241b", "#1d5fc4")])[gore]
    band = (np.abs(p[:, 1] + 0.1) < 0.22)[:, None]
    return np.where(band, rgb("#fff4d6"), colours).astype(np.float32), 0.15, 0.12


_GOLDEN = (1 + 5**0.5) / 2
_CORNERS = np.array(
    [np.roll([0, a, b * _GOLDEN], r) for r in range(3) for a in (-1, 1) for b in (-1, 1)], np.float32
) / np.float32((1 + _GOLDEN**2) ** 0.5)
_FACES = np.array(
    [np.roll([0, a * _GOLDEN, b / _GOLDEN], r) for r in range(3) for a in (-1, 1) for b in (-1, 1)]
    + [[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)],
    np.float32,
) / np.float32(3**0.5)


def _football_seams(p: Points) -> tuple[Values, Float32[np.ndarray, " n"]]:
    """How near a seam of a truncated icosahedron is (0 on it), and whether the panel is a pentagon."""
    q = (p - vec(0, 1, 0)) @ _tilt(0.5, 0.35)
    q = q / np.linalg.norm(q, axis=1, keepdims=True)
    # Pentagons lie a little further out than hexagons; the nearest plane is the panel.
    five, six = q @ _CORNERS.T / 0.9393, q @ _FACES.T / 0.9150
    both = np.sort(np.concatenate([five, six], axis=1), axis=1)
    return both[:, -1] - both[:, -2], (five.max(axis=1) > six.max(axis=1)).astype(np.float32)


def _tilt(a: float, b: float) -> Float32[np.ndarray, "3 3"]:
    one = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    other = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    return np.asarray(one @ other, np.float32)


def _football_parts(p: Points) -> list[Values]:
    seam, _ = _football_seams(p)
    lawn = p[:, 1] - 0.07 * noise(p * vec(14, 1, 7), 6)
    return [lawn, ball(p, (0, 1, 0), 1.0) + 0.02 * np.exp(-((seam * 40) ** 2))]


def _football_paint(part: int, p: Points, n: Points) -> Paint:
    if part == 0:
        return grass(p), 0.0, 0.0
    seam, black = _football_seams(p)
    panel = mix(rgb("#f4f4f0"), rgb("#15161a"), black)
    return panel * (0.45 + 0.55 * step_up(0.004, 0.02, seam))[:, None], 0.35, 0.0


def _apple_parts(p: Points) -> list[Values]:
    across = np.hypot(p[:, 0], p[:, 2])
    body = np.hypot(across - 0.36, (p[:, 1] - 0.86) * 0.84) - 0.7
    taper = 0.06 * (p[:, 1] - 0.9)
    ribs = 0.018 * np.cos(5 * np.arctan2(p[:, 2], p[:, 0])) * step_up(1.0, 0.1, p[:, 1])
    lean = p - vec(0.22, 0, 0) * (p[:, 1:2] - 1.2)
    stem = drum(np.hypot(lean[:, 0], lean[:, 2]), p[:, 1] - 1.62, 0.045, 0.36, 0.02)
    return [p[:, 1], (body - taper * 1.2 + ribs) * 0.9, stem]


def _apple_paint(part: int, p: Points, n: Points) -> Paint:
    if part == 0:
        return wood(p), 0.08, 0.0
    if part == 2:
        return np.broadcast_to(rgb("#4a3018"), p.shape), 0.1, 0.0
    skin = mix(rgb("#6fae1c"), rgb("#a8d040"), clouds(p * 2.0, 3, 4))
    dots = step_up(0.74, 0.84, noise(p * 30, 5))
    return mix(skin, rgb("#d8eaa0"), dots * 0.4), 0.6, 0.0


def _candle_parts(p: Points) -> list[Values]:
    across = np.hypot(p[:, 0], p[:, 2])
    melted = 0.03 * np.cos(3 * np.arctan2(p[:, 2], p[:, 0])) * step_up(1.0, 1.6, p[:, 1])
    wax = np.maximum(drum(across, p[:, 1] - 0.8 - melted, 0.55, 0.8, 0.07), -ball(p, (0, 2.0, 0), 0.55))
    wick = drum(across, p[:, 1] - 1.58, 0.025, 0.16, 0.01)
    height = (p[:, 1] - 1.72) / 0.62
    flame = (across - 0.17 * np.sqrt(np.clip(height, 0, 1)) * np.clip(1 - height, 0, 1) * 2.1) * 0.5
    flame = np.maximum(flame, np.abs(p[:, 1] - 2.03) - 0.32)
    plate = drum(across, p[:, 1] - 0.04, 1.0, 0.04, 0.03)
    return [p[:, 1], wax, wick, flame, plate]


def _candle_paint(part: int, p: Points, n: Points) -> Paint:
    if part == 0:
        return wood(p) * 0.8, 0.1, 0.0
    if part == 1:
        warm = step_up(0.0, 1.75, p[:, 1])
        side = 0.35 + 0.65 * np.clip(0.6 - 0.5 * n[:, 0:1] + 0.4 * n[:, 2:], 0, 1)
        return mix(rgb("#7a4a26"), rgb("#ffc070"), warm) * side, 0.2, 0.5
    if part == 3:
        return mix(rgb("#ff9a2a"), rgb("#fff2c0"), step_up(2.3, 1.85, p[:, 1])) * 1.6, 0.0, 1.0
    return np.broadcast_to(rgb("#1a1410" if part == 2 else "#7a6a4a"), p.shape), 0.5, 0.0


def _night(ray: Points) -> Float32[np.ndarray, "n 3"]:
    return blend(ray, "#140c08", "#090710")


SCENES = (
    Scene(
        "mug",
        "Coffee mug",
        "A red mug of coffee.",
        ("coffee mug", "cup", "espresso"),
        _mug_parts,
        _mug_paint,
        eye=(0.9, 3.3, 4.7),
        target=(0.15, 0.82, 0),
    ),
    Scene(
        "signal",
        "Traffic light",
        "A traffic light that shows red.",
        ("traffic light",),
        _signal_parts,
        _signal_paint,
        eye=(1.6, -0.9, 6.0),
        target=(0, -0.1, 0),
        zoom=2.2,
        sky=_day,
    ),
    Scene(
        "balloon",
        "Hot-air balloon",
        "A striped hot-air balloon in a blue sky.",
        ("balloon",),
        _balloon_parts,
        _balloon_paint,
        eye=(0.8, -2.2, 9.0),
        target=(0, -0.75, 0),
        zoom=2.7,
        sky=_day,
    ),
    Scene(
        "football",
        "Football",
        "A football on the lawn.",
        ("soccer ball",),
        _football_parts,
        _football_paint,
        eye=(0.0, 1.5, 5.0),
        target=(0.0, 0.95, 0.0),
        zoom=2.3,
        sky=_day,
    ),
    Scene("apple", "Green apple", "A green apple.", ("Granny Smith",), _apple_parts, _apple_paint),
    Scene(
        "candle",
        "Candle",
        "A burning candle in the dark.",
        ("candle",),
        _candle_parts,
        _candle_paint,
        target=(0, 1.15, 0),
        sky=_night,
        ambient=0.05,
        glow=(0.0, 2.1, 0.0, 1.6),
        light=(-0.2, 0.2, -0.9),
    ),
)


def main() -> None:
    """Draw the scenes named on the command line, or all, and write samples.json beside them."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("names", nargs="*")
    options.add_argument("--width", type=int, default=640, help="pixels; the height is three quarters of it")
    options.add_argument("--out", type=Path, default=Path("src/glia/store/samples"))
    chosen = options.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    for scene in SCENES:
        if not chosen.names or scene.name in chosen.names:
            (chosen.out / f"{scene.name}.jpg").write_bytes(encoded(render(scene, chosen.width, chosen.width * 3 // 4)))
    rows = [
        {"file": f"{each.name}.jpg", "title": each.title, "shows": list(each.shows), "alt": each.alt}
        for each in SCENES
        if (chosen.out / f"{each.name}.jpg").exists()
    ]
    (chosen.out / "samples.json").write_text(json.dumps(rows, indent=2) + "\n")


def encoded(picture: Image.Image) -> bytes:
    """JPEG of at most MAX_BYTES, at the best quality that fits."""
    for quality in range(92, 40, -4):
        out = io.BytesIO()
        picture.save(out, "JPEG", quality=quality, optimize=True, progressive=True)
        if out.tell() <= MAX_BYTES:
            break
    return out.getvalue()


if __name__ == "__main__":
    main()
