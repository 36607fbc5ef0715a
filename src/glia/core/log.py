"""Logging: stdlib, one line an event, JSON on request."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from logging.handlers import MemoryHandler

MOST_GATHERED = 500
"""Lines that wait at most."""


class JsonLines(logging.Formatter):
    """One JSON object a line; what a record carries in `extra={"fields": ...}` becomes keys."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        line = {"time": stamp, "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextLines(logging.Formatter):
    """Time, level, message, then key=value pairs."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        text = super().format(record)
        fields = getattr(record, "fields", {})
        return text + "".join(f" {key}={value}" for key, value in fields.items())


def start_log(level: str = "info", form: str = "text", *, gathered: bool = False) -> Callable[[], None]:
    """Send the package's log to stderr. Called by doors that start a process, never at import.

    `gathered`: lines wait until the returned function is called, for a warning, or for the end of the process; many
    written at once cost a busy server a fraction of what each costs alone.
    """
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(
        JsonLines() if form == "json" else TextLines("%(asctime)s %(levelname).1s %(message)s", "%H:%M:%S")
    )
    handler: logging.Handler = stream
    if gathered:
        handler = MemoryHandler(MOST_GATHERED, logging.WARNING, stream)
    logger = logging.getLogger("glia")
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
    return handler.flush
