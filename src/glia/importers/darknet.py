"""Darknet: a cfg, its weights, and a list of labels if it is given. Detection heads stay raw: no boxes are computed.

Source: https://github.com/AlexeyAB/darknet, https://github.com/pjreddie/darknet
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from glia.core.errors import ImportFailed
from glia.importers.darknet_layers.files import Numbers, Section, is_cfg, read_cfg
from glia.importers.darknet_layers.rules import HEADS, IDENTITY, REFUSED_OPTIONS, RULES, Build
from glia.importers.faults import Faults, unsupported
from glia.importers.graph import GraphWriter
from glia.importers.importer import ImportedGraph, read_limited, refuse_unknown
from glia.importers.labels import MAX_LABEL_BYTES, read_labels
from glia.importers.options import read_names, read_size

MAX_TEXT_BYTES = 1 << 20
MAX_WEIGHTS_BYTES = 2 << 30
HEAD_BYTES = 1 << 16
BATCH, INPUT = "n", "image"


class Darknet:
    """Networks of Darknet; options: `input_size` [px], a number or (height, width); `outputs`, as `<kind>_<place>`."""

    format = "darknet"

    def sniff(self, head: bytes, size: int) -> bool:
        """Text that begins with [net] and has a section of a layer."""
        return is_cfg(head)

    def read(self, files: Mapping[str, Path], options: Mapping[str, Any]) -> dict[str, ImportedGraph]:
        """The network of role `model`. Raises ImportFailed."""
        refuse_unknown(options, {"input_size", "outputs"})
        size, wanted = read_size(options.get("input_size")), read_names(options.get("outputs"))
        cfg, weights, labels = _sort(files)
        net, sections = read_cfg(read_limited(cfg, MAX_TEXT_BYTES).decode("utf-8", "replace"), cfg.name)
        _refuse(sections, cfg.name)
        data = read_limited(weights, MAX_WEIGHTS_BYTES)
        shape = _input(net)
        if size is None:
            try:
                build = _write(cfg, sections, Numbers(data, weights.name), [BATCH, shape[0], "h", "w"])
            except ImportFailed:  # a layer needs the size; what else is wrong will be told again
                build = _write(cfg, sections, Numbers(data, weights.name), [BATCH, *shape])
        else:
            build = _write(cfg, sections, Numbers(data, weights.name), [BATCH, shape[0], *size])
        return {"model": _finished(build, sections, wanted, shape, labels)}


def _sort(files: Mapping[str, Path]) -> tuple[Path, Path, dict[str, Any]]:
    """The text, the weights and the labels, by their content. Raises ImportFailed."""
    cfgs, others, labels = [], [], dict[str, Any]()
    for path in files.values():
        head = read_head(path)
        if is_cfg(head):
            cfgs.append(path)
        elif path.stat().st_size <= MAX_LABEL_BYTES and (found := read_labels(read_limited(path, MAX_LABEL_BYTES))):
            labels = found
        else:
            others.append(path)
    if len(cfgs) != 1 or len(others) != 1:
        raise ImportFailed(
            f"Expected a cfg and its weights, received {len(cfgs)} of the first and {len(others)} of the second: "
            f"{sorted(path.name for path in files.values())[:20]}."
        )
    return cfgs[0], others[0], labels


def read_head(path: Path) -> bytes:
    """The first bytes of a file. Raises ImportFailed."""
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as error:
        raise ImportFailed(f"{path.name} cannot be read: {error.strerror}. Check the path and its rights.") from None


def _refuse(sections: Sequence[Section], file: str) -> None:
    """Raise ImportFailed with all layers that have no rule: the weights behind such a layer could not be found."""
    faults = Faults(file)
    for section in sections:
        with faults.of(section.name, section.kind):
            if section.kind not in RULES and section.kind not in HEADS | IDENTITY:
                raise unsupported("this kind of layer")
            for key in REFUSED_OPTIONS.get(section.kind, ()):
                if section.options.get(key, "0") not in ("0", "", "none"):
                    raise unsupported(f"the option {key}")
    faults.check()


def _input(net: Section) -> tuple[int, int, int]:
    """Channels, height and width. Raises ImportFailed."""
    try:
        return net.size("channels", 3), net.size("height", 0), net.size("width", 0)
    except ImportFailed as error:
        raise ImportFailed(f"The section [net] must say height, width and channels: {error.message}.") from None


def _write(cfg: Path, sections: Sequence[Section], numbers: Numbers, shape: Sequence[int | str]) -> Build:
    """The graph without its outputs. Raises ImportFailed."""
    build = Build(GraphWriter("darknet"), numbers)
    build.source = build.graph.input(INPUT, shape)
    for section in sections:
        build.section = section
        if section.kind in HEADS | IDENTITY:
            build.tensors.append(build.before)
            continue
        try:
            with build.graph.layer(section.name, section.kind):
                tensor = RULES[section.kind](build, section)
        except ImportFailed as error:
            raise ImportFailed(f"{cfg.name}: {section.name}: {error.message}. Nothing was stored.") from None
        build.tensors.append(tensor)
    numbers.check_end()
    return build


def _finished(
    build: Build, sections: Sequence[Section], wanted: list[str], shape: tuple[int, int, int], labels: dict[str, Any]
) -> ImportedGraph:
    heads = [section for section in sections if section.kind in HEADS]
    by_name = {section.name: section for section in sections}
    if unknown := [name for name in wanted if name not in by_name]:
        raise ImportFailed(f"No layer is called {unknown[0][:100]!r}; the last ones are {list(by_name)[-10:]}.")
    ends = [by_name[name] for name in wanted] or heads or [sections[-1]]
    for end in ends:
        build.graph.output(end.name, build.tensors[end.index])
    model = build.graph.model()
    outputs = [value.name for value in model.graph.output]
    known: dict[str, Any] = {"size": list(shape[1:])}
    notes = ["Darknet gives its networks RGB of 0..1; the files do not say so."]
    if heads and not wanted:
        known["heads"] = [_head(head) for head in heads]
        notes.append(f"The heads {[head.name for head in heads][:20]} are raw: boxes are not computed in the graph.")
    counts = {head.integer("classes", 0) for head in heads}
    counts |= {dim.dim_value for output in model.graph.output for dim in output.type.tensor_type.shape.dim}
    if labels and len(labels["labels"]) in counts:
        known |= labels
    elif labels:
        notes.append(f"A list of {len(labels['labels'])} labels was given, which fits no output; it is not used.")
    mapped = {"scores": outputs[0]} if len(outputs) == 1 else {name: name for name in outputs}
    return ImportedGraph(model, {"image": INPUT}, mapped, tuple(notes), tuple(build.graph.layers), known)


def _head(section: Section) -> dict[str, Any]:
    """What a decoder of boxes must know: anchors are (width, height) [px of the input; cells, for region]."""
    numbers = [float(part) for part in section.options.get("anchors", "").split(",") if _is_number(part)]
    pairs = [list(pair) for pair in zip(numbers[::2], numbers[1::2], strict=False)]
    mask = section.integers("mask") or list(range(len(pairs)))
    return {
        "output": section.name,
        "kind": section.kind,
        "classes": section.integer("classes", 0),
        "anchors": [pairs[number] for number in mask if 0 <= number < len(pairs)],
        "scale_x_y": section.number("scale_x_y", 1.0),
        "new_coords": section.integer("new_coords", 0),
    }


def _is_number(part: str) -> bool:
    try:
        return abs(float(part)) < 1e9
    except ValueError:
        return False


IMPORTER = Darknet()
