"""Draw the sample pictures of the first page: small scenes, sphere-traced in numpy. They are ours, so free to ship.

    python tools/draw_samples.py [NAME ...] [--width 640] [--out src/glia/api/ui/samples]

Each scene is a set of signed distance functions with a paint; `shows` lists the ImageNet names that count as right.
Source: J. C. Hart, Sphere tracing (The Visual Computer 12, 1996); soft shadows and occlusion after I. Quilez.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from PIL import Image

Points = Float32[np.ndarray, "n 3"]
Values = Float32[np.ndarray, " n"]
Paint = tuple[Float32[np.ndarray, "n 3"], float, float]
"""Colour (linear, 0..1), gloss (0..1), and how much of it shines by itself (0..1)."""

FAR = 40.0
MAX_BYTES = 80_000


@dataclass(frozen=True)
class Scene:
    """One picture: what is in it, where it is seen from, how it is lit."""

    name: str
    title: str
    alt: str
    shows: tuple[str, ...]
    parts: Callable[[Points], list[Values]]
    paint: Callable[[int, Points, Points], Paint]
    eye: tuple[float, float, float] = (0.0, 1.9, 5.0)
    target: tuple[float, float, float] = (0.0, 0.85, 0.0)
    zoom: float = 1.9
    light: tuple[float, float, float] = (-0.55, 0.8, 0.45)
    sky: Callable[[Points], Float32[np.ndarray, "n 3"]] = field(default=lambda ray: blend(ray, "#b9c4cc", "#e9edf0"))
    ambient: float = 0.45
    glow: tuple[float, float, float, float] | None = None
    """A lamp inside the scene: x, y, z, strength."""


# ---- shapes and colours -------------------------------------------------------------------------------------------


def rgb(code: str) -> Float32[np.ndarray, " 3"]:
    """#rrggbb to linear light."""
    return (np.array([int(code[at : at + 2], 16) for at in (1, 3, 5)], np.float32) / 255) ** np.float32(2.2)


def blend(ray: Points, low: str, high: str) -> Float32[np.ndarray, "n 3"]:
    """A sky from `low` at the horizon to `high` above."""
    share = np.clip(ray[:, 1:2] * 1.6 + 0.25, 0, 1)
    return rgb(low) * (1 - share) + rgb(high) * share


def mix(one: np.ndarray, other: np.ndarray, share: Values) -> Float32[np.ndarray, "n 3"]:
    """From `one` (share 0) to `other` (share 1)."""
    share = np.clip(share, 0, 1)[:, None]
    return np.asarray(one * (1 - share) + other * share, np.float32)


def step_up(low: float, high: float, x: Values) -> Values:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def noise(p: Points, seed: int = 0) -> Values:
    """Value noise in 0..1 of feature size 1."""
    cell = np.floor(p).astype(np.int64)
    f = (p - cell).astype(np.float32)
    f = f * f * (3 - 2 * f)
    total = np.zeros(len(p), np.float32)
    for corner in range(8):
        bits = np.array([corner & 1, corner >> 1 & 1, corner >> 2 & 1])
        key = (cell + bits) @ np.array([73_856_093, 19_349_663, 83_492_791]) + seed * 7_919
        key = (key ^ (key >> 13)) * 1_274_126_177 & 0x7FFFFFFF
        key = (key ^ (key >> 15)) * 668_265_263 & 0x7FFFFFFF
        weight = np.where(bits == 1, f, 1 - f).prod(axis=1)
        total += weight * (key % 65_536 / 65_536).astype(np.float32)
    return total


def clouds(p: Points, octaves: int = 4, seed: int = 0) -> Values:
    """Noise of several sizes, in 0..1."""
    return sum(noise(p * 2.0**n, seed + n) * 0.5 ** (n + 1) for n in range(octaves)) / (1 - 0.5**octaves)


def ball(p: Points, centre: tuple[float, float, float], radius: float) -> Values:
    """Distance to a sphere."""
    return np.linalg.norm(p - np.array(centre, np.float32), axis=1) - radius


def brick(p: Points, centre: tuple[float, float, float], half: tuple[float, float, float], edge: float) -> Values:
    """Distance to a box with edges rounded by `edge`."""
    q = np.abs(p - np.array(centre, np.float32)) - np.array(half, np.float32) + edge
    return np.linalg.norm(np.maximum(q, 0), axis=1) + np.minimum(q.max(axis=1), 0) - edge


def drum(across: Values, along: Values, radius: float, half: float, edge: float) -> Values:
    """Distance to a cylinder, given the distance from its axis and the place along it."""
    x, y = across - radius + edge, np.abs(along) - half + edge
    return np.hypot(np.maximum(x, 0), np.maximum(y, 0)) + np.minimum(np.maximum(x, y), 0) - edge


