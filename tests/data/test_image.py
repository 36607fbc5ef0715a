"""Pictures: sniffing, size, orientation, colour modes, scaled decoding, limits."""

import io
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import simplejpeg
from PIL import Image as Pillow

from glia.core.errors import DamagedMedia, MediaTooLarge, UnsupportedMedia
from glia.core.timing import timed
from glia.data.image import Image, _upright
from glia.data.limits import Limits, limits, set_limits


def smooth(height: int = 60, width: int = 90) -> np.ndarray:
    """A picture whose four corners differ, without detail that a lossy encoder would lose."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, 128 + 0 * x], axis=-1).astype(np.uint8)


def saved(picture: Pillow.Image, format: str, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, format, **options)
    return out.getvalue()


@pytest.fixture
def restored() -> Iterator[None]:
    before = limits()
    yield
    set_limits(before)


ALL = [
    ("JPEG", {"quality": 95}, "image/jpeg", 2.0),
    ("PNG", {}, "image/png", 0.0),
    ("WEBP", {"lossless": True}, "image/webp", 0.0),
    ("BMP", {}, "image/bmp", 0.0),
    ("TIFF", {}, "image/tiff", 0.0),
    ("TIFF", {"compression": "tiff_lzw"}, "image/tiff", 0.0),
    ("AVIF", {"quality": 95, "speed": 10}, "image/avif", 2.0),
]


@pytest.mark.parametrize(("format", "options", "media_type", "tolerance"), ALL)
def test_every_format_is_sniffed_measured_and_decoded(
    format: str, options: dict[str, Any], media_type: str, tolerance: float
) -> None:
    rgb = smooth()
    image = Image(saved(Pillow.fromarray(rgb), format, **options))
    assert image.content_type == media_type
    assert image.size() == (90, 60)
    found = image.rgb()
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    assert found.flags.writeable
    assert np.abs(found.astype(int) - rgb).mean() <= tolerance


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_orientation_is_undone_in_every_format_that_has_one(format: str, orientation: int) -> None:
    exif = Pillow.Exif()
    exif[274] = orientation
    stored = smooth()
    image = Image(saved(Pillow.fromarray(stored), format, exif=exif))
    expected = _turned_by_definition(stored, orientation)
    assert image.size() == (expected.shape[1], expected.shape[0])
    assert np.abs(image.rgb().astype(int) - expected).mean() < 4


def _turned_by_definition(stored: np.ndarray, orientation: int) -> np.ndarray:
    """Exif 2.32: where the 0th row and the 0th column of what is stored belong."""
    return {
        1: stored,
        2: np.fliplr(stored),
        3: np.rot90(stored, 2),
        4: np.flipud(stored),
        5: stored.transpose(1, 0, 2),
        6: np.rot90(stored, -1),
        7: np.rot90(stored, 2).transpose(1, 0, 2),
        8: np.rot90(stored, 1),
    }[orientation]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_by_strides_equals_turning_by_definition(orientation: int) -> None:
    stored = smooth(3, 5)
    np.testing.assert_array_equal(_upright(stored, orientation), _turned_by_definition(stored, orientation))


@pytest.mark.parametrize("short_side", [1, 50, 100, 224, 255, 256, 257, 480, 600, 5_000])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_scaled_decode_is_never_smaller_than_asked_nor_larger_than_the_original(
    short_side: int, orientation: int
) -> None:
    exif = Pillow.Exif()
    exif[274] = orientation
    rgb = Image(saved(Pillow.fromarray(smooth(480, 640)), "JPEG", exif=exif)).rgb(short_side=short_side)
    assert min(short_side, 480) <= min(rgb.shape[:2]) <= 480
    assert (rgb.shape[0] > rgb.shape[1]) == (orientation == 6)


def test_without_a_short_side_even_a_flat_strip_is_decoded_in_full() -> None:
    assert Image(saved(Pillow.new("RGB", (600, 4)), "JPEG")).rgb().shape == (4, 600, 3)


@pytest.mark.parametrize("sampling", ["444", "422", "420", "440", "411", "Gray"])
def test_every_chroma_subsampling_is_read(sampling: str) -> None:
    rgb = smooth(64, 96)
    source = rgb if sampling != "Gray" else np.ascontiguousarray(rgb[..., :1])
    colours = "RGB" if sampling != "Gray" else "GRAY"
    found = Image(simplejpeg.encode_jpeg(source, 95, colours, sampling)).rgb()
    assert found.shape == rgb.shape
    if sampling != "Gray":
        assert np.abs(found.astype(int) - rgb).mean() < 3


def test_cmyk_jpegs_come_out_in_the_colours_they_went_in() -> None:
    rgb = smooth()
    image = Image(saved(Pillow.fromarray(rgb).convert("CMYK"), "JPEG", quality=95))
    assert np.abs(image.rgb().astype(int) - rgb).mean() < 4


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_shifted_not_clipped(format: str) -> None:
    ramp = np.linspace(0, 65_535, 256).astype(np.uint16)[None, :].repeat(4, 0)
    found = Image(saved(Pillow.fromarray(ramp), format)).rgb()
    np.testing.assert_array_equal(found[0, :, 0], ramp[0] >> 8)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_every_png_mode_gives_three_channels(mode: str) -> None:
    picture = Pillow.fromarray(smooth()).convert(mode)
    found = Image(saved(picture, "PNG")).rgb()
    assert found.shape == (60, 90, 3)
    expected = np.asarray(picture.convert("RGB"))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_what_is_transparent_is_shown_over_white(format: str) -> None:
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[:2] = (200, 0, 0, 255)
    rgba[3] = (0, 0, 0, 128)
    found = Image(saved(Pillow.fromarray(rgba), format, **({"lossless": True} if format == "WEBP" else {}))).rgb()
    np.testing.assert_array_equal(found[0, 0], (200, 0, 0))
    np.testing.assert_array_equal(found[2, 0], (255, 255, 255))
    np.testing.assert_allclose(found[3, 0], (127, 127, 127), atol=1)


def test_a_transparent_palette_entry_is_shown_over_white() -> None:
    picture = Pillow.new("P", (4, 4), 1)
    picture.putpalette([9, 9, 9, 250, 0, 0])
    picture.putpixel((0, 0), 0)
    found = Image(saved(picture, "GIF", transparency=0)).rgb()
    np.testing.assert_array_equal(found[0, 0], (255, 255, 255))
    np.testing.assert_array_equal(found[1, 1], (250, 0, 0))


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_counts(format: str) -> None:
    red, blue = (Pillow.new("RGB", (8, 8), colour) for colour in ("#ff0000", "#0000ff"))
    found = Image(saved(red, format, save_all=True, append_images=[blue], duration=50)).rgb()
    assert found[4, 4, 0] > 240
    assert found[4, 4, 2] < 15


def test_a_large_picture_converted_in_bands_equals_one_converted_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(Pillow.fromarray(smooth()).convert("RGBA").rotate(20), "PNG")
    whole = Image(data).rgb()
    monkeypatch.setattr("glia.data.image.BAND_PX", 90 * 7)
    np.testing.assert_array_equal(Image(data).rgb(), whole)


@pytest.mark.parametrize("mode", ["F", "I"])
def test_samples_without_a_known_range_are_refused_in_words(mode: str) -> None:
    with pytest.raises(UnsupportedMedia, match=r"32-bit integers|floating-point numbers"):
        Image(saved(Pillow.new(mode, (4, 4)), "TIFF")).rgb()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (b"<?xml version='1.0'?>\n<!-- drawn -->\n<svg/>", "an SVG drawing"),
        (b"%PDF-1.4", "a PDF"),
        (b"\n<!DOCTYPE html><p>404", "a web page"),
        (b'{"error": 1}', "JSON text"),
        ("schöne Grüße".encode(), "text"),
        (b"PK\x03\x04....", "a ZIP archive"),
        (b"\0\0\0\x18ftypmp42", "an MP4 video"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIF photo"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "a WAV sound"),
        (b"\x07" * 12, "12 bytes of no format known here"),
    ],
)
def test_a_refusal_says_what_came_and_what_is_read(data: bytes, words: str) -> None:
    with pytest.raises(UnsupportedMedia, match=words) as raised:
        Image(data)
    assert "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF" in raised.value.message


def test_an_empty_file_is_called_empty() -> None:
    with pytest.raises(DamagedMedia, match="0 bytes: the file is empty"):
        Image(b"")


def test_bytes_after_the_end_are_accepted_but_a_missing_end_is_not() -> None:
    whole = saved(Pillow.fromarray(smooth()), "JPEG")
    np.testing.assert_array_equal(Image(whole + b"PK\x03\x04 and more").rgb(), Image(whole).rgb())
    with pytest.raises(DamagedMedia, match="ends early"):
        Image(whole[:-2]).rgb()


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("new", [Limits(pixels=5_399), Limits(side=89), Limits(bytes=100)])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_limits_can_be_set_and_name_what_was_found_and_allowed(format: str, new: Limits) -> None:
    image = Image(saved(Pillow.fromarray(smooth()), format))
    image.check()
    set_limits(new)
    for ask in (image.check, image.size, image.rgb):
        with pytest.raises(MediaTooLarge, match=r"Expected at most .* received"):
            ask()


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_pixels_survive_encoding_and_decoding(format: Any) -> None:
    rgb = smooth()
    image = Image.from_array(rgb, format)
    assert image.content_type == f"image/{format}" == Image.sniff(image.data)
    assert np.abs(image.rgb().astype(int) - rgb).mean() < (1e-9 if format == "png" else 4)


def test_decoding_is_measured_as_its_own_step() -> None:
    image = Image.from_array(smooth())
    with timed() as steps:
        image.rgb()
    assert list(steps) == ["decode"]


def test_pillows_warnings_do_not_escape() -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\x40\0"
    data = saved(Pillow.fromarray(smooth()), "PNG", exif=exif)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Image(data).rgb()
    assert not caught


def test_neither_importing_nor_sniffing_nor_checking_loads_a_decoder() -> None:
    code = (
        "import sys; from glia.data.image import Image; "
        "image = Image(b'GIF89a\\x01\\0\\x01\\0\\x80\\0\\0\\0\\0\\0\\xff\\xff\\xff,\\0\\0\\0\\0\\x01\\0\\x01\\0\\0'); "
        "image.check(); assert image.size() == (1, 1); "
        "sys.exit('PIL' in sys.modules or 'simplejpeg' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0
