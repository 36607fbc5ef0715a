"""Who changes the models during the soak: binds, unbinds, unloads, loads."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

from benchmarks.process import Tree, post
from benchmarks.run import say
from benchmarks.soak_clients import Answers
from glia.store.bindings import Bindings

PAUSE_S = 8.0
REST_S = 4.0
"""A model that is unloaded by hand is not asked for so long."""
STRAY = 0.005
"""Share of requests that go to any model instead of one of the favourites: the first copy, and another in turn."""


class Operator:
    """Changes something every few seconds; clients ask it what they may ask for."""

    def __init__(
        self, tree: Tree, home: Path, copies: list[str], best: str, answers: Answers, draw: random.Random
    ) -> None:
        """`best`: the model that answers objects where nothing is bound."""
        self.tree, self.copies, self.best, self.answers, self.draw = tree, copies, best, answers, draw
        self._bindings = Bindings(home)
        self._lock = threading.Lock()
        self._resting = ""
        self._bound = best
        self._favourites = [copies[0], "objects"]
        self._told = False

    def pick(self, draw: random.Random) -> str:
        """A service that should answer now: one of the favourites, rarely any."""
        with self._lock:
            every = [name for name in ("objects", *self.copies, self.best) if name != self._resting]
            liked = [name for name in self._favourites if name in every] or every
        return draw.choice(every if draw.random() < STRAY else liked)

    def run(self, until: float) -> None:
        """Change what is liked, bind, unbind, or unload and load again."""
        while time.monotonic() < until - REST_S:
            self.draw.choice((self.turn, self.turn, self.bind, self.unbind, self.rest))()
            time.sleep(self.draw.uniform(0.3, 1.7) * PAUSE_S)

    def turn(self) -> None:
        """Another model is liked: what was liked before becomes the next to be evicted."""
        with self._lock:
            fresh = [name for name in ("objects", *self.copies, self.best) if name not in self._favourites]
            self._favourites = [self._favourites[0], self.draw.choice(fresh)]

    def bind(self) -> None:
        """Let another model answer objects."""
        self._bound = self.draw.choice(self.copies)
        self._bindings.set("objects", {"model": self._bound})

    def unbind(self) -> None:
        """Let the best model answer objects."""
        self._bound = self.best
        self._bindings.clear("objects")

    def rest(self) -> None:
        """Unload a model that nobody asks for meanwhile, and load it again."""
        # A binding is seen by the server a second later: what was bound a moment ago is left alone too.
        free = [name for name in self.copies[1:] if name != self._bound]
        model = self.draw.choice(free)
        with self._lock:
            self._resting = model
        time.sleep(REST_S / 2)
        self._repository(model, "unload")
        time.sleep(REST_S / 2)
        self._repository(model, "load")
        with self._lock:
            self._resting = ""

    def _repository(self, model: str, verb: str) -> None:
        try:
            status, said = post(
                self.tree.port, f"/v2/repository/models/{model}/{verb}", "application/json", b"{}", timeout=60
            )
        except OSError as error:
            self.answers.add("failed", f"{verb}: {error!r}")
            return
        if status in (404, 405) and not self._told:
            self._told = True
            say(f"no route to {verb} a model: {status}")
        elif status not in (200, 404, 405):
            self.answers.judge(status, "0" if status == 503 else None, f"{verb} {said[:100]!r}")
