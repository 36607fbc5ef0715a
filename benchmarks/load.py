"""Load from C clients: wrk for closed loops, openloop.c for open ones."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Load:
    """What one measurement gave."""

    seconds: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    broken: int
    """Requests without any answer."""
    statuses: dict[str, int] = field(default_factory=dict)

    @property
    def answered(self) -> int:
        """Answers of status 200."""
        return self.statuses.get("200", 0)

    @property
    def failed(self) -> int:
        """Answers of other statuses, and requests without an answer."""
        return sum(self.statuses.values()) - self.answered + self.broken

    @property
    def rps(self) -> float:
        """Good answers a second."""
        return self.answered / self.seconds


def closed(port: int, paths: list[str], kind: str, body: Path, clients: int, seconds: float) -> Load:
    """`clients` connections, each asking again when it is answered; paths in turn."""
    command = ["wrk", "-t1", f"-c{clients}", f"-d{max(1, round(seconds))}s", "--timeout", "30s"]
    command += ["-s", str(HERE / "post.lua"), f"http://127.0.0.1:{port}", "--", kind, str(body), *paths]
    return _read(command)


def opened(port: int, path: str, kind: str, body: Path, rate: float, seconds: float, drain: float = 2) -> Load:
    """`rate` requests a second whether or not they are answered; `drain` [s] more for the last ones."""
    figures = [f"{rate:.3f}", f"{seconds:g}", f"{drain:g}"]
    return _read([str(_client()), str(port), path, kind, str(body), *figures])


def _client() -> Path:
    source, built = HERE / "openloop.c", HERE / ".built/openloop"
    if not built.exists() or built.stat().st_mtime < source.stat().st_mtime:
        built.parent.mkdir(exist_ok=True)
        subprocess.run(["cc", "-O2", "-o", str(built), str(source)], check=True)
    return built


def _read(command: list[str]) -> Load:
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    line = next(line for line in said.splitlines() if line.startswith("JSON "))
    return Load(**json.loads(line[5:]))
