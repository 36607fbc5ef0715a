"""This machine: what a tuned plan depends on."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "openvino")


def cores() -> int:
    """Cores that this process may keep busy: its affinity, and no more than its control group's quota allows.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst, `cpu.max`.
    """
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            found = min(found, -(-int(quota) // int(period)))
    except (OSError, ValueError):
        pass
    return max(1, found)


@lru_cache
def machine() -> dict[str, Any]:
    """CPU model and features, usable cores, and the versions of the libraries that run graphs."""
    model, features = _cpu()
    return {"cpu": model, "features": features, "cores": cores(), "libraries": _libraries()}


@lru_cache
def machine_id() -> str:
    """A folder name: the same where a tuned plan still holds."""
    return hashlib.sha256(json.dumps(machine(), sort_keys=True).encode()).hexdigest()[:16]


def _cpu() -> tuple[str, list[str]]:
    """Model name and instruction sets, sorted; as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
        rows = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
        model = rows.get("model name") or rows.get("CPU part") or platform.machine()
        return model, sorted((rows.get("flags") or rows.get("Features") or "").split())
    except OSError:
        pass
    shown = subprocess.run(
        ["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return shown or platform.machine(), []


def _libraries() -> dict[str, str]:
    found = {}
    for name in RUNTIMES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
