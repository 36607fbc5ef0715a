"""What tests share: tiny networks, their cards, pictures, a server's process, and waiting with a deadline."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from glia.core.card import Card, Graph, Licence
from glia.data.image import Image

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"
EXTRA_TASKS = Path(__file__).parent / "extra_tasks"


def until(condition: Callable[[], Any], seconds: float = 20, what: str = "the condition") -> Any:
    """Wait for a condition with a deadline; its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not come true within {seconds} s"
        time.sleep(0.01)
    return value


def is_running(pid: int) -> bool:
    """Whether a process lives; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@contextmanager
def web_server(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """A server on this machine that answers every GET as told; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def reach_only(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pip ask no index but the one at `url`, and nothing ask a proxy."""
    for name in [key for key in os.environ if key.lower().endswith("_proxy") or key.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"{url}/simple/")


def colour_network() -> bytes:
    """Mean of each plane is the logit of red, green, blue: a classifier that can be checked by eye."""
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["image", "axes"], ["mean"], keepdims=0),
            helper.make_node("Mul", ["mean", "ten"], ["logits"]),
        ],
        "colours",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
        [
            numpy_helper.from_array(np.array([2, 3], np.int64), "axes"),
            numpy_helper.from_array(np.array(10, np.float32), "ten"),
        ],
    )
    return onnx.helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


def sum_network() -> bytes:
    """Sum over the last axis, plus one."""
    graph = helper.make_graph(
        [
            helper.make_node("ReduceSum", ["row", "axes"], ["plain"], keepdims=1),
            helper.make_node("Add", ["plain", "one"], ["sum"]),
        ],
        "sum",
        [helper.make_tensor_value_info("row", TensorProto.FLOAT, ["n", "columns"])],
        [helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["n", 1])],
        [
            numpy_helper.from_array(np.array([1], np.int64), "axes"),
            numpy_helper.from_array(np.array(1, np.float32), "one"),
        ],
    )
    return onnx.helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


def colour_card(name: str = "colours", **changes: Any) -> Card:
    """The card of `colour_network`, which answers the service objects."""
    return Card(
        name=name,
        task="image-classification",
        title="Colours",
        service="objects",
        rank=1,
        licence=Licence(weights="CC0-1.0", data="none"),
        graphs={"model": Graph(inputs={"image": "image"}, outputs={"scores": "logits"})},
        preprocessing={"size": [8, 8], "std": [255, 255, 255]},
        labels=("red", "green", "blue"),
    ).model_copy(update=changes)


def sum_card(name: str, task: str = "column-sum", **changes: Any) -> Card:
    """The card of `sum_network`."""
    graphs = {"model": Graph(inputs={"row": "row"}, outputs={"sum": "sum"})}
    return Card(name=name, task=task, licence=Licence(weights="CC0-1.0"), graphs=graphs).model_copy(update=changes)


@dataclass
class Server:
    """`glia serve` in a process of its own."""

    process: subprocess.Popen[str]
    url: str
    log: Path
    stopped: bool = field(default=False)

    def replicas(self) -> list[int]:
        """Process ids of its replicas."""
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(pid) for children in threads for pid in children.read_text().split()]

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """Signal it, and wait; the exit status."""
        self.process.send_signal(signal_number)
        self.stopped = True
        return self.process.wait(30)


def picture(colour: tuple[int, int, int] = (255, 0, 0), size: tuple[int, int] = (32, 24), format: str = "png") -> bytes:
    """A picture of one colour; size is (width, height)."""
    pixels = np.empty((size[1], size[0], 3), np.uint8)
    pixels[:] = colour
    return Image.from_array(pixels, format).data  # type: ignore[arg-type]


def find(browser: Any, selector: str) -> Any:
    """The first element that a selector finds on the page, once there is one."""
    return until(lambda: browser.find_elements("css selector", selector), what=selector)[0]


def complaints(browser: Any) -> list[str]:
    """What the browser's console holds against the page since it was last asked."""
    return [line["message"] for line in browser.get_log("browser") if line["level"] == "SEVERE"]
