"""How much one picture may promise, in this process."""

from __future__ import annotations

from dataclasses import dataclass

from glia.core.settings import Settings


@dataclass(frozen=True)
class Limits:
    """How much one picture may promise: encoded `bytes`, `pixels` in all, and the longer `side` [px]."""

    bytes: int = 32 * 2**20
    pixels: int = 64_000_000
    side: int = 32_768


_limits = Limits()


def limits() -> Limits:
    """The limits in force in this process."""
    return _limits


def set_limits(new: Limits) -> None:
    """Replace the limits of this process; pictures already decoded are not looked at again."""
    global _limits
    _limits = new


def apply_limits(settings: Settings) -> None:
    """Let this process refuse media above the settings' limits."""
    set_limits(Limits(settings["max_media_mb"] << 20, settings["max_megapixels"] * 1_000_000))
