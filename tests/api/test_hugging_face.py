"""The real client of Hugging Face against a real server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from glia.core.card import Card
from house import Server, picture


@pytest.fixture
def client(colours: Card, serve: Callable[..., Server]) -> InferenceClient:
    return InferenceClient(model=f"{serve().url}/v1/services/objects", token="x")


def test_the_real_client_classifies_paths_and_bytes_and_sees_our_errors(
    client: InferenceClient, tmp_path: Path
) -> None:
    red = tmp_path / "red.png"
    red.write_bytes(picture())
    by_path = client.image_classification(str(red))
    assert [row.label for row in by_path] == ["red", "green", "blue"]
    assert by_path[0].score == pytest.approx(1, abs=0.001)

    by_bytes = client.image_classification(picture((0, 255, 0)))
    assert by_bytes[0].label == "green"

    three = client.image_classification(str(red), top_k=3)
    assert [row.label for row in three] == [row.label for row in by_path]
    assert len(client.image_classification(picture(), top_k=1)) == 1

    text = tmp_path / "notes.txt"
    text.write_text("This is no picture.")
    with pytest.raises(HfHubHTTPError, match=r"Expected an? .*received") as refused:
        client.image_classification(str(text))
    assert refused.value.response.status_code == 415

    with pytest.raises(HfHubHTTPError, match="top_k") as refused:
        client.image_classification(str(red), top_k=0)
    assert refused.value.response.status_code == 422


def test_an_unknown_service_is_told_with_the_nearest(client: InferenceClient) -> None:
    wrong = InferenceClient(model=str(client.model) + "x", token="x")
    with pytest.raises(HfHubHTTPError, match="Did you mean 'objects'"):
        wrong.image_classification(picture())


def test_the_token_is_the_api_key(colours: Card, serve: Callable[..., Server]) -> None:
    url = f"{serve(GLIA_API_KEY='the-key').url}/v1/services/objects"
    assert InferenceClient(model=url, token="the-key").image_classification(picture())[0].label == "red"
    with pytest.raises(HfHubHTTPError, match="API key") as refused:
        InferenceClient(model=url, token="another").image_classification(picture())
    assert refused.value.response.status_code == 401
