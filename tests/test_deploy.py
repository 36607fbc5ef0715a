"""The container and the unit: what they start exists, and they start it as users are told."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from glia.core.settings import TABLE
from house import ROOT

DEPLOY = ROOT / "deploy"
NAMES = {setting.variable for setting in TABLE} | {"GLIA_HOME"}


@pytest.mark.parametrize("file", ["Dockerfile", "glia.service"])
def test_every_setting_that_is_named_exists(file: str) -> None:
    named = set(re.findall(r"GLIA_[A-Z_]+", (DEPLOY / file).read_text()))
    assert named
    assert named <= NAMES


def test_the_container_copies_what_the_build_needs_and_nothing_else() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    copied = {name for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.M) for name in line.split()}
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == kept
    assert all((ROOT / name).exists() for name in copied)
    assert re.search(r"^USER glia$", text, re.M)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_the_unit_is_one(tmp_path: Path) -> None:
    unit = tmp_path / "glia.service"
    unit.write_text((DEPLOY / "glia.service").read_text().replace("/opt/glia/bin/glia", shutil.which("true") or ""))
    run = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert "glia.service" not in run.stderr, run.stderr
