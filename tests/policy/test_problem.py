"""How a problem is shown."""

from __future__ import annotations

from datetime import date

import pytest

from sidecar.policy.problem import PolicyProblem, show
from sidecar.policy.tree import show_path

PROBLEM = PolicyProblem("a,b.yaml", 3, 7, "timeouts.total", "a duration", "30%", "did you mean 30s?")


def test_text() -> None:
    assert PROBLEM.text() == "a,b.yaml:3:7: timeouts.total: expected a duration, got 30%, did you mean 30s?"
    assert PolicyProblem("f", 1, 1, "", "a", "b").text() == "f:1:1: expected a, got b"


def test_github_escapes_what_would_end_the_command() -> None:
    assert PROBLEM.github() == (
        "::error file=a%2Cb.yaml,line=3,col=7,title=policy::"
        "timeouts.total: expected a duration, got 30%25, did you mean 30s?"
    )


def test_json() -> None:
    assert PROBLEM.json() == {
        "file": "a,b.yaml",
        "line": 3,
        "column": 7,
        "key": "timeouts.total",
        "expected": "a duration",
        "got": "30%",
        "hint": "did you mean 30s?",
    }


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "nothing"),
        ({}, "an empty mapping"),
        ({"a": 1}, "a mapping"),
        ([], "an empty list"),
        (("x",), "a list"),
        ("a", '"a"'),
        ("a\nb", '"a\\nb"'),
        (True, "true"),
        (3, "3"),
        (0.5, "0.5"),
        (date(2026, 11, 22), "2026-11-22"),
    ],
)
def test_values_are_shown_by_kind(value: object, shown: str) -> None:
    assert show(value) == shown


def test_a_long_value_is_never_shown_whole() -> None:
    secret = "sk_live_" + "x" * 100
    assert len(show(secret)) == 60
    assert secret not in show(secret)


def test_a_name_cannot_steer_the_terminal() -> None:
    text = PolicyProblem("a\x1b[2J\n.yaml", 1, 1, "k", "x", "y").text()
    assert text.isprintable()


def test_paths() -> None:
    assert show_path(("routes", 2, "retry", "attempts")) == "routes[2].retry.attempts"
    assert show_path(("when", "body", "/error/code")) == 'when.body["/error/code"]'
    assert show_path((0,)) == "[0]"
