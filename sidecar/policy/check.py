"""Everything that is wrong with one provider's merged policy, and the policy itself when nothing is.

What may live here: validation and what holds between keys. Which trees make a provider is `sources.py`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeVar

from pydantic import ValidationError

from sidecar.policy.attached import resolve_attached
from sidecar.policy.check_degrade import degrade_problems
from sidecar.policy.match import unreachable
from sidecar.policy.merge import merge, merge_all, without
from sidecar.policy.model import ProviderPolicy, Route, Settings
from sidecar.policy.pem import resolve_files, tls_problems
from sidecar.policy.problem import PolicyProblem, show
from sidecar.policy.shape import Model
from sidecar.policy.tree import Node, Path, Place, plain, show_path
from sidecar.policy.units import NotUnderstood, parse_duration, show_duration
from sidecar.policy.wording import describe

M = TypeVar("M", bound=Model)

SETTINGS = frozenset(Settings.model_fields)
"""The keys that a route may override."""

_DEFAULTS = Settings()
_ORDERED: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("timeouts", "connect"), ("timeouts", "attempt")),
    (("timeouts", "attempt"), ("timeouts", "total")),
    (("retry", "backoff", "base"), ("retry", "backoff", "cap")),
    (("breaker", "open", "base"), ("breaker", "open", "cap")),
)
"""Durations of which the first must not be longer than the second."""


@dataclass(frozen=True, slots=True)
class Checked:
    """One provider: its policy, unless there are problems, and the tree that it came from."""

    policy: ProviderPolicy | None
    tree: Node
    """The layers merged; routes are as written, so that `route_tree` merges them."""
    problems: tuple[PolicyProblem, ...]


def check_provider(layers: Sequence[Node]) -> Checked:
    """Validate what the layers say together; the last is the provider's own file."""
    tree = resolve_attached(resolve_files(merge_all(layers)))
    provider, problems = validate(without(tree, ("routes",)), ProviderPolicy)
    routes_node = tree.get("routes")
    routes: list[Route | None] = []
    if routes_node is not None and not isinstance(routes_node.value, list):
        problems.append(_problem(routes_node.place, ("routes",), "a list of routes", show(routes_node.value)))
    for index, node in enumerate(routes_node.items() if routes_node is not None else ()):
        route, found = validate(route_tree(tree, node), Route, ("routes", index))
        routes.append(_inherit(route, node, provider) if route is not None and provider is not None else route)
        problems += found
    problems += _between_keys(layers, tree, routes)
    policy = None if problems or provider is None else provider.model_copy(update={"routes": tuple(routes)})
    return Checked(policy, tree, tuple(distinct(problems)))


def validate(tree: Node, model: type[M], prefix: Path = ()) -> tuple[M | None, list[PolicyProblem]]:
    """A tree as a model, or everything that keeps it from being one."""
    try:
        return model.model_validate(plain(tree), by_alias=True, by_name=False), []
    except ValidationError as error:
        errors = error.errors(include_url=False)
        return None, [describe(one, tree, model, prefix) for one in errors]


def route_tree(provider: Node, route: Node) -> Node:
    """A route with the provider's settings below its own, for those keys that it overrides."""
    if not isinstance(route.value, dict):
        return route
    merged = dict(route.value)
    for key in route.value.keys() & SETTINGS:
        below = provider.get(key)
        merged[key] = route.value[key] if below is None else merge(below, route.value[key])
    return Node(merged, route.place, route.key_place)


def distinct(problems: Iterable[PolicyProblem]) -> list[PolicyProblem]:
    """Each problem once, though many routes or providers inherit it, in the order of the files."""
    first = {(p.file, p.line, p.column, p.expected, p.got): p for p in reversed(list(problems))}
    return sorted(first.values())


def duplicates(checked: Iterable[Checked]) -> Iterator[PolicyProblem]:
    """Provider names and hosts that more than one file, or one file twice, lays claim to."""
    names: dict[str, Place] = {}
    hosts: dict[str, Place] = {}
    for one in checked:
        provider, listed = one.tree.get("provider"), one.tree.get("hosts")
        if provider is None:
            continue
        yield from _claim(provider, ("provider",), names, "a name that no other file has")
        own = one.policy.hosts if one.policy is not None else ()
        for index, (host, node) in enumerate(zip(own, listed.items() if listed is not None else (), strict=False)):
            # A host that came with a pack can only be mended in the file that extends it.
            where = node if node.place.file == provider.place.file else Node(host, provider.place, provider.key_place)
            yield from _claim(where, ("hosts", index), hosts, "a host that no other provider has", host)


