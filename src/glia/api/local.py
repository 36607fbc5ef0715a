"""Services in this process: `glia.predict("objects", "photo.jpg")`."""

from __future__ import annotations

import threading
from typing import Any

from glia.api.subject import fields
from glia.core.fields import Media
from glia.core.settings import Settings
from glia.data.limits import apply_limits
from glia.runtime.directory import Directory
from glia.runtime.plan import Plan, plan_for
from glia.runtime.service import Service, load


class Local:
    """Loaded services, kept by what they hold. Safe to use from several threads."""

    def __init__(self, settings: Settings | None = None, *, many: bool = False) -> None:
        """`many`: requests come from one thread a core, and run as they are served; else one at a time, on all cores.

        Loads nothing yet.
        """
        self.settings = settings or Settings()
        self.directory = Directory(self.settings)
        self._many = many
        self._loaded: dict[str, Service] = {}
        self._loading = threading.Lock()
        apply_limits(self.settings)

    def service(self, ref: str) -> Service:
        """The loaded service `NAME[@VERSION]`. Raises NoModel, NotFound, StoreError."""
        resolved = self.directory.resolve(ref)
        with self._loading:
            if resolved.key not in self._loaded:
                # A plan is measured for requests in parallel, and may take long to load: not for a single one.
                plan = plan_for(resolved.card, self.settings) if self._many else Plan(lanes=1, threads=0)
                self._loaded[resolved.key] = load(resolved, self.directory.store, plan)
            return self._loaded[resolved.key]

    def predict(self, ref: str, subject: Any, **parameters: Any) -> Any:
        """The answer as plain data; a medium stays a medium. Raises GliaError."""
        service = self.service(ref)
        request = service.contract.request(fields(service.contract, subject, parameters))
        answer = service.predict(request)
        return answer if isinstance(answer, Media) else service.contract.answer_json(answer)


_shared: Local | None = None


def predict(service: str, subject: Any, **parameters: Any) -> Any:
    """Ask a service in this process, without a server.

    `subject`: a path, bytes or text, as the service's contract says. The network is loaded once and kept.
    Raises GliaError.
    """
    global _shared
    if _shared is None:
        _shared = Local()
    return _shared.predict(service, subject, **parameters)
