"""One run of the benchmark: its networks, homes, pictures, bodies, and where its rows go."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.choice import Choice, plain_choice, read_choice, write_spec
from benchmarks.pictures import PICTURES, write_all
from benchmarks.process import Tree, free_port, get
from benchmarks.rows import Row, append
from benchmarks.systems import FP32, GLIA, TWIN_FP32, System, Work, payload
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
        """Makes pictures, homes and specifications; asks Glia what it chose. `cold`: the disk cache may be dropped."""
        self.csv = csv
        self.seconds = seconds
        self.networks = networks
        self.cold = cold
        self.folder = HERE / ".work"
        self.id = ""
        self.date = ""
        self.pictures = write_all(self.folder / "pictures")
        self.homes = {network: home_of(network) for network in networks}
        self.plain = {network: plain_choice(self.homes[network], network) for network in networks}
        self.choices = {network: self._ask_choice(network) for network in networks}

    def _ask_choice(self, network: str) -> Choice:
        body, port = self.body("raw", DETAILED), free_port()
        path, work = GLIA.path.format(network=network), self.work(GLIA, network, self.plain[network])
        with Tree(GLIA.command(port, work), GLIA.environment(work), port, self.folder / "choice.log") as tree:
            tree.until_answered(path, body.kind, body.data)
            return read_choice(self.homes[network], network, get(port, "/info"))

    def work(self, system: System, network: str, choice: Choice | None = None) -> Work:
        """What a system is started for. The twin gets Glia's choice, documented peers the graph as it is stored."""
        same = not system.documented and system not in (FP32, TWIN_FP32)
        chosen = choice or (self.choices if same else self.plain)[network]
        home = self.homes[network]
        spec = write_spec(self.folder / f"{network}-{chosen.runtime}-{chosen.precision}.json", home, network, chosen)
        return Work(network, chosen, home, spec, self.folder)

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
