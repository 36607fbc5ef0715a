"""A second task is one file: written here, it reaches every door with no other edit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import glia
from glia.api import local
from glia.api.http.app import build_app
from glia.core.settings import Settings
from house import Server, picture

FILE = '''
"""A microservice of its own."""

from pydantic import Field

from glia.core.fields import Answer
from glia.core.task import Request, Task
from glia.data.image import Image


class Size(Answer):
    """A size."""

    width: int
    height: int


class Measuring(Task):
    """Measure a picture in its own unit."""

    name = "measuring"
    roles = ()

    class Input(Request):
        """A picture and a unit."""

        image: Image = Field(description="The picture to measure.")
        unit_px: int = Field(1, ge=1, le=100, description="How many pixels are one.")

    Output = Size

    def predict(self, x, sessions, card):
        """Rounded down."""
        width, height = x.image.size()
        return Size(width=width // x.unit_px, height=height // x.unit_px)
'''
PICTURE = picture(size=(40, 20))
ANSWER = {"width": 20, "height": 10}


@pytest.fixture
def tasks(tmp_path: Path) -> str:
    folder = tmp_path / "my-tasks"
    folder.mkdir()
    (folder / "measuring.py").write_text(FILE)
    return str(folder)


def test_it_reaches_http_the_description_and_the_page_s_data(tasks: str, home: Path) -> None:
    with TestClient(build_app(Settings({"tasks_dir": tasks}))) as client:
        assert client.post("/v1/services/measuring?unit_px=2", content=PICTURE).json() == ANSWER
        assert client.post("/v1/services/measuring", content=PICTURE, params={"unit_px": 0}).status_code == 422
        form = client.post("/v1/services/measuring", files={"image": PICTURE}, data={"unit_px": "2"})
        assert form.json() == ANSWER

        row = next(row for row in client.get("/v1/services").json()["services"] if row["name"] == "measuring")
        assert (row["title"], row["state"]) == ("Measure a picture in its own unit", "ready")

        shown = client.get("/v1/services/measuring").json()
        assert shown["subject"] == {"field": "image", "media": "image", "many": False}
        assert shown["input_schema"]["properties"]["unit_px"]["maximum"] == 100
        assert set(shown["output_schema"]["properties"]) == {"width", "height"}

        document = client.get("/openapi.json").json()
        call = document["paths"]["/v1/services/measuring"]["post"]
        assert [parameter["name"] for parameter in call["parameters"]] == ["unit_px"]
        assert "image/*" in call["requestBody"]["content"]
        assert document["components"]["schemas"]["measuring.Output"]["properties"]["width"] == {
            "title": "Width",
            "type": "integer",
        }


def test_it_reaches_the_shell(tasks: str, tmp_path: Path, shell: Callable[..., Any]) -> None:
    (tmp_path / "a.png").write_bytes(PICTURE)
    shown = shell("predict", "--tasks-dir", tasks, "measuring", str(tmp_path / "a.png"), "--unit-px", "2").out
    assert '"width": 20' in shown
    assert "How many pixels are one." in shell("predict", "--tasks-dir", tasks, "measuring", "--help").out
    assert "measuring" in shell("services", "--tasks-dir", tasks).out


def test_it_reaches_python(tasks: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLIA_TASKS_DIR", tasks)
    monkeypatch.setattr(local, "_shared", None)
    assert glia.predict("measuring", PICTURE, unit_px=2) == ANSWER


def test_it_reaches_a_real_server_and_its_client(tasks: str, serve: Callable[..., Server]) -> None:
    with glia.Client(serve("--tasks-dir", tasks).url) as client:
        assert client.predict("measuring", PICTURE, unit_px=2) == ANSWER


def test_a_task_file_that_breaks_is_named(tasks: str, home: Path, shell: Callable[..., Any]) -> None:
    (Path(tasks) / "broken.py").write_text("import nothing_like_it")
    for command in (["services"], ["serve", "--port", "0"], ["predict"]):
        run = shell(*command, "--tasks-dir", tasks, *(["measuring", "x.png"] if command == ["predict"] else []))
        assert run.status == 1
        assert "broken.py cannot be loaded: ModuleNotFoundError" in run.err
