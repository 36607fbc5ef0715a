"""The log: one line an event, for people or for machines."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from glia.core.log import start_log


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """What went to stderr since it was last asked for; afterwards the log is as it was."""
    logger = logging.getLogger("glia")
    before = (logger.handlers[:], logger.level, logger.propagate)
    yield lambda: capsys.readouterr().err
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


def test_a_json_line_carries_its_fields(lines: Callable[[], str]) -> None:
    start_log("info", "json")
    extra = {"fields": {"status": 200, "ms": 1.5, "path": Path("/x")}}
    logging.getLogger("glia.access").info("POST %s", "/v1/é\n", extra=extra)
    (line,) = lines().splitlines()
    found = json.loads(line)
    assert found | {"time": ""} == {
        "time": "",
        "level": "info",
        "logger": "glia.access",
        "message": "POST /v1/é\n",
        "status": 200,
        "ms": 1.5,
        "path": "/x",
    }
    assert found["time"].endswith("Z")


def test_an_exception_stays_on_the_line_of_its_event(lines: Callable[[], str]) -> None:
    start_log("info", "json")
    try:
        raise KeyError("why")
    except KeyError:
        logging.getLogger("glia.http").exception("failed")
    (line,) = lines().splitlines()
    assert "KeyError: 'why'" in json.loads(line)["exception"]


def test_a_text_line_is_for_people(lines: Callable[[], str]) -> None:
    start_log("info", "text")
    logging.getLogger("glia.serve").warning("replica up", extra={"fields": {"pid": 3}})
    assert lines().endswith(" W replica up pid=3\n")


def test_starting_again_replaces_the_first_and_keeps_the_level(lines: Callable[[], str]) -> None:
    start_log("debug", "json")
    start_log("error", "text")
    logging.getLogger("glia.serve").warning("quiet")
    logging.getLogger("glia.serve").error("loud")
    assert lines().count("\n") == 1
    assert logging.getLogger("glia").propagate is False


def test_gathered_lines_wait_for_a_warning_or_until_they_are_asked_for(lines: Callable[[], str]) -> None:
    write = start_log("info", "text", gathered=True)
    log = logging.getLogger("glia.test")
    log.info("first")
    assert lines() == ""
    write()
    assert "first" in lines()
    log.info("second")
    log.warning("third")
    text = lines()
    assert text.index("second") < text.index("third")
