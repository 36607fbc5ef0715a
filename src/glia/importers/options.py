"""Options that importers of several formats take."""

from __future__ import annotations

from glia.core.errors import ImportFailed

MAX_INPUT = 1 << 16


def read_size(value: object) -> tuple[int, int] | None:
    """The option `input_size`: a number, or height and width [px]; None where it is absent. Raises ImportFailed."""
    if value is None:
        return None
    given = list(value) if isinstance(value, list | tuple) else [value, value]
    sizes = [size for size in given if isinstance(size, int) and not isinstance(size, bool) and 0 < size <= MAX_INPUT]
    if not len(sizes) == len(given) == 2:
        raise ImportFailed(f"Expected `input_size` as [height, width] up to {MAX_INPUT}, received {str(value)[:100]}.")
    return sizes[0], sizes[1]


def read_names(value: object) -> list[str]:
    """The option `outputs`: a name or several; none where it is absent. Raises ImportFailed."""
    if value is None:
        return []
    names = [value] if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else []
    if not names or not all(isinstance(name, str) for name in names):
        raise ImportFailed(f"Expected `outputs` as a list of names, received {str(value)[:100]}.")
    return names
