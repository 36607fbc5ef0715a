"""Probes: an imported graph is run before it is stored, and compared with a second reader where there is one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from glia.core.card import Parity
from glia.core.errors import ImportFailed, StoreError
from glia.core.session import Session, Tensors, TensorSpec
from glia.importers.importer import ImportedGraph
from glia.importers.parity import compare
from glia.runtime.plan import Plan
from glia.runtime.second_reader import SecondReader, second_reader
from glia.runtime.sessions import open_session

PROBES = 2
TOLERANCE = 1e-4
OPEN_PX = (32, 64, 128, 224)
"""Sizes that a graph leaves open are probed at the first of these that it takes [px]; the batch at 1."""
SLOW_S = 1.0
"""A network whose probe takes longer is probed once."""


def prove(graph: ImportedGraph, path: Path, format: str, files: Mapping[str, Path]) -> Parity:
    """Run seeded probes through the graph at `path`; compare with what reads `files` here, if anything does.

    Raises ImportFailed where the runtime refuses the graph, where a number is not finite, or differs too much.
    """
    try:
        session = open_session(path, Plan(threads=0))
    except StoreError as error:
        raise ImportFailed(
            f"The runtime refuses the graph: {error.message}. This is a fault of the importer."
        ) from error
    probes, answers = _probed(session)
    reader = second_reader(format, files) if len(session.inputs) == 1 else None
    expected = _read(reader, probes, answers) if reader is not None else None
    if reader is None or expected is None:
        return Parity(oracle="none", probes=len(probes))
    number = iter(range(len(probes)))
    found = compare(lambda _: expected[next(number)], session.run, probes, TOLERANCE, reader.name)
    return Parity(
        oracle=found.oracle,
        probes=found.probes,
        max_abs=found.max_abs,
        max_rel=found.max_rel,
        tolerance=found.tolerance,
    )


def _probed(session: Session) -> tuple[list[Tensors], list[Tensors]]:
    """Seeded probes, and what the graph gives for them. Raises ImportFailed where it takes none of the sizes."""
    random, probes, answers = np.random.default_rng(0), list[Tensors](), list[Tensors]()
    sizes = list(OPEN_PX)
    while len(probes) < PROBES:
        probe, begun = {spec.name: _array(spec, random, sizes[0]) for spec in session.inputs}, time.perf_counter()
        try:
            answers.append(_run(session, probe))
        except _Refused as error:
            if len(sizes) == 1 or all(size is not None for spec in session.inputs for size in spec.shape[1:]):
                raise ImportFailed(f"The graph does not run: {error}") from error
            del sizes[0]
            continue
        probes.append(probe)
        if time.perf_counter() - begun > SLOW_S:
            break
    return probes, answers


class _Refused(Exception):
    """The runtime does not run a probe: another size may do."""


def _array(spec: TensorSpec, random: np.random.Generator, px: int) -> Shaped[np.ndarray, "..."]:
    sizes = [size or (1 if axis == 0 else px) for axis, size in enumerate(spec.shape)]
    if spec.dtype.startswith("float"):
        return random.standard_normal(sizes).astype(spec.dtype)
    return random.integers(0, 2 if spec.dtype == "bool" else 100, sizes).astype(spec.dtype)


def _run(session: Session, probe: Tensors) -> Tensors:
    try:
        answer = session.run(probe)
    except Exception as error:
        raise _Refused(str(error)[:300]) from error
    for name, value in answer.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise ImportFailed(f"{name} holds infinities or NaN for an ordinary input. The weights are damaged.")
    return answer


def _read(reader: SecondReader, probes: list[Tensors], answers: list[Tensors]) -> list[Tensors] | None:
    """What the second reader gives, by our names; None where it fails, or has other outputs."""
    found = []
    for probe, answer in zip(probes, answers, strict=True):
        try:
            (given,) = probe.values()
            values = reader.run(given)
        except Exception:  # noqa: BLE001  a second reader that cannot run it is none
            return None
        # A library may list outputs in another order: by name where each is found, else as they come.
        plain = {name.partition(":")[0]: value for name, value in values.items()}
        matched = [plain.get(name) for name in answer] if set(answer) <= set(plain) else list(values.values())
        if [value.size for value in matched if value is not None] != [value.size for value in answer.values()]:
            return None
        pairs = zip(answer.items(), matched, strict=True)
        found.append({name: value.reshape(own.shape) for (name, own), value in pairs if value is not None})
    return found
