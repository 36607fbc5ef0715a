"""Tune: find out how a model is best run on this machine, on its example and on pictures to compare with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from glia.core.errors import GliaError, InputError
from glia.core.settings import Settings
from glia.core.task import Request
from glia.data.image import Image
from glia.evaluate.examples import read_encoded
from glia.runtime.directory import Directory, Resolved
from glia.runtime.guard import LEAST_N
from glia.runtime.plan import Plans, read_plans
from glia.runtime.service import example_request
from glia.runtime.tuning import Progress, Subject, tune
from glia.store.guard import guard_pictures


def tune_service(name: str, settings: Settings, progress: Progress, data: Path | None = None) -> Plans:
    """Measure the models that answer a service or bear a name; what was found is kept, and returned.

    `data`: a folder or an npz of the user's own files, to calibrate int8 with (half of them) and to compare candidates
    on (the other half); without it candidates are compared on the photos in the package, and int8 is not tried.
    Raises InputError where there is nothing to measure with, and GliaError.
    """
    directory = Directory(settings)
    resolved = directory.resolve(name)
    if not resolved.models:
        raise InputError(f"{name} runs no network, so there is nothing to tune.")
    own = _own(resolved, data) if data else []
    example = example_request(resolved, directory.store)
    request = example or next(iter(own), None)
    if request is None:
        raise InputError(
            f"{resolved.card.id} has no example on its card to measure with. Give some input: glia tune {name} --data F"
        )
    words = "the card's example" if example else "the first input given"
    guard = own[1::2] if own else list(_guard(resolved))
    subject = Subject(request, words, guard=guard, calibration=own[::2])
    return tune(resolved, subject, settings, progress)


def _own(resolved: Resolved, data: Path) -> list[Request]:
    """The user's inputs. Raises InputError where fewer than both halves need can be read."""
    files = read_encoded(data)
    found = list(_requests(resolved, files))
    if len(found) < 2 * LEAST_N:
        raise InputError(
            f"Expected at least {2 * LEAST_N} inputs for {resolved.name} in {data} (half to calibrate int8, half to "
            f"compare on), found {len(found)} among {len(files)} files. Give more, or leave --data out; "
            "nothing was changed."
        )
    return found


def tune_on_arrival(name: str, settings: Settings, progress: Progress) -> Plans | None:
    """The same for a model that was just stored; None where it is tuned already, or cannot be."""
    resolved = Directory(settings).resolve(name)
    if read_plans(settings.home, resolved.card) is not None:
        return None
    try:
        return tune_service(name, settings, progress)
    except InputError:
        return None


def _guard(resolved: Resolved) -> Iterator[Request]:
    """The package's photos as requests; none where the subject is no picture, or more than a picture is needed."""
    kind = resolved.contract.subject_media
    if kind is None or (not issubclass(Image, kind) and not issubclass(kind, Image)):
        return iter(())
    return _requests(resolved, (picture.data for picture in guard_pictures()))


def _requests(resolved: Resolved, files: Iterator[bytes] | Sequence[bytes]) -> Iterator[Request]:
    """Files as requests, each its subject alone; those that the task refuses are left out."""
    contract = resolved.contract
    for data in files:
        try:
            yield contract.request({contract.subject: [data] if contract.is_many(contract.subject) else data})
        except GliaError:
            continue
