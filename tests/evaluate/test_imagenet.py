"""Both catalog networks on 1,000 real photos, as served, against a reference written on its own.

The reference shares no line with the package: Pillow's full decode, ONNX Runtime fp32, plain numpy.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import PIL.Image
import PIL.ImageOps
import pytest

from glia.core.errors import SourceError
from glia.core.settings import Settings
from glia.evaluate.evaluate import evaluate
from glia.evaluate.examples import LabelledFile, read_examples
from glia.jobs.fetch import fetch
from glia.runtime.directory import Directory
from glia.runtime.service import Service, load
from glia.store.store import Store
from house import SHARED

PHOTOS = SHARED / "data" / "imagenet-samples" / "images.npz"
NETWORKS = ("imagenet-efficientnet-lite0", "imagenet-squeezenet-fp16-onnx")

pytestmark = pytest.mark.skipif(not PHOTOS.exists(), reason="the 1,000 sample photos are not beside the repository")


@pytest.fixture(scope="module", params=NETWORKS)
def stored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Service, Path]:
    """A fetched network: its service, and its graph's file."""
    home = tmp_path_factory.mktemp("home")
    settings = Settings({"home": str(home), "mirror": str(SHARED / "weights")}, environ={})
    try:
        card = fetch(request.param, settings, lambda done, total, what: None, lambda line: None)
    except SourceError as error:
        pytest.skip(f"no source of {request.param} can be reached: {error.message[:200]}")
    service = load(Directory(settings).resolve(card.id), Store(home))
    return service, Store(home).get(card.id).path("graph.onnx")


def reference(graph: Path, name: str, photos: list[LabelledFile]) -> tuple[float, float]:
    """top-1 and top-5, by code of its own."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    ranks = []
    for photo in photos:
        with PIL.Image.open(io.BytesIO(photo.read())) as opened:
            upright = PIL.ImageOps.exif_transpose(opened).convert("RGB")
        side = min(upright.size) * 0.875
        left, top = (upright.width - side) / 2, (upright.height - side) / 2
        small = upright.resize((224, 224), PIL.Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
        x = np.asarray(small, np.float32)
        x = (x - 127) / 128 if "efficientnet" in name else x[..., ::-1] - np.array([104, 117, 123], np.float32)
        batch = np.ascontiguousarray(x.transpose(2, 0, 1)[None], np.float32)
        (scores,) = session.run(None, {session.get_inputs()[0].name: batch})
        flat = np.ravel(scores)
        ranks.append(int((flat > flat[photo.target]).sum()))
    return float(np.mean(np.array(ranks) < 1)), float(np.mean(np.array(ranks) < 5))


def test_a_network_scores_as_the_reference_does(stored: tuple[Service, Path]) -> None:
    service, graph = stored
    photos = read_examples(PHOTOS)
    result = evaluate(service, photos)
    top1, top5 = reference(graph, service.card.name, photos)
    assert result["n"] == 1000
    assert abs(result["metrics"]["top1"] - top1) <= 0.01
    assert abs(result["metrics"]["top5"] - top5) <= 0.01
    # Training pictures, small and recompressed: a floor that only a wrong import or preprocessing falls through.
    assert result["metrics"]["top1"] > (0.75 if "efficientnet" in service.card.name else 0.5)


EXIF_TURNS = {
    6: PIL.Image.Transpose.ROTATE_90,
    3: PIL.Image.Transpose.ROTATE_180,
    8: PIL.Image.Transpose.ROTATE_270,
}


def large_jpegs(photos: list[LabelledFile]) -> Iterator[tuple[LabelledFile, LabelledFile]]:
    """Each photo as a JPEG of 1,024 px and more (turned by EXIF, progressive, CMYK among them), and as the same pixels.

    The second of a pair is a PNG of what the JPEG decodes to in full, upright: scaled decode must cost nothing
    beside it.
    """
    for index, photo in enumerate(photos):
        with PIL.Image.open(io.BytesIO(photo.read())) as opened:
            plain = opened.convert("RGB")
        grown = 1024 / min(plain.size)
        picture = plain.resize((round(plain.width * grown), round(plain.height * grown)), PIL.Image.Resampling.BICUBIC)
        exif = PIL.Image.Exif()
        orientation = (1, 6, 3, 8)[index % 4]
        if orientation != 1:
            picture = picture.transpose(EXIF_TURNS[orientation])
            exif[274] = orientation
        if index % 5 == 4:
            picture = picture.convert("CMYK")
        encoded = io.BytesIO()
        picture.save(encoded, "JPEG", quality=85, progressive=index % 3 == 2, exif=exif)
        with PIL.Image.open(io.BytesIO(encoded.getvalue())) as opened:
            full = PIL.ImageOps.exif_transpose(opened.convert("RGB") if index % 5 == 4 else opened)
            full = full if full is not None else opened
            # Pillow keeps the tag through convert(), so the turn above also holds for CMYK.
        lossless = io.BytesIO()
        full.convert("RGB").save(lossless, "BMP")
        yield LabelledFile(encoded.getvalue(), photo.target), LabelledFile(lossless.getvalue(), photo.target)


def test_scaled_decode_of_large_jpegs_costs_at_most_half_a_point(stored: tuple[Service, Path]) -> None:
    service, _ = stored
    scaled_hits = full_hits = 0.0
    photos = read_examples(PHOTOS)
    for start in range(0, len(photos), 50):
        pairs = list(large_jpegs(photos[start : start + 50]))
        scaled_hits += evaluate(service, [jpeg for jpeg, _ in pairs])["metrics"]["top1"] * len(pairs)
        full_hits += evaluate(service, [full for _, full in pairs])["metrics"]["top1"] * len(pairs)
    assert scaled_hits / len(photos) >= full_hits / len(photos) - 0.005
