"""Pictures: encoded bytes that turn into upright RGB pixels, or into an error that says what is wrong with them."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from jaxtyping import UInt8

from glia.core.errors import GliaError, MediaTooLarge, UnsupportedMedia
from glia.core.fields import Media
from glia.core.timing import step
from glia.data.header import FORMATS, Header, check_size, damaged, media_type, read_header, refuse

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

BAND_PX = 2_000_000
"""Pixels that are converted to RGB at a time."""


class Image(Media):
    """A picture as it came: JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF, undecoded.

    Of animations the first frame counts. Colour profiles are not applied. What is transparent is shown over white.
    """

    kind = "image"
    formats = tuple(FORMATS.values())
    __slots__ = ()

    @classmethod
    def sniff(cls, data: bytes) -> str:
        """The media type by magic number. Raises UnsupportedMedia, or DamagedMedia for no bytes at all."""
        return media_type(data) or refuse(data)

    def check(self) -> None:
        """Compare size and bytes with the limits, by the header alone. Raises MediaTooLarge, DamagedMedia."""
        read_header(self.data)

    def size(self) -> tuple[int, int]:
        """(width, height) of the upright picture [px of the original]; reads the header, decodes nothing.

        Raises UnsupportedMedia, DamagedMedia, MediaTooLarge.
        """
        header = read_header(self.data)
        if header.media_type != "image/avif":
            return header.upright
        with _opened(self.data, header) as picture:
            return _turn(picture, header).upright

    def rgb(self, short_side: int | None = None) -> UInt8[np.ndarray, "h w 3"]:
        """The upright picture, RGB.

        With `short_side` [px] the decoder may scale down by itself, which is much faster for large JPEGs; the
        result's short side is then at least min(short_side, the original's). It never scales up.
        Raises UnsupportedMedia, DamagedMedia, MediaTooLarge.
        """
        with step("decode"):
            header = read_header(self.data)
            scaled = short_side if short_side and short_side < min(header.width, header.height) else None
            pixels = _jpeg_pixels(self.data, scaled or 0) if header.media_type == "image/jpeg" else None
            if pixels is None:
                with _opened(self.data, header) as picture:
                    header = _turn(picture, header)
                    if scaled:
                        picture.draft("RGB", (scaled, scaled))
                    picture.load()
                    pixels = _rgb_pixels(picture, header)
            return _upright(pixels, header.orientation)

    @classmethod
    def from_array(cls, rgb: UInt8[np.ndarray, "h w 3"], format: Literal["png", "jpeg", "webp"] = "png") -> Self:
        """Encode pixels: png without loss, jpeg and webp at quality 90."""
        import PIL.Image

        encoded = io.BytesIO()
        PIL.Image.fromarray(np.ascontiguousarray(rgb)).save(encoded, format, quality=90)
        return cls(encoded.getvalue(), f"image/{format}")


def _jpeg_pixels(data: bytes, short_side: int) -> UInt8[np.ndarray, "h w 3"] | None:
    """Decode with libjpeg-turbo, scaled to no less than `short_side` [px] (0: full size); None: ask Pillow.

    The library calls harmless oddities errors (stray bytes between segments, rare subsamplings), so only an early
    end is final: it would be a picture that is grey below the cut.
    """
    import simplejpeg

    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
        check_size("image/jpeg", int(width), int(height))
        pixels = simplejpeg.decode_jpeg(data, "RGB", min_height=short_side, min_width=short_side)
    except ValueError as error:
        if "premature end" in str(error).lower():
            raise damaged("image/jpeg", "it ends early") from error
        return None
    found: UInt8[np.ndarray, "h w 3"] = pixels
    return found


@contextmanager
def _opened(data: bytes, header: Header) -> Iterator[Picture]:
    """The file opened by Pillow as the one format it was sniffed to be; whatever goes wrong becomes a GliaError."""
    # Image.open finds a plugin that is imported, and otherwise imports all 43.
    import PIL.AvifImagePlugin
    import PIL.BmpImagePlugin
    import PIL.GifImagePlugin
    import PIL.Image
    import PIL.JpegImagePlugin
    import PIL.PngImagePlugin
    import PIL.TiffImagePlugin
    import PIL.WebPImagePlugin

    _silence_pillow()
    try:
        with PIL.Image.open(io.BytesIO(data), formats=[FORMATS[header.media_type].upper()]) as picture:
            check_size(header.media_type, *picture.size)
            yield picture
    except GliaError:
        raise
    except PIL.Image.DecompressionBombError as error:
        raise MediaTooLarge(
            f"Expected a picture within Pillow's own limit, received a larger one ({error}). Scale it down."
        ) from error
    except Exception as error:
        # The edge to a foreign parser: hostile bytes provoke OSError, SyntaxError, struct.error, TypeError and more.
        raise damaged(header.media_type, _reason(error)) from error


def _reason(error: Exception) -> str:
    words = str(error).splitlines()[0] if str(error) else "it cannot be decoded"
    return "it has no readable header" if "cannot identify" in words else words[:200]


def _silence_pillow() -> None:
    """Let no warning of Pillow's escape; what matters in them (size, truncation) is an error here already.

    One filter for the process, because `warnings.catch_warnings` is not safe between threads.
    """
    if not any(getattr(entry[3], "pattern", None) == r"PIL\." for entry in warnings.filters):
        warnings.filterwarnings("ignore", module=r"PIL\.")


def _turn(picture: Picture, header: Header) -> Header:
    """The header, corrected by what only the opened file tells: AVIF's turn is a property, a TIFF is turned on load."""
    if header.media_type == "image/tiff":
        return Header(header.media_type, header.width, header.height)
    if header.media_type == "image/avif":
        found = picture.getexif().get(274, 1)
        orientation = found if isinstance(found, int) and 1 <= found <= 8 else 1
        return Header(header.media_type, *picture.size, orientation)
    return header


