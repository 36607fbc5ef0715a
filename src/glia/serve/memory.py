"""What processes use of the machine's memory, as the system tells it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3


@dataclass(frozen=True)
class Memory:
    """A process's memory [bytes]; zeros for one that is gone."""

    used: int = 0
    """Proportional set size on Linux (pages shared by n processes count 1/n), resident set size elsewhere."""
    resident: int = 0
    peak: int = 0
    """The most that it ever used: `used`, with the resident high-water mark in place of the resident size."""


def read_memory(pid: int) -> Memory:
    """What a process uses now, and at most used. Source: Linux, Documentation/filesystems/proc.rst."""
    try:
        sums = _rows(Path(f"/proc/{pid}/smaps_rollup").read_text())
        status = _rows(Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return Memory() if os.path.isdir("/proc/self") else _shown_by_ps(pid)
    used, resident = sums.get("Pss", 0), sums.get("Rss", 0)
    return Memory(used, resident, max(used, status.get("VmHWM", resident) - (resident - used)))


def _rows(text: str) -> dict[str, int]:
    rows = (line.split() for line in text.splitlines())
    return {row[0].rstrip(":"): int(row[1]) << 10 for row in rows if len(row) == 3 and row[2] == "kB"}


def _shown_by_ps(pid: int) -> Memory:
    shown = subprocess.run(
        ["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    resident = int(shown) << 10 if shown else 0
    return Memory(resident, resident, resident)


def machine_bytes() -> int:
    """Memory of the machine, or of the control group that this process is confined to.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst, `memory.max`.
    """
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        return min(found, int(limit)) if limit != "max" else found
    except (OSError, ValueError):
        return found


def restart_peak() -> Memory:
    """This process's memory up to now; from now on its peak is counted afresh, where the system can do that.

    Source: Linux, Documentation/filesystems/proc.rst, `clear_refs`.
    """
    found = read_memory(os.getpid())
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return found


def keep_large_buffers_apart(least: int) -> None:
    """Let glibc map every buffer above `least` bytes by itself, so that its memory returns when it is freed.

    By default glibc raises that threshold to 32 MB once such a buffer was freed, and keeps what lies below it. Setting
    it by hand sets the other to 128 kB, above which the top of the heap is given back at every free, to be faulted in
    again by the next request: that one is raised.
    """
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError, OSError):  # another C library
            library = ctypes.CDLL(None)
            library.mallopt(M_MMAP_THRESHOLD, least)
            library.mallopt(M_TRIM_THRESHOLD, max(8 << 20, 2 * least))


def give_back_free_memory() -> None:
    """Return what the C library keeps for later to the system; costs milliseconds, so only while nothing is asked."""
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError, OSError):
            ctypes.CDLL(None).malloc_trim(0)
