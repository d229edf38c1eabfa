"""What must hold within `cache` and `fallback`: lifetimes agree, names exist, every rung can be reached.

What may live here: what shows only when keys are seen together. Single values are `bodies.py`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sidecar.policy.fields import switched_off
from sidecar.policy.problem import PolicyProblem, show
from sidecar.policy.tree import Node, Path, Step, show_path
from sidecar.policy.units import NotUnderstood, parse_duration
from sidecar.rules.fallback import WITHOUT_BODY
from sidecar.rules.placeholder import PathValues, UnbalancedBrace, names_of, parse_parts

BODIES = ("json", "text", "file")
WHEN = ("reason", "outcome", "status", "method")


def degrade_problems(owner: Node, prefix: Path) -> Iterator[PolicyProblem]:
    """What is wrong with `cache` and `fallback` of a provider or a route, as that one wrote them."""
    match = owner.get("match")
    template = None if match is None else match.text("path")
    names = PathValues(template or "").names
    cache, fallback = owner.get("cache"), owner.get("fallback")
    if cache is not None:
        yield from _lifetimes(cache, (*prefix, "cache"))
        yield from _names(cache.get("tags"), (*prefix, "cache", "tags"), names)
    rungs = [] if fallback is None else fallback.items()
    for index, rung in enumerate(rungs):
        path = (*prefix, "fallback", index)
        yield from _bodies(rung, path)
        yield from _fields(rung.get("headers"), (*path, "headers"))
        yield from _when(rung, path, last=index == len(rungs) - 1)
        for key in ("headers", "json", "text"):
            yield from _names(rung.get(key), (*path, key), names)


def _lifetimes(cache: Node, path: Path) -> Iterator[PolicyProblem]:
    """`ttl` is short for `store: {ttl: …}`, so both must say the same."""
    short, long = cache.get("ttl"), cache.at("store", "ttl")
    if short is None or long is None:
        return
    try:
        agree = parse_duration(short.value) == parse_duration(long.value)
    except NotUnderstood:
        agree = switched_off(short.value) is not None  # else it is a mistake that has been told
    if not agree:
        expected = f"what store.ttl says, which is {show(long.value)}"
        yield _problem(short, (*path, "ttl"), expected, show(short.value), "leave one of them out")


def _bodies(rung: Node, path: Path) -> Iterator[PolicyProblem]:
    written = [(key, node) for key in BODIES if (node := rung.get(key)) is not None]
    for key, node in written[1:]:
        yield _problem(
            node, (*path, key), "one of json, text, file", "a second body", f"{written[0][0]} stands there already"
        )
    status = rung.get("status")
    if written and status is not None and isinstance(status.value, int) and status.value in WITHOUT_BODY:
        yield _problem(status, (*path, "status"), "a status whose replies may have a body", show(status.value))


def _fields(headers: Node | None, path: Path) -> Iterator[PolicyProblem]:
    """Names are compared without case, which YAML does not know."""
    first: dict[str, str] = {}
    for name, node in headers.value.items() if headers is not None and isinstance(headers.value, dict) else ():
        known = first.setdefault(name.lower(), name)
        if known != name:
            yield _problem(node, (*path, name), "each header once", "it a second time", f"{known} stands there already")


def _when(rung: Node, path: Path, *, last: bool) -> Iterator[PolicyProblem]:
    when = rung.get("when")
    if when is None and not last:
        hint = "without when it stands in for all that the next ones could; put it last"
        yield _problem(rung, path, "the key when in all but the last", "nothing", hint)
    elif when is not None and when.value == {}:
        yield _problem(when, (*path, "when"), f"at least one of {', '.join(WHEN)}", "an empty mapping")


def _names(node: Node | None, path: Path, names: frozenset[str]) -> Iterator[PolicyProblem]:
    """Holes that no call could fill, at the texts that have them."""
    if node is None:
        return
    value = node.value
    steps: Iterable[tuple[Step, Node]] = value.items() if isinstance(value, dict) else enumerate(node.items())
    for step, below in steps:
        yield from _names(below, (*path, step), names)
    if isinstance(value, str):
        yield from _unknown(value, node, path, names)


def _unknown(text: str, node: Node, path: Path, names: frozenset[str]) -> Iterator[PolicyProblem]:
    try:
        unknown = names_of(parse_parts(text)) - names
    except UnbalancedBrace:
        expected = "a text whose braces hold a name such as {id}"
        yield _problem(node, path, expected, show(text), "write {{ and }} for the braces themselves")
        return
    if unknown:
        known = " or ".join(f"{{{name}}}" for name in sorted(names))
        expected = f"names of the route's path, {known}" if known else "no {name}, since only a route's path has any"
        yield _problem(node, path, expected, ", ".join(f"{{{name}}}" for name in sorted(unknown)))


def _problem(node: Node, path: Path, expected: str, got: str, hint: str = "") -> PolicyProblem:
    return PolicyProblem(*node.place, show_path(path), expected, got, hint)
