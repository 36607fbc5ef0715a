"""The pictures of the benchmark, made of the repository's own drawings and of seeded texture.

A drawing alone compresses far better than a photo, and entropy decoding is most of what a JPEG costs. So texture of a
photo's spectrum (amplitude over frequency, down to single pixels) is laid over the enlarged drawing, as strong as it
takes for the file to have the size that its name states; the strength is found by bisection, so the sizes hold for any
JPEG library within a percent.

    python -m benchmarks.pictures FOLDER
"""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

SAMPLES = Path(__file__).parent.parent / "src/glia/store/samples"
SIZE_TOLERANCE = 0.05


@dataclass(frozen=True)
class Picture:
    """One file of the benchmark: 4:2:0, quality 75."""

    name: str
    sample: str
    width: int
    height: int
    kilobytes: float
    shows: str
    """What is drawn: the best answer of a network that works."""
    seed: int


PICTURES = (
    Picture("detailed-187kB", "mug", 1280, 960, 187, "coffee mug", 1),
    Picture("smooth-95kB", "mug", 1280, 960, 95, "coffee mug", 2),
    Picture("small-10kB", "mug", 320, 240, 10, "coffee mug", 3),
    Picture("medium-100kB", "mug", 960, 720, 100, "coffee mug", 4),
    Picture("large-1000kB", "mug", 2880, 2160, 1000, "coffee mug", 5),
)


def texture(width: int, height: int, seed: int) -> np.ndarray:
    """Noise of mean 0 and deviation 1 whose amplitude falls with frequency as in photos; float32 HW1."""
    draw = np.random.default_rng(seed)
    spectrum = np.fft.rfft2(draw.standard_normal((height, width), dtype=np.float32))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None] * height, np.fft.rfftfreq(width)[None] * width)
    spectrum /= np.maximum(frequency, 8)  # nothing as wide as the drawing: that would change what it shows
    spectrum[0, 0] = 0
    plane = np.fft.irfft2(spectrum, (height, width))
    return (plane / plane.std()).astype(np.float32)[..., None]


def drawing(sample: str, width: int, height: int) -> np.ndarray:
    """One of the repository's drawings at a size; float32 HWC, RGB, 0..255."""
    with Image.open(SAMPLES / f"{sample}.jpg") as picture:
        return np.asarray(picture.convert("RGB").resize((width, height), Image.Resampling.BICUBIC), np.float32)


def encode(pixels: np.ndarray, format: str = "jpeg", quality: int = 75) -> bytes:
    """The file: JPEG 4:2:0, or lossy WebP, or PNG."""
    kept = io.BytesIO()
    options = {"subsampling": 2} if format == "jpeg" else {}
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(kept, format, quality=quality, **options)
    return kept.getvalue()


def make(picture: Picture) -> bytes:
    """The picture's file, of its size. The same on every call."""
    plain = drawing(picture.sample, picture.width, picture.height)
    rough = texture(picture.width, picture.height, picture.seed)
    low, high = 0.0, 64.0
    for _ in range(12):
        strength = (low + high) / 2
        data = encode(plain + strength * rough)
        if len(data) > picture.kilobytes * 1000:
            high = strength
        else:
            low = strength
    off = len(data) / (picture.kilobytes * 1000) - 1
    assert abs(off) < SIZE_TOLERANCE, f"{picture.name}: {len(data)} bytes, {off:+.1%} of what its name states"
    return data


def write_all(folder: Path) -> dict[str, Path]:
    """Every picture, by name; made once."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {picture.name: folder / f"{picture.name}.jpg" for picture in PICTURES}
    for picture in PICTURES:
        if not files[picture.name].exists():
            files[picture.name].write_bytes(make(picture))
    return files


def main() -> None:
    """Write them, and say how large each is."""
    for name, file in write_all(Path(sys.argv[1])).items():
        sys.stdout.write(f"{name}: {file.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
