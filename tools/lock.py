"""Resolve the newest versions that pyproject.toml allows into requirements.lock.

The lock is for Linux x86-64 and arm64 and macOS arm64, Python 3.11 and later; torch stays outside it, since which
build of it fits is the machine's affair. Packages that exist for some of these only carry a marker.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
MARKERS = {
    "hf-xet": 'platform_machine == "x86_64" or platform_machine == "arm64" or platform_machine == "aarch64"',
    "openvino": 'platform_machine == "x86_64" or platform_machine == "AMD64"',
    "openvino-telemetry": 'platform_machine == "x86_64" or platform_machine == "AMD64"',
    "uvloop": 'sys_platform != "win32"',
}
HEAD = "# Made by `make lock`: exact versions for Linux x86-64 and arm64 and macOS arm64. Torch is outside the lock.\n"


def main() -> None:
    """Write the lock."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    report = subprocess.run([*command, f"{ROOT}[dev]"], check=True, capture_output=True, text=True).stdout
    rows = []
    for item in json.loads(report)["install"]:
        name, version = item["metadata"]["name"].lower().replace("_", "-"), item["metadata"]["version"]
        if name != "glia":
            rows.append(f"{name}=={version}" + (f" ; {MARKERS[name]}" if name in MARKERS else ""))
    (ROOT / "requirements.lock").write_text(HEAD + "\n".join(sorted(rows)) + "\n")


if __name__ == "__main__":
    main()
