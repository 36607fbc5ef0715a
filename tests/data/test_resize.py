"""From picture to planes, compared with slow and obvious references."""

import math
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from pydantic import ValidationError

from glia.data.image import Image
from glia.data.resize import ImagePreprocessing, planes, region

NOISE = np.random.default_rng(5).integers(0, 256, (70, 101, 3), np.uint8)


def filtered(row: np.ndarray, start: float, end: float, count: int) -> np.ndarray:
    """Bilinear resize of the part start..end of a row [count_in, 3]: a triangle as wide as the scale, one by one."""
    scale = (end - start) / count
    reach = max(scale, 1.0)
    out = np.empty((count, 3))
    for index in range(count):
        centre = start + (index + 0.5) * scale
        first, last = max(0, int(centre - reach + 0.5)), min(len(row), int(centre + reach + 0.5))
        weights = np.array([max(0.0, 1 - abs(at + 0.5 - centre) / reach) for at in range(first, last)])
        out[index] = weights @ row[first:last] / weights.sum()
    return np.clip(np.floor(out + 0.5), 0, 255)


def slow(rgb: np.ndarray, box: tuple[float, float, float, float], size: tuple[int, int]) -> np.ndarray:
    """Rows first, then columns, rounded to whole levels after each."""
    left, top, right, bottom = box
    wide = np.stack([filtered(row.astype(float), left, right, size[1]) for row in rgb])
    return np.stack([filtered(column, top, bottom, size[0]) for column in wide.transpose(1, 0, 2)], axis=1)


@pytest.mark.parametrize("size", [(32, 32), (20, 48), (48, 20), (90, 90)])
@pytest.mark.parametrize("crop", [1.0, 0.875, 0.5])
def test_crop_then_resize_equals_the_slow_reference(size: tuple[int, int], crop: float) -> None:
    how = ImagePreprocessing(size=size, crop=crop)
    found = planes(Image.from_array(NOISE), how)
    scale = min(101 / size[1], 70 / size[0]) * crop
    half_w, half_h = size[1] * scale / 2, size[0] * scale / 2
    box = (50.5 - half_w, 35 - half_h, 50.5 + half_w, 35 + half_h)
    difference = np.abs(found - slow(NOISE, box, size).transpose(2, 0, 1))
    # Pillow's weights are fixed-point: where a sum lies midway between two levels it may round the other way.
    assert difference.max() <= 1
    assert (difference > 1e-5).mean() < 0.06


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos", "nearest"])
@pytest.mark.parametrize("shape", [(70, 101), (101, 70), (64, 64), (300, 61)])
def test_resize_then_crop_in_one_step_equals_two_steps(interpolation: Any, shape: tuple[int, int]) -> None:
    rgb = np.random.default_rng(6).integers(0, 256, (*shape, 3), np.uint8)
    how = ImagePreprocessing(size=(28, 28), crop=0.875, order="resize-then-crop", interpolation=interpolation)
    found = planes(Image.from_array(rgb), how)

    short = round(28 / 0.875)
    width, height = shape[1], shape[0]
    resized = (short, int(short * height / width)) if width <= height else (int(short * width / height), short)
    whole = Pillow.fromarray(rgb).resize(resized, Pillow.Resampling[interpolation.upper()])
    left, top = round((resized[0] - 28) / 2), round((resized[1] - 28) / 2)
    expected = np.asarray(whole.crop((left, top, left + 28, top + 28)), np.float32).transpose(2, 0, 1)
    difference = np.abs(found - expected)
    if interpolation == "nearest":  # a centre that lies on the edge between two pixels may take either
        assert (difference > 1e-5).mean() < 0.05
    else:
        assert difference.max() <= 1
        assert (difference > 1e-5).mean() < 2e-3


@pytest.mark.parametrize("colour", ["rgb", "bgr"])
def test_planes_are_normalised_in_the_order_of_their_colours(colour: Any) -> None:
    mean, std = (104.0, 117.0, 123.0), (2.0, 4.0, 8.0)
    how = ImagePreprocessing(size=(70, 70), colour=colour, mean=mean, std=std)
    square = np.ascontiguousarray(NOISE[:, :70])
    found = planes(Image.from_array(square), how)
    assert found.shape == (3, 70, 70)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    for plane in range(3):
        source = square[..., plane if colour == "rgb" else 2 - plane].astype(np.float32)
        np.testing.assert_allclose(found[plane], (source - mean[plane]) / std[plane], atol=1e-5)


def test_a_large_photo_decoded_at_a_smaller_scale_gives_nearly_the_same_planes(monkeypatch: pytest.MonkeyPatch) -> None:
    y, x = np.mgrid[0:960, 0:1280]
    waves = 127 + 120 * np.stack([np.sin(x / 40), np.cos(y / 50), np.sin((x + y) / 60)], axis=-1)
    image = Image.from_array(waves.astype(np.uint8), "jpeg")
    how = ImagePreprocessing(size=(224, 224), crop=0.875, interpolation="bicubic")
    asked: list[int | None] = []
    full = image.rgb()

    def whole(self: Image, short_side: int | None = None) -> np.ndarray:
        asked.append(short_side)
        return full

    scaled = planes(image, how)
    monkeypatch.setattr(Image, "rgb", whole)
    assert np.abs(scaled - planes(image, how)).mean() < 2
    assert asked == [256]


@pytest.mark.parametrize("size", [(224, 224), (96, 200), (200, 96)])
@pytest.mark.parametrize("shape", [(480, 640), (640, 480), (2_000, 300)])
@pytest.mark.parametrize("order", ["crop-then-resize", "resize-then-crop"])
def test_the_short_side_asked_for_is_enough_never_to_scale_up(
    size: tuple[int, int], shape: tuple[int, int], order: Any
) -> None:
    how = ImagePreprocessing(size=size, crop=0.875, order=order)
    asked = math.ceil(max(size) / how.crop)
    shrink = min(1.0, asked / min(shape))
    height, width = math.ceil(shape[0] * shrink), math.ceil(shape[1] * shrink)
    left, top, right, bottom = region(width, height, how)
    assert right - left >= size[1] - 1
    assert bottom - top >= size[0] - 1
    assert left >= 0
    assert top >= 0
    assert right <= width + 1e-6
    assert bottom <= height + 1e-6


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (7, 5)])
@pytest.mark.parametrize("order", ["crop-then-resize", "resize-then-crop"])
def test_tiny_and_thin_pictures_have_planes_too(shape: tuple[int, int], order: Any) -> None:
    rgb = np.full((*shape, 3), 77, np.uint8)
    found = planes(Image.from_array(rgb), ImagePreprocessing(size=(8, 8), crop=0.5, order=order))
    np.testing.assert_array_equal(found, np.full((3, 8, 8), 77, np.float32))


@pytest.mark.parametrize(
    "wrong",
    [{"size": (0, 5)}, {"size": (5, 5), "crop": 0}, {"size": (5, 5), "std": (1, 0, 1)}, {"size": (5, 5), "scale": 2}],
)
def test_impossible_preprocessing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ImagePreprocessing.model_validate(wrong)
