"""One virtual environment for each peer, so that each has the versions it asks for.

python -m benchmarks.venvs [NAME ...]
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.systems import ROOT, VENVS, tool

COMMON = ("onnxruntime", "pillow", "numpy")
PACKAGES: dict[str, tuple[str, ...]] = {
    # The twin runs here too, hence simplejpeg and OpenVINO; `installed_mb` counts them, see README.md.
    "fastapi": ("fastapi[standard]", "uvicorn[standard]", "simplejpeg", "openvino"),
    "litserve": ("litserve",),
    "bentoml": ("bentoml",),
    # Its inference pool asks for an event loop in a way that uvloop 0.22 and later refuse.
    "mlserver": ("mlserver", "uvloop<0.22"),
    "ray": ("ray[serve]",),
    "glia": (str(ROOT),),
    "plot": ("matplotlib",),
}


def make(name: str) -> str:
    """Make the environment if it is not there; what went wrong, or nothing."""
    folder = VENVS / name
    wanted = [*PACKAGES[name], *(() if name in ("glia", "plot") else COMMON)]
    stamp, wording = folder / ".installed", f"{folder}: {' '.join(wanted)}"  # one that was moved does not work
    if name == "glia":
        wording += (ROOT / "pyproject.toml").read_text()
    if stamp.exists() and stamp.read_text() == wording:
        return ""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    done = subprocess.run(
        [tool(name, "python"), "-m", "pip", "install", "--disable-pip-version-check", "-qq", *wanted],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return f"{name} does not install here: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}"
    stamp.write_text(wording)
    return ""


def versions(python: str) -> dict[str, str]:
    """Name to version of what an environment holds."""
    listed = "{each.name.lower(): each.version for each in metadata.distributions()}"
    code = f"import json; from importlib import metadata; print(json.dumps({listed}))"
    found: dict[str, str] = json.loads(subprocess.check_output([python, "-P", "-c", code], text=True))
    return found


def installed_mb(folder: Path) -> float:
    """Size on disk of an environment [MB]."""
    return int(subprocess.check_output(["du", "-sk", str(folder)], text=True).split()[0]) / 1024


if __name__ == "__main__":
    for each in sys.argv[1:] or list(PACKAGES):
        sys.stdout.write((make(each) or f"{each}: ready") + "\n")
