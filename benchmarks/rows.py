"""The raw rows: bench.csv, one row a measurement, and runs.csv, one row a run with the machine and the versions."""

from __future__ import annotations

import csv
import os
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from benchmarks.load import Load

FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16", "asimd")
"""Of the CPU, those that decide how fast networks run."""


@dataclass(frozen=True)
class Row:
    """One measurement. Load has the middle columns; what is a single number has `value` and `unit`."""

    run: str
    date: str
    round: int
    kind: str
    system: str
    network: str = ""
    picture: str = ""
    clients: int = 0
    rate: float = 0.0
    seconds: float = 0.0
    answered: int = 0
    failed: int = 0
    rps: float = 0.0
    p50_ms: float = 0.0
    p90_ms: float = 0.0
    p99_ms: float = 0.0
    value: float = 0.0
    unit: str = ""
    note: str = ""

    @classmethod
    def read(cls, texts: dict[str, str]) -> Self:
        """From a line of the file."""
        kinds: dict[str, Any] = {"int": lambda text: int(text or 0), "float": lambda text: float(text or 0), "str": str}
        return cls(**{field.name: kinds[str(field.type)](texts[field.name]) for field in fields(cls)})


def measured(load: Load) -> dict[str, Any]:
    """The columns that a load fills."""
    return {
        "seconds": load.seconds,
        "answered": load.answered,
        "failed": load.failed,
        "rps": load.rps,
        "p50_ms": load.p50_ms,
        "p90_ms": load.p90_ms,
        "p99_ms": load.p99_ms,
    }


def append(file: Path, row: Any) -> None:
    """Add a row; the file gets its heading when it is made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    texts = {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in asdict(row).items()}
    new = not file.exists()
    with file.open("a", newline="") as out:
        writer = csv.DictWriter(out, list(texts), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(texts)


def read_rows(file: Path) -> list[Row]:
    """Every row of a file."""
    with file.open(newline="") as lines:
        return [Row.read(texts) for texts in csv.DictReader(lines)]


@dataclass(frozen=True)
class Machine:
    """What a run ran on, and with."""

    run: str
    date: str
    commit: str
    cpu: str
    features: str
    cores: int
    memory_gb: float
    kernel: str
    python: str
    choices: str
    """Network to runtime, precision and lanes, as Glia chose."""
    seconds: float
    rounds: int
    versions: str
    """Of every system's packages."""


def machine(choices: Iterable[str], seconds: float, rounds: int, versions: Iterable[str]) -> Machine:
    """This machine, now."""
    now = datetime.now(UTC)
    cpu, flags = cpu_facts()
    return Machine(
        run=now.strftime("%Y%m%dT%H%M%SZ"),
        date=now.date().isoformat(),
        commit=_commit(),
        cpu=cpu,
        features=" ".join(feature for feature in FEATURES if feature in flags),
        cores=os.cpu_count() or 1,
        memory_gb=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
        kernel=platform.release(),
        python=platform.python_version(),
        choices="; ".join(choices),
        seconds=seconds,
        rounds=rounds,
        versions="; ".join(versions),
    )


def cpu_facts() -> tuple[str, set[str]]:
    """Model (with family, where the name says little) and features of the CPU."""
    found: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        found.setdefault(name.strip(), value.strip())
    family = f"family {found.get('cpu family', '?')} model {found.get('model', '?')}"
    return f"{found.get('model name', platform.machine())} ({family})", set(
        (found.get("flags") or found.get("Features") or "").split()
    )


def _commit() -> str:
    here = Path(__file__).parent
    told = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=here, capture_output=True, text=True)
    return told.stdout.strip()
