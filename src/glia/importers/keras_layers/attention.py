"""Attention: of many heads, and the plain kinds.

Source: keras/src/layers/attention/*.py of Keras 3; Vaswani et al. 2017, arXiv:1706.03762.
"""

from __future__ import annotations

import math

import numpy as np
from onnx import numpy_helper

from glia.core.errors import ImportFailed
from glia.importers.faults import unsupported
from glia.importers.keras_layers.scope import Applied, Rule

FAR = 1e9
"""Taken from the scores of what must not be seen."""


def _tensors(call: Applied, first: str, second: str, third: str) -> tuple[str, str, str]:
    """Query, value and key: positions, or keywords; the key is the value where it is not given."""
    given = [call.plain(handle) for handle in call.handles]
    for word in (first, second, third)[len(given) :]:
        handle = call.keywords.get(word)
        if isinstance(handle, str):
            given.append(call.plain(handle))
        elif handle is None:
            break
    if len(given) < 2:
        raise ImportFailed("it needs a query and a value")
    return given[0], given[1], given[2] if len(given) > 2 else given[1]


def _refuse_masks(call: Applied) -> None:
    for key in ("attention_mask", "query_mask", "value_mask", "key_mask", "mask"):
        if call.keywords.get(key) is not None:
            raise unsupported(f"attention with `{key}`")
    if any(handle in call.scope.masks for handle in call.handles):
        raise unsupported("attention over masked steps")


def _weighed(call: Applied, scores: str) -> str:
    """Scores [..., t, s] to weights; with a causal mask no step sees later ones."""
    graph = call.graph
    if call.keywords.get("use_causal_mask") is True or call.config.get("causal") is True:
        rank = graph.rank(scores)
        bounds = [graph.ints(name, [at]) for name, at in (("start", rank - 2), ("end", rank))]
        sizes = graph.node("Slice", [graph.node("Shape", [scores]), *bounds])
        one = numpy_helper.from_array(np.ones(1, np.float32))
        seen = graph.node("Trilu", [graph.node("ConstantOfShape", [sizes], value=one)], upper=0)
        unseen = graph.node("Sub", [seen, graph.scalar("one", 1.0)])
        scores = graph.node("Add", [scores, graph.node("Mul", [unseen, graph.scalar("far", FAR)])])
    return graph.node("Softmax", [scores], axis=-1)


def _heads(call: Applied) -> str | list[str]:
    """Multi-head attention over one axis: [n, t, f] and [n, s, g] to [n, t, f]."""
    _refuse_masks(call)
    query, value, key = _tensors(call, "query", "value", "key")
    graph = call.graph
    if any(graph.rank(tensor) != 3 for tensor in (query, value, key)):
        raise unsupported("attention over more than one axis")
    bias = call.flag("use_bias", True)
    step = 2 if bias else 1

    def projected(tensor: str, at: int, part: str, rank: int, equation: str) -> str:
        kernel = call.constant(f"{part}/kernel", call.weight(at * step, rank, f"the kernel of {part}"))
        y = graph.node("Einsum", [tensor, kernel], equation=equation)
        if not bias:
            return y
        return graph.node("Add", [y, call.constant(f"{part}/bias", call.weight(at * step + 1, None, "a bias"))])

    q = projected(query, 0, "query", 3, "ntf,fhd->nthd")
    k = projected(key, 1, "key", 3, "nsf,fhd->nshd")
    v = projected(value, 2, "value", 3, "nsf,fhd->nshd")
    scale = graph.scalar("scale", 1 / math.sqrt(call.integer("key_dim", least=1)))
    scores = graph.node("Einsum", [graph.node("Mul", [q, scale]), k], equation="nthd,nshd->nhts")
    scores = _weighed(call, scores)
    mixed = graph.node("Einsum", [scores, v], equation="nhts,nshd->nthd")
    y = projected(mixed, 3, "attention_output", 3, "nthd,hdf->ntf")
    return [y, scores] if call.keywords.get("return_attention_scores") is True else y


def _plain(call: Applied) -> str:
    """Dot-product attention (Luong)."""
    _refuse_masks(call)
    query, value, key = _tensors(call, "query", "value", "key")
    graph = call.graph
    if call.text("score_mode", "dot") != "dot":
        raise unsupported("attention with another score than `dot`")
    scores = graph.node("Einsum", [query, key], equation="ntf,nsf->nts")
    if call.flag("use_scale", False):
        scores = graph.node("Mul", [scores, call.constant("scale", call.weight(0, None, "the scale").reshape(()))])
    return graph.node("MatMul", [_weighed(call, scores), value], call.hint)


def _additive(call: Applied) -> str:
    """Attention by a sum (Bahdanau): the score is sum(scale * tanh(query + key))."""
    _refuse_masks(call)
    query, value, key = _tensors(call, "query", "value", "key")
    graph = call.graph
    rows = graph.node("Unsqueeze", [query, graph.ints("axes", [2])])
    columns = graph.node("Unsqueeze", [key, graph.ints("axes", [1])])
    each = graph.node("Tanh", [graph.node("Add", [rows, columns])])
    if call.flag("use_scale", True):
        each = graph.node("Mul", [each, call.constant("scale", call.weight(0, 1, "the scale"))])
    scores = graph.node("ReduceSum", [each, graph.ints("axes", [-1])], keepdims=0)
    return graph.node("MatMul", [_weighed(call, scores), value], call.hint)


RULES: dict[str, Rule] = {"MultiHeadAttention": _heads, "Attention": _plain, "AdditiveAttention": _additive}
