"""A small sphere tracer in numpy: signed distances and paint in, a lit picture with soft shadows out.

Source: J. C. Hart, Sphere tracing (The Visual Computer 12, 1996); soft shadows and occlusion after I. Quilez.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32
from PIL import Image

Points = Float32[np.ndarray, "n 3"]
Values = Float32[np.ndarray, " n"]
Paint = tuple[Float32[np.ndarray, "n 3"], float, float]
"""Colour (linear, 0..1), gloss (0..1), and how much of it shines by itself (0..1)."""

FAR = 40.0


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
    zoom: float = 2.55
    light: tuple[float, float, float] = (-0.55, 0.8, 0.45)
    sky: Callable[[Points], Float32[np.ndarray, "n 3"]] = field(default=lambda ray: blend(ray, "#b7a48e", "#efe6da"))
    ambient: float = 0.45
    glow: tuple[float, float, float, float] | None = None
    """A lamp inside the scene: x, y, z, strength."""


# ---- shapes and colours -------------------------------------------------------------------------------------------


def vec(*values: float) -> Float32[np.ndarray, " n"]:
    """A vector in single precision."""
    return np.array(values, np.float32)


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
    return np.asarray(
        sum(noise(p * 2.0**n, seed + n) * 0.5 ** (n + 1) for n in range(octaves)) / (1 - 0.5**octaves), np.float32
    )


def ball(p: Points, centre: tuple[float, float, float], radius: float) -> Values:
    """Distance to a sphere."""
    return np.asarray(np.linalg.norm(p - np.array(centre, np.float32), axis=1) - radius, np.float32)


def brick(p: Points, centre: tuple[float, float, float], half: tuple[float, float, float], edge: float) -> Values:
    """Distance to a box with edges rounded by `edge`."""
    q = np.abs(p - np.array(centre, np.float32)) - np.array(half, np.float32) + edge
    return np.asarray(np.linalg.norm(np.maximum(q, 0), axis=1) + np.minimum(q.max(axis=1), 0) - edge, np.float32)


def drum(across: Values, along: Values, radius: float, half: float, edge: float) -> Values:
    """Distance to a cylinder, given the distance from its axis and the place along it."""
    x, y = across - radius + edge, np.abs(along) - half + edge
    return np.asarray(np.hypot(np.maximum(x, 0), np.maximum(y, 0)) + np.minimum(np.maximum(x, y), 0) - edge, np.float32)


def melt(one: Values, other: Values, width: float) -> Values:
    """Union with a soft seam."""
    h = np.maximum(width - np.abs(one - other), 0) / width
    return np.asarray(np.minimum(one, other) - h * h * width / 4, np.float32)


def wood(p: Points) -> Float32[np.ndarray, "n 3"]:
    """A table of planks."""
    plank = np.floor(p[:, 2] / 1.3)
    q = np.stack([p[:, 0] * 0.35 + plank * 17, plank * 5, p[:, 2] * 4], axis=1).astype(np.float32)
    grain = clouds(q, 4, 3) * 0.7 + 0.3 * noise(q * vec(1, 1, 9), 9)
    seam = step_up(0.0, 0.03, np.abs(p[:, 2] / 1.3 - plank - 0.5) * -1 + 0.5)
    return mix(rgb("#5b3a22"), rgb("#b98a5a"), grain * 1.3 - 0.15) * (0.35 + 0.65 * seam[:, None])


def grass(p: Points) -> Float32[np.ndarray, "n 3"]:
    """A lawn."""
    fine = noise(p * vec(26, 26, 9), 4) * 0.6 + noise(p * vec(60, 60, 20), 5) * 0.4
    return mix(rgb("#1f4a12"), rgb("#8fbf45"), fine * 1.1 - 0.1) * (0.75 + 0.5 * noise(p * 1.4, 8)[:, None])


# ---- the tracer ---------------------------------------------------------------------------------------------------


def nearest(scene: Scene, p: Points) -> Values:
    """Distance to whatever is nearest."""
    return np.asarray(np.minimum.reduce(scene.parts(p)).astype(np.float32), np.float32)


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
    return np.asarray((glow[3] * facing / (0.2 + distance**2))[:, None] * rgb("#ffb35c"), np.float32)


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
    if scene.glow is not None:
        near = ray @ ((vec(*scene.glow[:3]) - eye) / np.linalg.norm(vec(*scene.glow[:3]) - eye))
        halo = 0.22 * np.exp((near - 1) * 320) + 0.10 * np.exp((near - 1) * 40)
        colour += halo[:, None] * rgb("#ff9a3c")
    vignette = 1 - 0.16 * (flat**2).sum(axis=1, keepdims=True) / 2.8
    tone = np.clip(colour * vignette, 0, None)
    tone = np.clip(tone * (2.51 * tone + 0.03) / (tone * (2.43 * tone + 0.59) + 0.14), 0, 1) ** (1 / 2.2)
    pixels = (tone.reshape(h, w, 3) * 255 + 0.5).astype(np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS)
