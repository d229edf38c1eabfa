"""Every mistake that somebody makes, and what is said about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.policy.documents import load, texts

GOOD = "provider: acme\nhosts: [api.acme.com]\n"


def said(directory: Path, text: str) -> list[str]:
    return texts(load(directory, a=GOOD + text), directory)


def mistakes() -> list[tuple[str, str]]:
    lines = [line for line in (Path(__file__).parent / "mistakes.txt").read_text().splitlines() if line]
    return [(lines[n], lines[n + 1].strip()) for n in range(1, len(lines), 2)]


@pytest.mark.parametrize(("text", "problem"), mistakes())
def test_one_mistake_is_one_clear_problem(tmp_path: Path, text: str, problem: str) -> None:
    found = said(tmp_path, text)
    assert len(found) == 1
    assert problem in found[0]


def test_a_problem_has_its_place(tmp_path: Path) -> None:
    assert said(tmp_path, "retry:\n  attempts: 3\n  atempts: 4\n") == [
        "a.yaml:5:3: retry.atempts: expected one of attempts, backoff, hint, methods, budget, "
        'got the unknown key "atempts", did you mean attempts?'
    ]


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    found = said(
        tmp_path,
        "retry: {attempts: 0}\ntimeouts: {total: 5, connect: 9s, attempt: 3s}\nroutes:\n"
        "- {name: a, match: {method: GET}}\n- {name: a, match: {method: GET}}\n- {name: B, match: {path: x}}\n",
    )
    keys = [line.split(": ")[1] for line in found]
    assert keys == [
        "retry.attempts",
        "timeouts.total",
        "timeouts.connect",
        "routes[1].name",
        "routes[1].match",
        "routes[2].name",
        "routes[2].match.path",
    ]


def test_a_thousand_problems_are_all_told(tmp_path: Path) -> None:
    loaded = load(tmp_path, a=GOOD + "".join(f"bad{n}: 1\n" for n in range(1000)))
    assert len(loaded.problems) == 1000


def test_an_inherited_problem_is_told_once(tmp_path: Path) -> None:
    routes = "".join(f"- {{name: r{n}, match: {{path: /{n}}}, retry: {{attempts: 2}}}}\n" for n in range(5))
    assert len(said(tmp_path, f"retry: {{methods: x}}\nroutes:\n{routes}")) == 1


def test_a_narrower_total_simply_cuts_the_attempt(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        defaults="timeouts: {attempt: 8s}\n",
        a=GOOD + "timeouts: {total: 5s}\nroutes: [{name: a, match: {}, timeouts: {total: 1s}}]\n",
    )
    assert not loaded.problems
    timeouts = loaded.providers[0].routes[0].timeouts
    assert timeouts is not None
    assert (timeouts.attempt, timeouts.total) == (8.0, 1.0)


def test_a_provider_must_be_reachable(tmp_path: Path) -> None:
    assert texts(load(tmp_path, a="provider: a\n"), tmp_path) == [
        "a.yaml:1:11: expected hosts, an upstream, or extends with a pack that has them, got none of them"
    ]


def test_a_provider_must_have_a_name(tmp_path: Path) -> None:
    assert texts(load(tmp_path, a="hosts: [x.com]\n"), tmp_path) == [
        "a.yaml:1:1: provider: expected the key provider, got nothing"
    ]


def test_names_and_hosts_belong_to_one_file(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        a="provider: one\nhosts: [x.com, y.com]\n",
        b="provider: one\nhosts: [z.com, X.com]\n",
        c="provider: three\nhosts: [c.com, c.com]\n",
    )
    assert texts(loaded, tmp_path) == [
        'b.yaml:1:11: provider: expected a name that no other file has, got "one", a.yaml:1 has it already',
        'b.yaml:2:16: hosts[1]: expected a host that no other provider has, got "X.com", a.yaml:2 has it already',
        'c.yaml:2:16: hosts[1]: expected a host that no other provider has, got "c.com", c.yaml:2 has it already',
    ]


def test_a_shadowed_route_names_the_other(tmp_path: Path) -> None:
    found = said(
        tmp_path,
        "routes:\n- {name: all, match: {path: '/v1/{rest...}'}}\n- {name: one, match: {method: GET, path: /v1/x}}\n",
    )
    assert found == [
        "a.yaml:5:22: routes[1].match: expected calls that no earlier route takes, got none left, "
        "put it before all, which takes them all"
    ]


def test_a_value_is_never_echoed_at_length(tmp_path: Path) -> None:
    secret = "sk_live_" + "0123456789" * 10
    (found,) = said(tmp_path, f"retry: {{methods: {secret}}}")
    assert secret not in found
