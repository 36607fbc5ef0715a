"""The tree of errors: stable codes, one shape over the wire, and a drawing that is true."""

from __future__ import annotations

import json
import re

import pytest

from glia.core import errors
from glia.core.errors import GliaError, InputError, Overloaded, ReplicaDied, from_problem


def every(root: type[GliaError]) -> list[type[GliaError]]:
    """The classes of the package's tree, parents before children."""
    below = [kind for child in root.__subclasses__() if child.__module__ == errors.__name__ for kind in every(child)]
    return [root, *below]


def test_every_class_has_a_code_of_its_own_and_a_status() -> None:
    codes = [kind.code for kind in every(GliaError)]
    assert len(set(codes)) == len(codes)
    for kind in every(GliaError):
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", kind.code)
        assert 400 <= kind.status < 600


def test_no_class_outside_the_tree_takes_one_of_its_codes() -> None:
    import glia.serve.process
    import glia.store.sources  # noqa: F401

    def codes(root: type[GliaError]) -> list[str]:
        return [root.code, *(code for child in root.__subclasses__() for code in codes(child))]

    assert sorted(codes(GliaError)) == sorted(kind.code for kind in every(GliaError))


def test_the_docstring_draws_the_tree_as_it_is() -> None:
    rows = re.findall(r"^([│ ├└─]*)(\w+) +(\d{3})  ([a-z-]+)", errors.__doc__ or "", re.MULTILINE)
    drawn = [(len(indent) // 4, name, int(status), code) for indent, name, status, code in rows]
    depth = len(GliaError.__mro__)
    assert drawn == [(len(kind.__mro__) - depth, kind.__name__, kind.status, kind.code) for kind in every(GliaError)]


@pytest.mark.parametrize("kind", every(GliaError), ids=lambda kind: kind.code)
def test_an_error_survives_the_wire(kind: type[GliaError]) -> None:
    problem = json.loads(json.dumps(kind("what to do", fields=["a"], n=2).problem()))
    assert problem["detail"] == problem["error"] == "what to do"
    assert problem["type"] == f"urn:glia:error:{kind.code}"
    back = from_problem(problem)
    assert type(back) is kind
    assert (back.message, str(back), back.details) == ("what to do", "what to do", {"fields": ["a"], "n": 2})
    assert back.problem() == problem


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        ({"code": "of-tomorrow", "detail": "new"}, "new"),
        ({"error": "from another server"}, "from another server"),
        ({"message": "of a proxy"}, "of a proxy"),
        ({}, "no message"),
    ],
)
def test_a_problem_of_somebody_else_is_a_plain_error(problem: dict[str, str], message: str) -> None:
    error = from_problem(problem)
    assert type(error) is GliaError
    assert error.message == message


def test_what_may_be_tried_again_says_when() -> None:
    assert Overloaded("full").retry_after_s == ReplicaDied("dead").retry_after_s == 1
    assert InputError("wrong").retry_after_s is None
    assert errors.NoModel("none").retry_after_s is None
