"""Files of the user's own: what they say goes on the card, what they do not say is asked for, nothing is guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from glia.core.errors import ImportFailed, InputError
from glia.core.settings import Settings
from glia.jobs.importing import Wanted, files_given, import_network
from glia.runtime.directory import Directory
from glia.runtime.service import load
from glia.store.store import Store
from house import colour_network, picture, sum_network

SAID: dict[str, Any] = {"size": [8, 8], "mean": [0, 0, 0], "std": [255, 255, 255], "colour": "rgb"}
LABELS = ("red", "green", "blue")


def pixels_network() -> bytes:
    """Like `colour_network`, of uint8 pixels with channels last, and with a softmax."""
    nodes = [
        helper.make_node("Cast", ["image"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["numbers"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Softmax", ["mean"], ["scores"], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "pixels",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 8, 8, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 3])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def file(folder: Path, data: bytes, name: str = "net.onnx") -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def best(settings: Settings, name: str, colour: tuple[int, int, int]) -> str:
    directory = Directory(settings)
    service = load(directory.resolve(name), directory.store)
    return str(service.predict(service.contract.request({"image": picture(colour)}))[0].label)


def test_a_network_is_stored_with_what_was_said_and_answers(settings: Settings, tmp_path: Path) -> None:
    wanted = Wanted("mine", labels=LABELS, preprocessing=SAID, licence="CC0-1.0")
    card, said = import_network([file(tmp_path, colour_network())], wanted, settings)
    assert (card.id, card.task, card.activation, card.licence.weights) == (
        "mine@1",
        "image-classification",
        "logits",
        "CC0-1.0",
    )
    assert card.source_files[0].file == "net.onnx"
    assert card.parity.oracle == "none"
    assert card.parity.probes == 2
    assert card.example is not None
    assert any("task: image-classification" in line for line in said)
    assert best(settings, "mine", (0, 250, 0)) == "green"


def test_pixels_with_channels_last_in_bytes_are_seen_in_the_graph(settings: Settings, tmp_path: Path) -> None:
    wanted = Wanted("bytes", labels=LABELS, preprocessing={"colour": "rgb"})
    card, _ = import_network([file(tmp_path, pixels_network())], wanted, settings)
    assert (card.preprocessing["layout"], card.preprocessing["dtype"]) == ("nhwc", "uint8")
    assert card.activation == "probabilities"
    assert best(settings, "bytes", (0, 0, 250)) == "blue"


def test_everything_that_the_files_do_not_say_is_asked_for_at_once(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        import_network([file(tmp_path, colour_network())], Wanted("mine"), settings)
    for flag in ("--labels", "--mean", "--std", "--colour"):
        assert flag in error.value.message
    assert "--size" not in error.value.message  # the graph says it
    assert Store(settings.home).list() == []


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Wanted("mine", labels=("red", "green"), preprocessing=SAID), "gives 3 numbers, and there are 2 labels"),
        (Wanted("mine", task="nothing"), "No task is named"),
        (Wanted("mine", options={"depth": 3}), "Unknown options"),
        (Wanted("Not a name", labels=LABELS, preprocessing=SAID), "The card cannot be"),
        (Wanted("mine", format="pytorch"), "bytes are of"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_stored(
    settings: Settings, tmp_path: Path, wanted: Wanted, words: str
) -> None:
    with pytest.raises((InputError, ImportFailed, Exception), match=words):
        import_network([file(tmp_path, colour_network())], wanted, settings)
    assert Store(settings.home).list() == []


def test_a_network_of_no_known_kind_takes_tensors(settings: Settings, tmp_path: Path) -> None:
    card, said = import_network([file(tmp_path, sum_network())], Wanted("mine"), settings)
    assert (card.task, card.example) == ("tensor-inference", None)
    assert any("task: tensor-inference" in line for line in said)
    directory = Directory(settings)
    service = load(directory.resolve("mine"), directory.store)

    def ask(tensors: Any) -> Any:
        return service.predict(service.contract.request({"tensors": tensors}))

    assert ask({"row": [[1, 2.5], [0, 0]]}) == {"sum": [[4.5], [1.0]]}
    for tensors, words in (
        ({"column": [[1]]}, r"Expected the tensors row \[n, n\] float32; received column"),
        ({"row": [[1], [2, 3]]}, "expected numbers of float32"),
        ({"row": [["a"]]}, "expected numbers of float32"),
        ({"row": [[3e38, 3e38]]}, "infinity"),
        ({"row": 3}, "The graph takes row"),
    ):
        with pytest.raises(InputError, match=words):
            ask(tensors)


def test_weights_that_are_no_numbers_are_refused(settings: Settings, tmp_path: Path) -> None:
    model = onnx.load_from_string(colour_network())
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.array(np.nan, np.float32), "ten"))
    with pytest.raises(ImportFailed, match="infinities or NaN"):
        import_network(
            [file(tmp_path, model.SerializeToString())], Wanted("mine", labels=LABELS, preprocessing=SAID), settings
        )


def test_a_folder_stands_for_its_files_and_names_are_unique(tmp_path: Path) -> None:
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        file(tmp_path / place, b"x")
    file(tmp_path / "a", b"y", ".hidden")
    assert list(files_given([tmp_path / "a"])) == ["net.onnx"]
    with pytest.raises(ImportFailed, match=r"Two files are called net.onnx"):
        files_given([tmp_path / "a", tmp_path / "b"])
    with pytest.raises(ImportFailed, match="There is no file"):
        files_given([tmp_path / "c"])
