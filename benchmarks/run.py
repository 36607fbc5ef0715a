"""One run of the benchmark: its networks, homes, pictures, bodies, and where its rows go."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.choice import is_tuned, read_choice, write_spec
from benchmarks.pictures import PICTURES, write_all
from benchmarks.rows import Row, append
from benchmarks.systems import FP32, TWIN_FP32, System, Work, payload
from glia.store.store import Store

HERE = Path(__file__).parent
NETWORKS = ("imagenet-squeezenet-fp16-onnx", "imagenet-efficientnet-lite0")
DETAILED, SMOOTH = PICTURES[0].name, PICTURES[1].name
SHOWS = {picture.name: picture.shows for picture in PICTURES}


def say(words: str) -> None:
    """A line of progress."""
    sys.stderr.write(f"{datetime.now(UTC):%H:%M:%S} {words}\n")


@dataclass(frozen=True)
class Body:
    """A request's body, as a file for the clients."""

    kind: str
    file: Path

    @property
    def data(self) -> bytes:
        """The bytes."""
        return self.file.read_bytes()


class Run:
    """What every measurement needs."""

    def __init__(self, csv: Path, seconds: float, networks: tuple[str, ...], cold: bool = True) -> None:
        """Makes pictures and homes; reads what Glia chose. `cold`: the disk cache may be dropped."""
        self.csv = csv
        self.seconds = seconds
        self.networks = networks
        self.cold = cold
        self.folder = HERE / ".work"
        self.id = ""
        self.date = ""
        self.pictures = write_all(self.folder / "pictures")
        self.homes = {network: home_of(network) for network in networks}
        self.choices = {network: read_choice(self.homes[network], network) for network in networks}
        self.fp32 = {network: read_choice(self.homes[network], network, "fp32") for network in networks}

    def work(self, system: System, network: str) -> Work:
        """What a system is started for. Documented peers take from the choice in fp32 its graph alone."""
        held = system.documented or system in (FP32, TWIN_FP32)
        choice, home = (self.fp32 if held else self.choices)[network], self.homes[network]
        spec = write_spec(self.folder / f"{network}-{choice.runtime}-{choice.precision}.json", home, network, choice)
        return Work(network, home, spec, self.folder)

    def body(self, form: str, picture: str) -> Body:
        """One picture in a system's form."""
        kind, data = payload(form, self.pictures[picture].read_bytes())
        return self.keep(f"{picture}-{form}", kind, data)

    def keep(self, name: str, kind: str, data: bytes) -> Body:
        """A body as a file."""
        file = self.folder / "bodies" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return Body(kind, file)

    def write(self, round: int, kind: str, system: str, **more: Any) -> Row:
        """Add one row."""
        row = Row(self.id, self.date, round, kind, system, **more)
        append(self.csv, row)
        return row


def home_of(network: str) -> Path:
    """A home with this network alone, fetched once (and tuned on arrival); GLIA_MIRROR is heeded."""
    home = HERE / ".homes" / network
    if network not in {card.name for card in Store(home).list()}:
        say(f"fetching {network}")
        subprocess.run([sys.executable, "-m", "glia", "fetch", network, "--home", str(home)], check=True)
    if not is_tuned(home, network):
        say(f"{network} is not tuned on this machine: Glia follows its default plan")
    return home


def copies(home: Path, network: str, names: list[str], into: Path) -> Path:
    """A home with the network under several names."""
    shutil.rmtree(into, ignore_errors=True)
    stored = Store(home).get(network)
    files = {
        str(file.relative_to(stored.folder)): file
        for file in stored.folder.rglob("*")
        if file.is_file() and file.name != "card.json"
    }
    for name in names:
        Store(into).put(stored.card.model_copy(update={"name": name, "service": None}), files)
    if (home / "tuning").exists():
        shutil.copytree(home / "tuning", into / "tuning")
    return into
