"""The page in headless Chromium, as a person uses it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from glia.core.card import Card
from house import Server, complaints, find, picture, until

pytestmark = pytest.mark.browser


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


def test_an_empty_file_after_another_is_explained(
    serve: Callable[..., Server], colours: Card, browser: Any, tmp_path: Path
) -> None:
    (tmp_path / "red.png").write_bytes(picture())
    (tmp_path / "empty.png").touch()
    browser.get(serve().url + "/#/objects")
    find(browser, "#file").send_keys(str(tmp_path / "red.png"))
    find(browser, "#result .bar")
    find(browser, "#file").send_keys(str(tmp_path / "empty.png"))
    until(lambda: "empty.png has 0 bytes" in find(browser, "#error").text, what="the error in words")
    assert not browser.find_elements("css selector", "#result .bar, .drop.filled")


def test_what_cannot_be_mended_by_trying_again_offers_none(
    serve: Callable[..., Server], colours: Card, browser: Any, tmp_path: Path
) -> None:
    (tmp_path / "photo.jpg").write_text("no picture")
    server = serve()
    browser.get(server.url + "/#/objects")
    find(browser, "#file").send_keys(str(tmp_path / "photo.jpg"))
    until(lambda: find(browser, "#error").text, what="the error")
    assert "Try again" not in find(browser, "#error").text
    server.stop()
    find(browser, "#run").click()
    until(lambda: "Try again" in find(browser, "#error").text, what="the way on")