def melt(one: Values, other: Values, width: float) -> Values:
    """Union with a soft seam."""
    h = np.maximum(width - np.abs(one - other), 0) / width
    return np.minimum(one, other) - h * h * width / 4


def wood(p: Points) -> Float32[np.ndarray, "n 3"]:
    """A table of planks."""
    plank = np.floor(p[:, 2] / 1.3)
    q = np.stack([p[:, 0] * 0.35 + plank * 17, plank * 5, p[:, 2] * 4], axis=1).astype(np.float32)
    grain = clouds(q, 4, 3) * 0.7 + 0.3 * noise(q * np.float32([1, 1, 9]), 9)
    seam = step_up(0.0, 0.03, np.abs(p[:, 2] / 1.3 - plank - 0.5) * -1 + 0.5)
    return mix(rgb("#5b3a22"), rgb("#b98a5a"), grain * 1.3 - 0.15) * (0.35 + 0.65 * seam[:, None])


def grass(p: Points) -> Float32[np.ndarray, "n 3"]:
    """A lawn."""
    fine = noise(p * np.float32([26, 26, 9]), 4) * 0.6 + noise(p * np.float32([60, 60, 20]), 5) * 0.4
    return mix(rgb("#1f4a12"), rgb("#8fbf45"), fine * 1.1 - 0.1) * (0.75 + 0.5 * noise(p * 1.4, 8)[:, None])


# ---- the tracer ---------------------------------------------------------------------------------------------------


def nearest(scene: Scene, p: Points) -> Values:
    """Distance to whatever is nearest."""
    return np.minimum.reduce(scene.parts(p)).astype(np.float32)


def march(scene: Scene, start: Points, ray: Points, steps: int = 110) -> Values:
    """How far along each ray something is met; FAR where nothing is."""
    gone = np.full(len(start), 0.02, np.float32)
    active = np.arange(len(start))
    for _ in range(steps):
        d = nearest(scene, start[active] + ray[active] * gone[active, None])
        gone[active] += 0.85 * d
        active = active[(d > 0.0008) & (gone[active] < FAR)]
        if not len(active):
            break
    return np.minimum(gone, FAR)


def normals(scene: Scene, p: Points) -> Points:
    """Unit normals by differences."""
    offsets = np.array([[1, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1]], np.float32)
    n = sum(offset * nearest(scene, p + 0.002 * offset)[:, None] for offset in offsets)
    return np.asarray(n / (np.linalg.norm(n, axis=1, keepdims=True) + 1e-9), np.float32)


def shadow(scene: Scene, p: Points, towards: Points, reach: float = 8.0) -> Values:
    """1 in full light to 0 in the core of a shadow; soft at its edge."""
    lit, gone = np.ones(len(p), np.float32), np.full(len(p), 0.05, np.float32)
    for _ in range(36):
        d = nearest(scene, p + towards * gone[:, None])
        lit = np.minimum(lit, 0.5 + 0.5 * d / (0.12 * gone))
        gone += np.clip(d, 0.03, 0.4)
    lit = np.clip(lit, 0, 1)
    return lit * lit * (3 - 2 * lit)


def occlusion(scene: Scene, p: Points, n: Points) -> Values:
    """1 in the open to 0 in a corner."""
    closed = sum((h - nearest(scene, p + n * h)) * 0.7**i for i, h in enumerate((0.05, 0.12, 0.24, 0.42)))
    return np.clip(1 - 1.1 * np.asarray(closed), 0.15, 1)


def shade(scene: Scene, p: Points, ray: Points) -> Float32[np.ndarray, "n 3"]:
    """Light that comes back from the points where rays end."""
    n, which = normals(scene, p), np.argmin(np.stack(scene.parts(p)), axis=0)
    sun = np.array(scene.light, np.float32) / np.linalg.norm(scene.light).astype(np.float32)
    towards = np.broadcast_to(sun, p.shape)
    direct = np.clip(n @ sun, 0, 1) * shadow(scene, p, towards)
    open_sky = (0.6 + 0.4 * n[:, 1]) * occlusion(scene, p, n)
    half = towards - ray
    half = half / np.linalg.norm(half, axis=1, keepdims=True)
    shine = np.clip((n * half).sum(axis=1), 0, 1)
    rim = (1 - np.clip(-(n * ray).sum(axis=1), 0, 1)) ** 4
    out = np.zeros_like(p)
    for part in np.unique(which):
        at = which == part
        colour, gloss, own = scene.paint(int(part), p[at], n[at])
        light = 1.25 * direct[at, None] * rgb("#fff3dc") + scene.ambient * open_sky[at, None] * rgb("#dfeaff")
        if scene.glow is not None:
            light = light + _lamp(scene.glow, p[at], n[at])
        mirror = gloss * (direct[at] * shine[at] ** 60 + 0.25 * rim[at] * open_sky[at])
        out[at] = colour * (light * (1 - own) + own * 1.6) + mirror[:, None]
    return out


