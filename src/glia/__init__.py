"""Glia: deep-learning microservices you own.

import glia
glia.predict("objects", "photo.jpg", top_k=3)                     # in this process
glia.Client("http://127.0.0.1:8080").predict("objects", "photo.jpg")   # from a running server
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glia.api.client import Client
    from glia.api.local import predict

__all__ = ["Client", "predict"]


def __getattr__(name: str) -> Any:
    # Doors pull in every room; `import glia` alone stays cheap.
    if name == "predict":
        from glia.api.local import predict

        return predict
    if name == "Client":
        from glia.api.client import Client

        return Client
    raise AttributeError(f"module 'glia' has no attribute {name!r}")
