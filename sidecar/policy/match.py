"""Which provider and which route a call belongs to, in time that does not grow with their number.

What may live here: indexes built once per compile and asked once per call, on bytes as they came. No policies.

Paths are compared as the provider will read them, which is by percent-decoded segments. Where servers disagree on what
a path means (dot segments, encoded or backward slashes, encoded NUL, broken escapes), no route matches at all: such a
call has the provider's own settings, and can neither enter nor leave a route by a trick of spelling. A slash at the end
and doubled slashes make empty segments, which match nothing but themselves and `{rest...}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Generic, TypeVar, final
from urllib.parse import unquote_to_bytes

from sidecar.policy.template import Hole, segments

T = TypeVar("T")

_NEVER: Final = 1 << 62
"""An order behind every route's."""
PERCENT: Final = 0x25
BACKSLASH: Final = 0x5C
DOT: Final = 0x2E
SLASH: Final = 0x2F
QUESTION_MARK: Final = 0x3F
"""As numbers: a search for bytes among bytes first finds out, by an exception, that they are none."""
_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})|%(?:2[Ff]|5[Cc]|00)")


@final
class HostIndex(Generic[T]):
    """Values by host: exact names first, then `*.` wildcards, the longest first; case does not count.

    A name without a port stands for every port; one with a port is preferred.
    """

    __slots__ = ("_below", "_exact")

    def __init__(self, hosts: Iterable[tuple[str, T]]) -> None:
        self._exact: dict[bytes, T] = {}
        self._below: dict[bytes, T] = {}
        for host, value in hosts:
            if host.startswith("*."):
                self._below[host[2:].encode()] = value
            else:
                self._exact[host.encode()] = value

    def find(self, host: bytes) -> T | None:
        """The value for a Host field or an authority, port included if it has one."""
        found = self._exact.get(host)
        if found is not None:
            return found
        host = host.lower()
        found = self._find(host)
        if found is not None:
            return found
        name, colon, port = host.rpartition(b":")
        if colon and port.isdigit():
            return self._find(name)
        return None

    def _find(self, host: bytes) -> T | None:
        if host.endswith(b"."):
            host = host[:-1]
        found = self._exact.get(host)
        if found is not None or not self._below:
            return found
        dot = host.find(b".")
        while dot > 0:
            found = self._below.get(host[dot + 1 :])
            if found is not None:
                return found
            dot = host.find(b".", dot + 1)
        return None


class _Branch:
    """One segment deep in the tree of templates. `first` is the lowest order of all below: it lets a search stop."""

    __slots__ = ("any_method", "first", "literal", "methods", "one", "rest")

    def __init__(self) -> None:
        self.literal: dict[bytes, _Branch] = {}
        self.one: _Branch | None = None
        self.rest: _Branch | None = None
        """Where `{rest...}` ends; it has nothing below."""
        self.methods: dict[str, int] = {}
        """The first route that ends here, by method; already lowered to `any_method` where that comes first."""
        self.any_method = _NEVER
        self.first = _NEVER


@final
class RouteIndex(Generic[T]):
    """Values by method and path; the first route in the order given wins.

    Each route is its methods (none: any), its template and its value; `otherwise` is for calls that match none.
    """

    __slots__ = ("_otherwise", "_root", "_values")

    def __init__(self, routes: Iterable[tuple[tuple[str, ...], str, T]], otherwise: T) -> None:
        self._root = _Branch()
        self._otherwise = otherwise
        self._values: list[T] = []
        for methods, template, value in routes:
            self._add(methods, template, len(self._values))
            self._values.append(value)

    def find(self, method: str, target: bytes) -> T:
        """The value for a method and an origin-form target, whose query does not count."""
        root = self._root
        if root.first == _NEVER or not target or target[0] != SLASH:
            return self._otherwise
        path = target.partition(b"?")[0] if QUESTION_MARK in target else target
        if PERCENT in path or BACKSLASH in path or (DOT in path and path.find(b"/.") >= 0):
            parts = _decoded(path)
            if parts is None:
                return self._otherwise
        else:
            parts = path.split(b"/")
        order = _search(root, parts, 1, method, _NEVER)
        return self._otherwise if order == _NEVER else self._values[order]

    def first(self, method: str, parts: list[bytes]) -> int | None:
        """The order of the winner for decoded segments, the first of them empty; None when none matches."""
        order = _search(self._root, parts, 1, method, _NEVER)
        return None if order == _NEVER else order

    def _add(self, methods: tuple[str, ...], template: str, order: int) -> None:
        branch = self._root
        branch.first = min(branch.first, order)
        for part in segments(template):
            branch = _below(branch, part)
            branch.first = min(branch.first, order)
        if not methods and branch.any_method == _NEVER:
            branch.any_method = order
        for method in methods:
            branch.methods.setdefault(method, min(order, branch.any_method))


def _below(branch: _Branch, part: bytes | Hole) -> _Branch:
    if part is Hole.ONE:
        branch.one = branch.one or _Branch()
        return branch.one
    if part is Hole.REST:
        branch.rest = branch.rest or _Branch()
        return branch.rest
    return branch.literal.setdefault(part, _Branch())


def _search(branch: _Branch, parts: list[bytes], at: int, method: str, best: int) -> int:
    """The lowest order below `branch` that matches the parts from `at` on, if it is lower than `best`."""
    end = len(parts)
    while at < end:
        rest = branch.rest
        if rest is not None and rest.first < best:
            best = min(best, rest.methods.get(method, rest.any_method))
        one = branch.one
        part = parts[at]
        at += 1
        literal = branch.literal.get(part)
        if one is not None and part and one.first < best:
            if literal is not None and literal.first < best:
                best = _search(literal, parts, at, method, best)
            branch = one
        elif literal is not None:
            branch = literal
        else:
            return best
        if branch.first >= best:
            return best
    best = min(best, branch.methods.get(method, branch.any_method))
    rest = branch.rest
    return best if rest is None else min(best, rest.methods.get(method, rest.any_method))


def _decoded(path: bytes) -> list[bytes] | None:
    """The segments, percent-decoded; None where servers would not agree on them."""
    if b"\\" in path or _BAD_ESCAPE.search(path):
        return None
    parts = [unquote_to_bytes(part) for part in path.split(b"/")]
    return None if b"." in parts or b".." in parts else parts


def unreachable(routes: Iterable[tuple[tuple[str, ...], str]]) -> Mapping[int, int]:
    """Routes that can never win, with an earlier one that wins in their place: it covers their methods and path."""
    listed = list(routes)
    index = RouteIndex([(methods, path, None) for methods, path in listed], None)
    depth = max((path.count("/") for _, path in listed), default=0) + 1
    shadowed: dict[int, int] = {}
    for order, (methods, path) in enumerate(listed):
        winners = {
            index.first(method, sample) for sample in _samples(path, depth) for method in methods or ("ANY OTHER",)
        }
        earlier = [winner for winner in winners if winner is not None and winner != order]
        if order not in winners and earlier:
            shadowed[order] = max(earlier)
    return shadowed


def _samples(template: str, depth: int) -> list[list[bytes]]:
    """Paths such that whatever wins all of them covers the template: its holes hold what no literal is."""
    fresh = b"\xff"
    parts = [fresh if part is Hole.ONE else part for part in segments(template)]
    if parts[-1] is not Hole.REST:
        return [[b"", *_known(parts)]]
    start = [b"", *_known(parts[:-1])]
    return [start, [*start, b""], [*start, *[fresh] * depth]]


def _known(parts: Sequence[bytes | Hole]) -> list[bytes]:
    return [part for part in parts if isinstance(part, bytes)]