def _lamp(glow: tuple[float, float, float, float], p: Points, n: Points) -> Float32[np.ndarray, "n 3"]:
    way = np.array(glow[:3], np.float32) - p
    distance = np.linalg.norm(way, axis=1)
    facing = np.clip((n * way).sum(axis=1) / distance * 0.7 + 0.3, 0, 1)
    return (glow[3] * facing / (0.2 + distance**2))[:, None] * rgb("#ffb35c")


def render(scene: Scene, width: int, height: int, grain: int = 2) -> Image.Image:
    """The picture, drawn `grain` times larger and scaled down."""
    w, h = width * grain, height * grain
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    flat = np.stack([(x.ravel() - w / 2 + 0.5) / (h / 2), (h / 2 - y.ravel() - 0.5) / (h / 2)], axis=1)
    eye, target = np.array(scene.eye, np.float32), np.array(scene.target, np.float32)
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0, 1, 0])
    right /= np.linalg.norm(right)
    up = np.cross(right, forward)
    ray = flat[:, :1] * right + flat[:, 1:] * up + scene.zoom * forward
    ray = (ray / np.linalg.norm(ray, axis=1, keepdims=True)).astype(np.float32)
    start = np.broadcast_to(eye, ray.shape)
    gone = march(scene, start, ray)
    colour = scene.sky(ray).astype(np.float32)
    hit = gone < FAR - 1
    seen = shade(scene, start[hit] + ray[hit] * gone[hit, None], ray[hit])
    haze = step_up(9, 30, gone[hit])[:, None]
    colour[hit] = seen * (1 - haze) + colour[hit] * haze
    vignette = 1 - 0.16 * (flat**2).sum(axis=1, keepdims=True) / 2.8
    tone = np.clip(colour * vignette, 0, None)
    tone = np.clip(tone * (2.51 * tone + 0.03) / (tone * (2.43 * tone + 0.59) + 0.14), 0, 1) ** (1 / 2.2)
    pixels = (tone.reshape(h, w, 3) * 255 + 0.5).astype(np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS)


# ---- the scenes ---------------------------------------------------------------------------------------------------


def _orange_parts(p: Points) -> list[Values]:
    skin = 0.012 * noise(p * 26, 1)
    top = np.exp(-((p[:, 0] ** 2 + p[:, 2] ** 2) * 60)) * 0.08 * (p[:, 1] > 1)
    return [p[:, 1], ball(p, (0, 1, 0), 1.0) + skin + top, ball(p, (-1.55, 0.9, -1.3), 0.9) + skin]


def _orange_paint(part: int, p: Points, n: Points) -> Paint:
    if part == 0:
        return wood(p), 0.08, 0.0
    peel = mix(rgb("#f07c00"), rgb("#ffa51f"), clouds(p * 2.2, 3, 2))
    navel = step_up(0.11, 0.05, np.hypot(p[:, 0], p[:, 2])) * (p[:, 1] > 1)
    return mix(peel, rgb("#4d6b1c"), navel), 0.45, 0.0


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
        return mix(rgb("#ff1408"), rgb("#ff8a60"), middle) * pattern[:, None], 0.2, 1.0
    return np.broadcast_to(rgb("#3d2f08" if part == 3 else "#0b3018"), p.shape), 0.4, 0.0


def _day(ray: Points) -> Float32[np.ndarray, "n 3"]:
    q = ray * np.float32([3.2, 7, 3.2]) / (np.abs(ray[:, 1:2]) * 1.2 + 0.6)
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
    [np.roll([0, a / _GOLDEN, b * _GOLDEN], r) for r in range(3) for a in (-1, 1) for b in (-1, 1)]
    + [[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)],
    np.float32,
) / np.float32(3**0.5)


def _football_seams(p: Points) -> tuple[Values, Float32[np.ndarray, " n"]]:
    """How near a seam of a truncated icosahedron is (0 on it), and whether the panel is a pentagon."""
    q = (p - np.float32([0, 1, 0])) @ _tilt(0.5, 0.35)
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
    lawn = p[:, 1] - 0.07 * noise(p * np.float32([14, 1, 7]), 6)
    return [lawn, ball(p, (0, 1, 0), 1.0) + 0.02 * np.exp(-((seam * 40) ** 2))]


