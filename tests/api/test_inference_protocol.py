"""The Open Inference Protocol through Triton's own HTTP client, against a server in a process of its own."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from glia.core.card import Card
from house import ROOT, Server, is_running, picture, until

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


@pytest.fixture
def server(serve: Callable[..., Server], colours: Card, sums: Card) -> Server:
    """With `colours`, which answers objects, and `sums`."""
    return serve("--lanes", "2")


@pytest.fixture
def client(server: Server) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.url.removeprefix("http://"), concurrency=16) as client:
        yield client


def tensor(name: str, value: np.ndarray, datatype: str = "FP32", **options: Any) -> triton.InferInput:
    given = triton.InferInput(name, list(value.shape), datatype)
    given.set_data_from_numpy(value, **options)
    return given


def planes(*colours: tuple[float, float, float]) -> np.ndarray:
    """Pictures of one colour as the network takes them."""
    return np.array(colours, np.float32)[:, :, None, None] * np.ones((1, 1, 8, 8), np.float32)


def encoded(*pictures: bytes) -> triton.InferInput:
    return tensor("image", np.array(pictures, object), "BYTES")


def test_the_server_says_what_it_is_and_what_its_models_take(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    told = client.get_server_metadata()
    assert told["name"] == "glia"
    assert {"binary_tensor_data", "classification", "model_repository", "statistics"} <= set(told["extensions"])
    assert client.get_model_metadata("objects") == {
        "name": "objects",
        "versions": ["1"],
        "platform": "onnx_onnxv1",
        "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 3, 8, 8]}],
        "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 3]}],
    }
    assert client.get_model_metadata("colours", "1")["name"] == "colours"
    config = client.get_model_config("objects")
    assert config["max_batch_size"] == 1000
    assert "BYTES" in config["parameters"]["encoded_input"]["string_value"]
    assert config["input"] == [{"name": "image", "data_type": "TYPE_FP32", "dims": [3, 8, 8], "format": "FORMAT_NCHW"}]
    assert config["output"] == [{"name": "logits", "data_type": "TYPE_FP32", "dims": [3]}]
    assert config["instance_group"][0]["count"] == 2
    with pytest.raises(
        InferenceServerException, match=r"No service is named 'object'\. Did you mean 'objects'"
    ) as error:
        client.get_model_metadata("object")
    assert error.value.status() == "404"
    with pytest.raises(InferenceServerException, match="9"):
        client.get_model_metadata("objects", "9")


@pytest.mark.parametrize("answer_as", [None, "gzip", "deflate"])
@pytest.mark.parametrize("ask_as", [None, "gzip", "deflate"])
def test_binary_tensors_compressed_or_not(
    client: triton.InferenceServerClient, ask_as: str | None, answer_as: str | None
) -> None:
    for binary in (True, False):
        result = client.infer(
            "objects",
            [tensor("image", np.tile(planes((1, 0, 0), (0, 0.5, 0)), (200, 1, 1, 1)), binary_data=binary)],
            outputs=[triton.InferRequestedOutput("logits", binary_data=binary)],
            request_id="a request",
            request_compression_algorithm=ask_as,
            response_compression_algorithm=answer_as,
        )
        np.testing.assert_allclose(result.as_numpy("logits"), np.tile([[10, 0, 0], [0, 5, 0]], (200, 1)), rtol=1e-6)
        told = result.get_response()
        assert (told["id"], told["model_name"], told["model_version"]) == ("a request", "objects", "1")


def test_what_triton_clients_may_add_is_understood_or_ignored(client: triton.InferenceServerClient) -> None:
    result = client.infer(
        "sums",
        [tensor("row", np.array([[1, 2]], np.float32))],
        model_version="1",
        sequence_id=7,
        sequence_start=True,
        sequence_end=True,
        priority=5,
        timeout=20_000_000,
        parameters={"customer": "somebody"},
    )
    assert result.as_numpy("sum").tolist() == [[4]]
    with pytest.raises(InferenceServerException, match=r"the deadline was 1e-06 s") as error:
        client.infer("sums", [tensor("row", np.ones((1, 2), np.float32))], timeout=1)
    assert error.value.status() == "504"


def test_the_highest_values_come_by_name(client: triton.InferenceServerClient) -> None:
    asked = [tensor("image", planes((0, 0.5, 0.25), (1, 0, 0)))]
    for count, expected in (
        (1, [[b"5.0:1:green"], [b"10.0:0:red"]]),
        (2, [[b"5.0:1:green", b"2.5:2:blue"], [b"10.0:0:red", b"0.0:1:green"]]),
    ):
        wanted = triton.InferRequestedOutput("logits", class_count=count)
        assert client.infer("objects", asked, outputs=[wanted]).as_numpy("logits").tolist() == expected
    all_of_them = triton.InferRequestedOutput("logits", class_count=99, binary_data=False)
    assert client.infer("objects", asked, outputs=[all_of_them]).as_numpy("logits").shape == (2, 3)
    no_labels = triton.InferRequestedOutput("sum", class_count=3)
    row = [tensor("row", np.array([[1, 2]], np.float32))]
    assert client.infer("sums", row, outputs=[no_labels]).as_numpy("sum").tolist() == [[b"4.0:0"]]


def test_encoded_pictures_go_through_the_services_own_preprocessing(client: triton.InferenceServerClient) -> None:
    pictures = [picture(RED), picture(BLUE, (300, 200), "jpeg"), picture(GREEN, (7, 9))]
    for asked in (
        encoded(*pictures),
        tensor("anything", np.array(pictures, object).reshape(3, 1), "BYTES"),
    ):
        logits = client.infer("objects", [asked]).as_numpy("logits")
        assert logits.shape == (3, 3)
        assert logits.argmax(axis=1).tolist() == [0, 2, 1]
    alone = [client.infer("objects", [encoded(one)]).as_numpy("logits") for one in pictures]
    np.testing.assert_array_equal(
        np.concatenate(alone), client.infer("objects", [encoded(*pictures)]).as_numpy("logits")
    )


def test_loading_unloading_and_the_index(client: triton.InferenceServerClient, server: Server) -> None:
    def states() -> dict[str, tuple[str, str]]:
        return {row["name"]: (row["state"], row["version"]) for row in client.get_model_repository_index()}

    assert client.infer("sums", [tensor("row", np.ones((1, 2), np.float32))]).as_numpy("sum").tolist() == [[3]]
    client.load_model("objects")
    assert client.is_model_ready("objects")
    assert client.is_model_ready("objects", "1")
    assert states()["objects"] == states()["colours"] == ("READY", "1")
    before = server.replicas()
    client.unload_model("objects")
    assert not client.is_model_ready("objects")
    gone = set(before) - set(server.replicas())
    assert len(gone) == 1
    assert not any(is_running(pid) for pid in gone)
    assert states()["objects"] == ("UNAVAILABLE", "1")
    assert states()["sums"] == ("READY", "1")
    reason = {row["name"]: row["reason"] for row in client.get_model_repository_index()}
    assert reason["objects"] == "not loaded"
    assert client.infer("objects", [encoded(picture(GREEN))]).as_numpy("logits").argmax() == 1
    assert client.is_model_ready("objects")
    with pytest.raises(InferenceServerException, match="no parameters, received config"):
        client.load_model("objects", config="{}")
    for call in (client.load_model, client.unload_model):
        with pytest.raises(InferenceServerException, match="No service is named"):
            call("nothing-like-it")


def test_statistics_count_rows_requests_and_failures(client: triton.InferenceServerClient) -> None:
    client.load_model("objects")
    until(lambda: client.is_model_ready("objects"))
    before = client.get_inference_statistics("objects")["model_stats"][0]
    assert (before["inference_count"], before["execution_count"], before["last_inference"]) == (0, 0, 0)
    for rows in (1, 4):
        client.infer("colours", [tensor("image", np.zeros((rows, 3, 8, 8), np.float32))])
    client.infer("objects", [encoded(picture(RED), picture(RED))])
    with pytest.raises(InferenceServerException, match="The graph takes image float32"):
        client.infer("objects", [tensor("other", np.zeros((1, 3, 8, 8), np.float32))])
    (row,) = client.get_inference_statistics("objects", "1")["model_stats"]
    assert (row["name"], row["version"], row["inference_count"], row["execution_count"]) == ("objects", "1", 7, 3)
    spent = row["inference_stats"]
    assert [spent[part]["count"] for part in ("success", "fail", "queue", "compute_infer")] == [3, 1, 3, 3]
    parts = sum(spent[part]["ns"] for part in ("queue", "compute_input", "compute_infer", "compute_output"))
    assert spent["success"]["ns"] == pytest.approx(parts, abs=100)
    assert 0 < spent["compute_infer"]["ns"] < spent["success"]["ns"] < 60e9
    everything = {row["name"]: row["inference_count"] for row in client.get_inference_statistics()["model_stats"]}
    assert everything == {"colours": 7}


def test_requests_side_by_side_get_each_their_own_answer(client: triton.InferenceServerClient) -> None:
    asked = [
        client.async_infer("sums", [tensor("row", np.full((1 + n % 3, 2), n, np.float32))], request_id=str(n))
        for n in range(60)
    ]
    for n, pending in enumerate(asked):
        result = pending.get_result()
        assert result.get_response()["id"] == str(n)
        assert result.as_numpy("sum").tolist() == [[2 * n + 1]] * (1 + n % 3)


def test_the_readmes_client_runs(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (code,) = [block for block in blocks if "tritonclient" in block]
    (tmp_path / "photo.jpg").write_bytes(picture(BLUE, (64, 48), "jpeg"))
    monkeypatch.chdir(tmp_path)
    code = code.replace("localhost:8080", server.url.removeprefix("http://"))
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "README.md", "exec"), {})
    assert re.match(r"\[\[b'[\d.]+:2:blue' b'", printed.getvalue())
