"""The page in headless Chromium, as a person uses it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from glia.core.card import Card
from house import Server, picture, until

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no chromium and chromedriver on this machine"),
]

FLAGS = (
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
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"user-data-dir={tmp_path / 'chromium'}", "window-size=1280,900"):
        options.add_argument("--" + flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def find(browser: Any, selector: str) -> Any:
    return until(lambda: browser.find_elements("css selector", selector), what=selector)[0]


def complaints(browser: Any) -> list[str]:
    return [line["message"] for line in browser.get_log("browser") if line["level"] == "SEVERE"]


def test_a_dropped_file_gives_bars_and_the_page_stays_quiet(
    serve: Callable[..., Server], colours: Card, browser: Any, tmp_path: Path
) -> None:
    photo = tmp_path / "red.png"
    photo.write_bytes(picture((250, 20, 10)))
    browser.get(serve().url)
    find(browser, '#services .service-card[data-service="objects"]').click()
    find(browser, "#file").send_keys(str(photo))
    bars = until(lambda: browser.find_elements("css selector", "#result .bar"), what="the bars")
    assert len(bars) == 3
    assert find(browser, "#result .bar-label").text == "red"
    assert "ms" in find(browser, "#timing").text
    assert "--data-binary" in find(browser, "#curl").get_attribute("textContent")
    assert complaints(browser) == []


def test_the_theme_switch_changes_the_colours_and_is_remembered(
    serve: Callable[..., Server], colours: Card, browser: Any
) -> None:
    browser.get(serve().url)
    find(browser, "#services .service-card")

    def background() -> str:
        return str(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))

    before = background()
    find(browser, "#theme-switch").click()
    until(lambda: background() != before, what="another background")
    changed = background()
    browser.refresh()
    find(browser, "#services .service-card")
    assert background() == changed


def test_a_phone_needs_no_sideways_scrolling(serve: Callable[..., Server], colours: Card, browser: Any) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    )
    browser.get(serve().url + "/#/objects")
    find(browser, "#drop")
    wide = browser.execute_script("return document.documentElement.scrollWidth")
    assert wide <= 360


def test_a_wrong_file_is_explained(serve: Callable[..., Server], colours: Card, browser: Any, tmp_path: Path) -> None:
    wrong = tmp_path / "photo.jpg"
    wrong.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    browser.get(serve().url + "/#/objects")
    find(browser, "#file").send_keys(str(wrong))
    until(lambda: "SVG" in find(browser, "#error").text, what="the error in words")


def test_an_empty_store_says_what_to_run(serve: Callable[..., Server], browser: Any) -> None:
    browser.get(serve().url)
    card = find(browser, '#services .service-card[data-service="objects"]')
    assert "glia fetch" in card.text


def test_a_task_without_media_has_a_form_too(serve: Callable[..., Server], browser: Any) -> None:
    browser.get(serve().url + "/#/counting")
    field = find(browser, "form input[type=number]")
    field.clear()
    field.send_keys("4")
    find(browser, "#run").click()
    until(lambda: "4" in find(browser, "#result").text, what="the answer")


def test_the_documentation_page_lists_the_routes(serve: Callable[..., Server], colours: Card, browser: Any) -> None:
    browser.get(serve().url + "/docs")
    until(lambda: "/v1/services/objects" in find(browser, "body").text, what="the route")
    assert complaints(browser) == []
