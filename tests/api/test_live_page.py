"""The live view in headless Chromium: its numbers move, its buttons ask, and it says when the server is gone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import httpx2 as httpx
import pytest

from glia.core.card import Card
from house import Server, complaints, find, picture, until

pytestmark = pytest.mark.browser

NOTE_POSTS = """
window.posts = [];
const ask = window.fetch;
window.fetch = (where, how) => {
  if (how?.method === "POST") window.posts.push([String(where), how.body, how.headers["content-type"]]);
  return ask(where, how);
};
"""


def row(browser: Any, service: str = "objects") -> Any:
    return find(browser, f'tr[data-service="{service}"]')


def cells(browser: Any, service: str = "objects") -> dict[str, str]:
    """The row of a service: column to text."""
    found = row(browser, service).find_elements("css selector", "td[data-label]")
    return {one.get_attribute("data-label"): one.get_attribute("textContent") for one in found}


def numbers(browser: Any, script: str) -> Any:
    """What a module of the page gives: `curve` names it in the script."""
    return browser.execute_async_script(
        f'import("./ui/js/curve.js").then((curve) => arguments[0]({script}), (e) => arguments[0](String(e)))'
    )


def test_numbers_move_when_requests_come(serve: Callable[..., Server], colours: Card, browser: Any) -> None:
    url = serve("--memory", "500").url
    browser.get(url + "/live")
    until(lambda: cells(browser)["State"] == "Ready", what="the warm-up")
    assert cells(browser)["Requests/s"] == "0"
    assert cells(browser)["p50"] == "–"
    before = find(browser, "path.curve-main").get_attribute("d")
    for _ in range(30):
        assert httpx.post(url + "/v1/services/objects", content=picture(), timeout=30).status_code == 200
    until(lambda: "30 requests" in find(browser, "#live-facts").text, what="all of them")
    until(lambda: cells(browser)["p50"].endswith("ms"), what="the latency")
    now = cells(browser)
    assert float(now["Requests/s"]) > 0
    assert now["p99"].endswith("ms")
    assert now["Memory"].endswith("MB")
    assert "cpu" in now["Runs on"]
    assert "colours@1" in row(browser).text
    assert "CC0-1.0" in row(browser).text
    assert find(browser, ".curve-figure").text not in ("–", "0")
    assert find(browser, "path.curve-main").get_attribute("d") != before
    assert "of 524 MB" in find(browser, ".memory-total").text
    assert "colours@1" in find(browser, ".memory").text
    assert complaints(browser) == []


def test_errors_are_told_in_words(serve: Callable[..., Server], colours: Card, browser: Any) -> None:
    url = serve().url
    httpx.post(url + "/v1/services/objects", content=b"no picture")
    browser.get(url + "/live")
    assert "1 unsupported-media" in row(browser).text


def test_the_button_asks_for_what_it_says(serve: Callable[..., Server], colours: Card, browser: Any) -> None:
    browser.get(serve().url + "/live")
    until(lambda: cells(browser)["State"] == "Ready", what="the warm-up")
    browser.execute_script(NOTE_POSTS)
    button = row(browser).find_element("css selector", "button")
    assert button.get_attribute("aria-label") == "Unload objects"
    button.click()
    where, body, content_type = until(lambda: browser.execute_script("return window.posts[0]"), what="the request")
    assert re.fullmatch(r"http://[^/]+/v2/repository/models/objects/unload", where)
    assert json.loads(body) == {}
    assert content_type == "application/json"
    said = until(lambda: find(browser, "#said").text, what="what came of it")
    assert said == "objects is unloaded." or said.startswith("objects was not unloaded. ")
    if said == "objects is unloaded.":
        until(lambda: button.get_attribute("aria-label") == "Load objects", what="the other button")
        button.click()
        until(lambda: cells(browser)["State"] == "Ready", what="the model again")


def test_pausing_stops_the_questions(serve: Callable[..., Server], colours: Card, browser: Any) -> None:
    browser.get(serve().url + "/live")
    until(lambda: find(browser, "#live-state").text == "Live", what="the first answer")
    find(browser, "#pause").click()
    assert find(browser, "#pause").get_attribute("aria-pressed") == "true"
    until(lambda: find(browser, "#live-state").text == "Paused", what="the pause")
    asked = "return performance.getEntriesByType('resource').filter(({name}) => name.includes('/v1/status')).length"
    before = browser.execute_script(asked)
    find(browser, "#pause").click()
    until(lambda: browser.execute_script(asked) > before, what="the next question")
    until(lambda: find(browser, "#live-state").text == "Live", what="going on")


def test_a_server_that_is_gone_is_said_to_be_gone(serve: Callable[..., Server], colours: Card, browser: Any) -> None:
    server = serve()
    browser.get(server.url + "/live")
    row(browser)
    server.stop()
    until(lambda: "The server is gone" in find(browser, "#gone").text, what="the news")
    assert find(browser, "#live-state").text == "Gone"
    assert find(browser, ".live-body.stale")


def test_the_live_view_needs_no_sideways_scrolling_on_a_phone(
    serve: Callable[..., Server], colours: Card, browser: Any
) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    )
    browser.get(serve().url + "/live")
    row(browser)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360


def test_axes_are_round_and_one_slow_start_does_not_flatten_them(serve: Callable[..., Server], browser: Any) -> None:
    browser.get(serve().url + "/live")
    assert numbers(browser, "[0.9, 1, 1.1, 23, 51, 700].map(curve.ceiling)") == [1, 1, 2, 50, 100, 1000]
    assert numbers(browser, "curve.heightOf([[3], [...Array(99).fill(30), 2000, null]], 10)") == {
        "top": 50,
        "peak": 2000,
    }
    assert numbers(browser, "curve.heightOf([[30], [80]], 10)") == {"top": 100, "peak": None}
    assert numbers(browser, "curve.heightOf([[null], []], 10)") == {"top": 10, "peak": None}
    assert numbers(browser, "curve.pathOf([null, 5, 10, null, 0], 10)") == "M1 50.00h0L2 0.00M4 100.00h0"