def _claim(
    node: Node | None, path: Path, taken: dict[str, Place], expected: str, name: str | None = None
) -> Iterator[PolicyProblem]:
    if node is None or not isinstance(node.value, str):
        return
    first = taken.setdefault(name or node.value, node.place)
    if first is not node.place:
        yield _problem(node.place, path, expected, show(node.value), f"{first} has it already")


def _inherit(route: Route, node: Node, provider: ProviderPolicy) -> Route:
    written = node.value if isinstance(node.value, dict) else {}
    return route.model_copy(update={key: getattr(provider, key) for key in SETTINGS - written.keys()})


def _between_keys(layers: Sequence[Node], tree: Node, routes: Sequence[Route | None]) -> Iterator[PolicyProblem]:
    yield from _out_of_order(layers, tree, ())
    yield from _reachable(tree)
    yield from tls_problems(tree)
    yield from _empty_conditions(tree, ())
    yield from degrade_problems(tree, ())
    yield from _route_names(tree)
    routes_node = tree.get("routes")
    for index, node in enumerate(routes_node.items() if routes_node is not None else ()):
        prefix = ("routes", index)
        if isinstance(node.value, dict) and not SETTINGS.isdisjoint(node.value):
            yield from _out_of_order((*layers, node), route_tree(tree, node), prefix)
            yield from _empty_conditions(node, prefix)
            yield from degrade_problems(node, prefix)
    known = [(index, route) for index, route in enumerate(routes) if route is not None]
    for later, earlier in unreachable((route.match.method, route.match.path) for _, route in known).items():
        place = _at(tree, "routes", known[later][0], "match").place
        expected = "calls that no earlier route takes"
        hint = f"put it before {known[earlier][1].name}, which takes them all"
        yield _problem(place, ("routes", known[later][0], "match"), expected, "none left", hint)


def _out_of_order(layers: Sequence[Node], tree: Node, prefix: Path) -> Iterator[PolicyProblem]:
    """Bounds that contradict each other. A narrower layer may lower the upper one: that simply cuts the lower."""
    for low, high in _ORDERED:
        low_node = tree.at(*low)
        if low_node is None or _level(layers, low) < _level(layers, high):
            continue
        low_s, high_s = _seconds(tree, low), _seconds(tree, high)
        if low_s is not None and high_s is not None and low_s > high_s:
            default = "" if tree.at(*high) is not None else ", its default"
            expected = f"at most {show_path(high)}, which is {show_duration(high_s)}{default}"
            yield _problem(low_node.place, (*prefix, *low), expected, show(low_node.value))


def _level(layers: Sequence[Node], path: tuple[str, ...]) -> int:
    return max((level for level, layer in enumerate(layers) if layer.at(*path) is not None), default=-1)


def _seconds(tree: Node, path: tuple[str, ...]) -> float | None:
    node = tree.at(*path)
    if node is None:
        default: Any = reduce(getattr, path, _DEFAULTS)
        return float(default)
    try:
        return parse_duration(node.value)
    except NotUnderstood:
        return None


def _reachable(tree: Node) -> Iterator[PolicyProblem]:
    hosts, upstream = tree.get("hosts"), tree.get("upstream")
    if upstream is None and (hosts is None or hosts.value == []):
        name = tree.get("provider") or tree
        expected = "hosts, an upstream, or extends with a pack that has them"
        yield _problem(name.place, (), expected, "none of them")


def _empty_conditions(tree: Node, prefix: Path) -> Iterator[PolicyProblem]:
    rules = tree.get("classify")
    for index, rule in enumerate(rules.items() if rules is not None else ()):
        when = rule.get("when")
        if when is not None and when.value == {}:
            path = (*prefix, "classify", index, "when")
            yield _problem(when.place, path, "at least one of status, header, body", "an empty mapping")


def _route_names(tree: Node) -> Iterator[PolicyProblem]:
    names: dict[str, Place] = {}
    routes = tree.get("routes")
    for index, node in enumerate(routes.items() if routes is not None else ()):
        path = ("routes", index, "name")
        yield from _claim(node.get("name"), path, names, "a name that no other route of the provider has")


def _at(tree: Node, *path: str | int) -> Node:
    return tree.find(path)[0]


def _problem(place: Place, path: Path, expected: str, got: str, hint: str = "") -> PolicyProblem:
    return PolicyProblem(*place, show_path(path), expected, got, hint)
