"""One application with the tiny models and the extra tasks, shared by the tests that only ask it things."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from glia.api.cli import main
from glia.api.http.app import build_app
from glia.core.settings import Settings
from glia.store.bindings import Bindings
from glia.store.store import Store
from house import EXTRA_TASKS, colour_card, colour_network, sum_card, sum_network


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with `colours` in two versions, `sums`, and a service of two roles."""
    home = tmp_path_factory.mktemp("shared-home")
    store = Store(home)
    store.put(colour_card(), {"graph.onnx": colour_network()})
    store.put(colour_card(labels=("rot", "gruen", "blau")), {"graph.onnx": colour_network()})
    store.set_default("colours", 1)
    store.put(sum_card("sums", options={"columns": ["a", "b"]}), {"graph.onnx": sum_network()})
    for name in ("one", "two"):
        store.put(sum_card(name, "two-networks"), {"graph.onnx": sum_network()})
    Bindings(home).set("pair", {"first": "one", "second": "two"})
    return home


@pytest.fixture(scope="session")
def http(shared_home: Path) -> Iterator[TestClient]:
    """That application; nothing in it may be changed by a test."""
    flags = {"home": str(shared_home), "tasks_dir": str(EXTRA_TASKS), "lanes": 2, "max_body_mb": 8}
    with TestClient(build_app(Settings(flags, environ={}))) as client:
        yield client


@dataclass(frozen=True)
class Run:
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str


@pytest.fixture
def shell(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Run]:
    """Runs the command line in this process, exactly as the shell does."""
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: str) -> Run:
        monkeypatch.setattr(sys, "argv", ["glia", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        return Run(int(end.value.code or 0), printed.out, printed.err)

    return run


CHROMIUM_FLAGS = (
    "headless=new",
    "no-sandbox",
    "disable-gpu",
    "disable-quic",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
    "disable-dev-shm-usage",
)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    """Headless Chromium; skips where there is none."""
    chromium, driver_path = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver_path):
        pytest.skip("no chromium and chromedriver on this machine")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*CHROMIUM_FLAGS, f"user-data-dir={tmp_path / 'chromium'}", "window-size=1280,900"):
        options.add_argument("--" + flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver_path))
    yield driver
    driver.quit()
