"""From a picture of any size to the planes a network takes: crop, resize, normalise, as its card says."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from jaxtyping import Float32, Shaped
from pydantic import BaseModel, ConfigDict, Field, model_validator

from glia.core.timing import step
from glia.data.image import Image

Colour = tuple[float, float, float]


class ImagePreprocessing(BaseModel):
    """How one network wants its pictures; part of its card, shared by training, evaluation and serving."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: tuple[int, int] = Field(description="(height, width) of the network's input [px].")
    crop: float = Field(1.0, gt=0, le=1, description="Share of the short side that the central crop keeps.")
    order: Literal["crop-then-resize", "resize-then-crop"] = Field(
        "crop-then-resize", description="What the network was trained with; the two differ by rounding to whole pixels."
    )
    interpolation: Literal["bilinear", "bicubic", "lanczos", "nearest"] = "bilinear"
    colour: Literal["rgb", "bgr"] = "rgb"
    mean: Colour = Field((0.0, 0.0, 0.0), description="Subtracted; of 0..255, in the order of `colour`.")
    std: Colour = Field((1.0, 1.0, 1.0), description="Divided by, after `mean`; of 0..255, in the order of `colour`.")
    layout: Literal["nchw", "nhwc"] = Field("nchw", description="Whether the network takes planes, or pixels.")
    dtype: Literal["float32", "uint8"] = "float32"

    @model_validator(mode="after")
    def _positive(self) -> ImagePreprocessing:
        if min(self.size) < 1:
            raise ValueError(f"Expected a size (height, width) of at least 1 x 1 pixels, received {self.size}.")
        if min(self.std) <= 0 or not all(map(math.isfinite, self.mean + self.std)):
            raise ValueError(f"Expected finite mean and std with std above 0, received {self.mean} and {self.std}.")
        return self


Region = tuple[float, float, float, float]
"""Left, top, right, bottom [px of the picture at hand]; fractions allowed."""


def region(width: int, height: int, how: ImagePreprocessing) -> Region:
    """The part of a `width` x `height` picture that becomes the network's input.

    crop-then-resize: the largest central rectangle of the input's shape, times `crop`, not rounded.
    resize-then-crop: where the central pixels lie of the picture resized so that its short side is
    round(size / crop), for a square input; the one resize from here equals resize, then crop.
    """
    high, wide = how.size
    if how.order == "crop-then-resize":
        scale = min(width / wide, height / high) * how.crop
        left, top = (width - wide * scale) / 2, (height - high * scale) / 2
        return left, top, left + wide * scale, top + high * scale
    least_wide, least_high = round(wide / how.crop), round(high / how.crop)
    grown = max(least_wide / width, least_high / height)
    resized_w, resized_h = max(least_wide, int(width * grown)), max(least_high, int(height * grown))
    left, top = round((resized_w - wide) / 2), round((resized_h - high) / 2)
    per_x, per_y = width / resized_w, height / resized_h
    return left * per_x, top * per_y, (left + wide) * per_x, (top + high) * per_y


def pixels_for(image: Image, how: ImagePreprocessing) -> Shaped[np.ndarray, "a b c"]:
    """A picture as a network takes it: `planes`, in the layout and type that it wants.

    Raises UnsupportedMedia, DamagedMedia, MediaTooLarge.
    """
    found = planes(image, how)
    if how.layout == "nhwc":
        found = np.ascontiguousarray(found.transpose(1, 2, 0))
    return found if how.dtype == "float32" else np.rint(found).clip(0, 255).astype(np.uint8)


def planes(image: Image, how: ImagePreprocessing) -> Float32[np.ndarray, "3 h w"]:
    """Decode just enough pixels, crop and resize in one step, normalise: (x - mean) / std.

    Raises UnsupportedMedia, DamagedMedia, MediaTooLarge.
    """
    high, wide = how.size
    pixels = image.rgb(short_side=math.ceil(max(high, wide) / how.crop))
    with step("resize"):
        import PIL.Image

        filters = PIL.Image.Resampling
        filter = {
            "bilinear": filters.BILINEAR,
            "bicubic": filters.BICUBIC,
            "lanczos": filters.LANCZOS,
            "nearest": filters.NEAREST,
        }[how.interpolation]
        height, width = pixels.shape[:2]
        left, top, right, bottom = region(width, height, how)
        box = max(0.0, left), max(0.0, top), min(width, right), min(height, bottom)  # rounding may lead a hair outside
        small = np.asarray(PIL.Image.fromarray(pixels).resize((wide, high), filter, box=box))
        if how.colour == "bgr":
            small = small[..., ::-1]
        mean, std = (np.asarray(each, np.float32)[:, None, None] for each in (how.mean, how.std))
        result = np.empty((3, high, wide), np.float32)
        np.subtract(small.transpose(2, 0, 1), mean, out=result)
        return np.divide(result, std, out=result)
