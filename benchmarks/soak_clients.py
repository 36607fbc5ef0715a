"""Who asks during the soak: patient clients, batches, and clients that leave."""

from __future__ import annotations

import http.client
import json
import random
import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from benchmarks.pictures import drawing, encode, texture
from benchmarks.process import Tree
from benchmarks.systems import form_of

WIDTHS = (100, 240, 640, 1280, 2400, 4000)
FORMATS = ("jpeg", "png", "webp")
PAUSE_S = 0.12
"""Mean pause of a client between two requests: the load leaves part of the machine idle."""
BATCH = 12


class Models(Protocol):
    """Knows which models may be asked just now."""

    def pick(self, draw: random.Random) -> str:
        """The name of a service that should answer."""
        ...


def pictures(folder: Path) -> dict[str, bytes]:
    """The drawn mug with texture, in every width and format; made once."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for width in WIDTHS:
        for format in FORMATS:
            file = folder / f"{width}.{format}"
            if not file.exists():
                rough = 0 if format == "png" else 8 * texture(width, width * 3 // 4, width)
                file.write_bytes(encode(drawing("mug", width, width * 3 // 4) + rough, format))
            found[file.name] = file.read_bytes()
    return found


class Answers:
    """What came back, counted; the first answer to each question is kept, and every later one compared with it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter(ok=0, busy=0, failed=0, left=0)
        self._why: Counter[str] = Counter()
        self._first: dict[tuple[str, str], dict[str, Any]] = {}

    def counts(self) -> Counter[str]:
        """ok, busy (503 with Retry-After), failed, left."""
        with self._lock:
            return Counter(self._counts)

    def told(self) -> list[str]:
        """Lines: how many, and why some failed."""
        counts = self.counts()
        return [", ".join(f"{name} {count}" for name, count in counts.items()), *map(str, self._why.most_common(5))]

    def add(self, kind: str, why: str = "") -> None:
        """Count one."""
        with self._lock:
            self._counts[kind] += 1
            if why:
                self._why[why[:200]] += 1

    def judge(self, status: int, retry_after: str | None, said: str) -> bool:
        """Count an answer by its status; whether it was good."""
        if status == 200:
            self.add("ok")
        elif status == 503 and retry_after:
            self.add("busy")
        else:
            self.add("failed", f"{status} {said}")
        return status == 200

    def compare(self, model: str, picture: str, best: dict[str, Any]) -> None:
        """The same model must say the same of the same picture, whoever else asks."""
        first = self._first.setdefault((model, picture), best)
        if first["label"] != best["label"] or abs(first["score"] - best["score"]) > 0.01:
            self.add("failed", f"{model} said {first} of {picture}, then {best}")


class Client:
    """Common to all: a server, models, pictures, answers, and randomness of its own."""

    pause_s = PAUSE_S

    def __init__(
        self, tree: Tree, models: Models, files: dict[str, bytes], answers: Answers, draw: random.Random
    ) -> None:
        self.tree, self.models, self.files, self.answers, self.draw = tree, models, files, answers, draw

    def run(self, until: float) -> None:
        """Ask, pause, ask."""
        while time.monotonic() < until:
            try:
                self.once()
            except (OSError, http.client.HTTPException) as error:
                self.answers.add("failed", repr(error))
            time.sleep(self.draw.uniform(0.3, 1.7) * self.pause_s)

    def once(self) -> None:
        """One request."""
        raise NotImplementedError

    def some_picture(self) -> str:
        """Small ones more often than large ones."""
        names = list(self.files)
        return self.draw.choices(names, [1 / int(name.partition(".")[0]) ** 0.5 for name in names])[0]

    def post(self, path: str, kind: str, body: bytes) -> Any:
        """The JSON of a good answer, None for another."""
        connection = http.client.HTTPConnection("127.0.0.1", self.tree.port, timeout=90)
        try:
            connection.request("POST", path, body, {"content-type": kind})
            answer = connection.getresponse()
            said = answer.read()
            good = self.answers.judge(answer.status, answer.headers["retry-after"], said.decode(errors="replace"))
            return json.loads(said) if good else None
        finally:
            connection.close()


class Asker(Client):
    """A patient client."""

    def once(self) -> None:
        """One picture to one model."""
        model, name = self.models.pick(self.draw), self.some_picture()
        answer = self.post(f"/v1/services/{model}", f"image/{name.partition('.')[2]}", self.files[name])
        if answer is not None and model != "objects":  # who answers for objects changes
            self.answers.compare(model, name, answer[0])


class Batcher(Client):
    """A batch of small pictures, now and then."""

    pause_s = 20.0

    def once(self) -> None:
        """One batch; every row of it must be an answer."""
        small = [data for name, data in self.files.items() if name.endswith("jpeg")][:4]
        kind, body = form_of([self.draw.choice(small) for _ in range(BATCH)], "image")
        rows = self.post(f"/v1/services/{self.models.pick(self.draw)}/batch", kind, body)
        for row in rows or []:
            if not isinstance(row, list):
                busy = row.get("status") == 503
                self.answers.add("busy" if busy else "failed", "" if busy else f"batch: {row}")


class Leaver(Client):
    """Leaves with half of the picture sent, or without waiting for the answer."""

    pause_s = 3.0

    def once(self) -> None:
        """One request that nobody waits for."""
        body = self.files[self.some_picture()]
        head = f"POST /v1/services/{self.models.pick(self.draw)} HTTP/1.1\r\nHost: localhost\r\n"
        head += f"Content-Type: application/octet-stream\r\nContent-Length: {len(body)}\r\n\r\n"
        sent = body[: len(body) // 2] if self.draw.random() < 0.5 else body
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.tree.port), 10) as connection:
            connection.sendall(head.encode() + sent)
            time.sleep(self.draw.uniform(0, 0.03))
        self.answers.add("left")
