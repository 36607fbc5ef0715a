"""Networks in `.keras` zips."""

from __future__ import annotations

from foreign.case import Case
from house import SHARED

NESTED = SHARED / "interop" / "keras-v3" / "keras-nested-container" / "pre_pr22362_nested_container.keras"


def cases() -> list[Case]:
    """Every network of the format."""
    if not NESTED.exists():
        return []
    custom = "Sequential or functional model, received the class 'NestedDenseModel'"
    return [Case("keras-v3", "keras-nested-container", {"model": NESTED}, "none", refused=custom)]