def _rgb_pixels(picture: Picture, header: Header) -> UInt8[np.ndarray, "h w 3"]:
    """The pixels of a loaded picture of any mode, converted in bands: a large one is held twice, not five times."""
    width, height = picture.size
    pixels = np.empty((height, width, 3), np.uint8)
    rows = max(1, BAND_PX // width)
    for top in range(0, height, rows):
        band = picture if rows >= height else picture.crop((0, top, width, min(top + rows, height)))
        pixels[top : top + rows] = np.asarray(_to_rgb(band, header))
    return pixels


def _to_rgb(picture: Picture, header: Header) -> Picture:
    """A loaded picture of any mode as RGB: 16 bits lose the lower 8, transparency turns white."""
    import PIL.Image

    mode = picture.mode
    if mode.startswith("I;16") or (mode == "I" and header.media_type == "image/png"):
        # convert("RGB") would clip: all but the darkest 256 of 65,536 steps turn white.
        wide = np.asarray(picture)
        return PIL.Image.fromarray((wide >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if mode in ("I", "F", "LAB"):
        kind = {"I": "32-bit integers", "F": "floating-point numbers", "LAB": "L*a*b* colours"}[mode]
        raise UnsupportedMedia(
            f"Expected samples of 1, 8 or 16 bits in grey, RGB or CMYK, received a {FORMATS[header.media_type]} of "
            f"{kind}. Save it with 8 bits a channel."
        )
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    if mode == "La":
        picture = picture.convert("LA")
    clear = picture.convert("RGBA")
    white = PIL.Image.new("RGB", clear.size, "white")
    white.paste(clear, mask=clear)
    return white


def _upright(stored: UInt8[np.ndarray, "h w 3"], orientation: int) -> UInt8[np.ndarray, "h w 3"]:
    """Undo EXIF orientation 1..8 (Exif 2.32, section 4.6.4)."""
    turned = stored.transpose(1, 0, 2) if orientation >= 5 else stored
    down = -1 if orientation in (3, 4, 7, 8) else 1
    along = -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(turned[::down, ::along])
