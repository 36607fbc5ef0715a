"""A graph and a plan to a session that is ready to run."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from glia.core.errors import StoreError
from glia.core.session import Session
from glia.runtime.plan import Plan


def open_session(path: Path, plan: Plan, cache: Path | None = None) -> Session:
    """Load a graph as the plan says. `cache`: a folder for what a runtime compiles. Raises StoreError."""
    if plan.runtime == "openvino":
        if not has_openvino():
            raise StoreError("The plan of this model asks for OpenVINO, which is not installed. Run: glia tune NAME")
        from glia.runtime.openvino_session import OpenVinoSession

        return OpenVinoSession(path, plan.threads, max(1, plan.lanes), plan.precision, cache)
    from glia.runtime.onnx_session import OnnxSession

    return OnnxSession(path, plan.threads, plan.device, plan.precision)


def has_openvino() -> bool:
    """Whether OpenVINO is installed; does not load it."""
    return importlib.util.find_spec("openvino") is not None