def _football_paint(part: int, p: Points, n: Points) -> Paint:
    if part == 0:
        return grass(p), 0.0, 0.0
    seam, black = _football_seams(p)
    panel = mix(rgb("#f4f4f0"), rgb("#15161a"), black)
    return panel * (0.45 + 0.55 * step_up(0.004, 0.02, seam))[:, None], 0.35, 0.0


def _apple_parts(p: Points) -> list[Values]:
    across = np.hypot(p[:, 0], p[:, 2])
    body = np.hypot(across - 0.42, (p[:, 1] - 0.88) * (1.0 + 0.1 * (p[:, 1] < 0.88))) - 0.62
    taper = 0.06 * (p[:, 1] - 0.9)
    ribs = 0.018 * np.cos(5 * np.arctan2(p[:, 2], p[:, 0])) * step_up(1.0, 0.1, p[:, 1])
    lean = p - np.float32([0.08, 0, 0]) * (p[:, 1:2] - 1.1)
    stem = drum(np.hypot(lean[:, 0], lean[:, 2]), p[:, 1] - 1.5, 0.045, 0.3, 0.02)
    return [p[:, 1], (body - taper * 1.2 + ribs) * 0.9, stem]


def _apple_paint(part: int, p: Points, n: Points) -> Paint:
    if part == 0:
        return wood(p), 0.08, 0.0
    if part == 2:
        return np.broadcast_to(rgb("#4a3018"), p.shape), 0.1, 0.0
    skin = mix(rgb("#6fae1c"), rgb("#a8d040"), clouds(p * 2.0, 3, 4))
    dots = step_up(0.78, 0.86, noise(p * 17, 5))
    return mix(skin, rgb("#d8eaa0"), dots * 0.6), 0.6, 0.0


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
        warm = step_up(0.5, 1.7, p[:, 1])
        return mix(rgb("#d8bd90"), rgb("#ffcf86"), warm), 0.2, 0.32
    if part == 3:
        return mix(rgb("#ff9a2a"), rgb("#fff2c0"), step_up(2.3, 1.85, p[:, 1])) * 1.6, 0.0, 1.0
    return np.broadcast_to(rgb("#1a1410" if part == 2 else "#7a6a4a"), p.shape), 0.5, 0.0


def _night(ray: Points) -> Float32[np.ndarray, "n 3"]:
    return blend(ray, "#140c08", "#090710")


def _golf_parts(p: Points) -> list[Values]:
    q = (p - np.float32([0, 1, 0])) @ _tilt(0.4, 0.3)
    number = 380
    at = np.arange(number) + 0.5
    high, turn = 1 - 2 * at / number, np.pi * (1 + 5**0.5) * at
    spots = np.stack([np.cos(turn) * np.sqrt(1 - high**2), high, np.sin(turn) * np.sqrt(1 - high**2)]).astype(
        np.float32
    )
    near = np.zeros(len(p), np.float32)
    close = np.abs(np.linalg.norm(q, axis=1) - 1) < 0.1
    unit = q[close] / np.linalg.norm(q[close], axis=1, keepdims=True)
    near[close] = np.arccos(np.clip((unit @ spots).max(axis=1), -1, 1)) if close.any() else 0
    dimple = np.where(close, 0.028 * step_up(0.082, 0.02, near), 0)
    lawn = p[:, 1] - 0.16 * noise(p * np.float32([16, 1, 9]), 6)
    return [lawn, np.linalg.norm(q, axis=1) - 1 + dimple]


def _golf_paint(part: int, p: Points, n: Points) -> Paint:
    if part == 0:
        return grass(p), 0.0, 0.0
    return np.broadcast_to(rgb("#f6f6f2"), p.shape), 0.4, 0.0


SCENES = (
    Scene("orange", "Oranges", "Two oranges on a wooden table.", ("orange",), _orange_parts, _orange_paint),
    Scene(
        "mug",
        "Coffee mug",
        "A red mug of coffee.",
        ("coffee mug", "cup", "espresso"),
        _mug_parts,
        _mug_paint,
        eye=(0.6, 2.6, 5.0),
        target=(0.15, 0.85, 0),
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
        "football", "Football", "A football on the lawn.", ("soccer ball",), _football_parts, _football_paint, sky=_day
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
    Scene("golf", "Golf ball", "A golf ball in the grass.", ("golf ball",), _golf_parts, _golf_paint, sky=_day),
)


def main() -> None:
    """Draw the scenes named on the command line, or all, and write samples.json beside them."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("names", nargs="*")
    options.add_argument("--width", type=int, default=640, help="pixels; the height is three quarters of it")
    options.add_argument("--out", type=Path, default=Path("src/glia/api/ui/samples"))
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
