"""`{name}` in a text of a policy's, filled with what a call's path has there.

What may live here: texts into parts, a path into values, and the escaping of a value for the place that it goes to.
Whatever a path holds, it stays a value: it cannot end the string, the field or the line that it is put into.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias, final
from urllib.parse import quote, unquote_to_bytes

import orjson

_BRACES: Final = re.compile(r"\{\{|\}\}|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)\}|[{}]")
_SEGMENT: Final = re.compile(r"\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<rest>\.\.\.)?\}")
_UNPRINTED: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Hole:
    """Where the value of that name goes."""

    name: str


Parts: TypeAlias = tuple[str | Hole, ...]
Escape: TypeAlias = Callable[[str], bytes]


class UnbalancedBrace(ValueError):  # noqa: N818 - named for what is wrong
    """A brace that is neither doubled nor around a name."""


def parse_parts(text: str) -> Parts:
    """A text's literal parts and its holes; `{{` and `}}` stand for braces. Raises `UnbalancedBrace`."""
    parts: list[str | Hole] = []
    literal = ""
    at = 0
    for found in _BRACES.finditer(text):
        literal += text[at : found.start()]
        at = found.end()
        if found["name"] is not None:
            parts += (literal, Hole(found["name"]))
            literal = ""
        elif len(found[0]) == 2:
            literal += found[0][0]
        else:
            raise UnbalancedBrace(text)
    parts.append(literal + text[at:])
    return tuple(part for part in parts if part)


def names_of(parts: Iterable[object]) -> frozenset[str]:
    return frozenset(part.name for part in parts if isinstance(part, Hole))


@final
class PathValues:
    """What the paths of calls have in the holes of their route's template."""

    __slots__ = ("_ones", "_rest", "names")

    def __init__(self, template: str) -> None:
        self._ones: list[tuple[str, int]] = []
        self._rest: tuple[str, int] | None = None
        for index, segment in enumerate(template.split("/")):
            found = _SEGMENT.fullmatch(segment)
            if found is None:
                continue
            if found["rest"] is None:
                self._ones.append((found["name"], index))
            else:
                self._rest = (found["name"], index)
        rest = [] if self._rest is None else [self._rest]
        self.names: frozenset[str] = frozenset(name for name, _ in self._ones + rest)

    def of(self, target: bytes) -> dict[str, str]:
        """Percent-decoded values by name; what is no UTF-8 is replaced. `target` is one that the route matches."""
        segments = target.partition(b"?")[0].split(b"/")
        values = {name: _decoded(segments[index]) for name, index in self._ones if index < len(segments)}
        if self._rest is not None:
            name, index = self._rest
            values[name] = _decoded(b"/".join(segments[index:]))
        return values


def for_json(value: str) -> bytes:
    """As it stands between the quotes of a JSON string (RFC 8259 7)."""
    return orjson.dumps(value)[1:-1]


def for_text(value: str) -> bytes:
    """Without control characters and line separators."""
    return _UNPRINTED.sub("", value).encode()


def for_field(value: str) -> bytes:
    """Percent-encoded but for unreserved characters (RFC 3986 2.3): nothing that means something in a field is left."""
    return quote(value, safe="").encode("ascii")


@final
class Template:
    """Bytes with holes in them. `escape` fits values to the place where the holes are."""

    __slots__ = ("_escape", "_fixed", "_parts")

    def __init__(self, parts: Iterable[bytes | Hole], escape: Escape = for_text) -> None:
        self._parts = _joined(parts)
        self._escape = escape
        self._fixed = not names_of(self._parts)

    @classmethod
    def of_text(cls, text: str, escape: Escape) -> Template:
        """Raises `UnbalancedBrace`."""
        return cls([part if isinstance(part, Hole) else part.encode() for part in parse_parts(text)], escape)

    def fill(self, values: Mapping[str, str]) -> bytes:
        """The bytes for one call. A name without a value counts as empty."""
        if self._fixed:
            return b"".join(part for part in self._parts if isinstance(part, bytes))
        escape = self._escape
        return b"".join(escape(values.get(part.name, "")) if isinstance(part, Hole) else part for part in self._parts)


def json_template(document: object) -> Template:
    """A JSON document whose texts may have holes: serialised now, so that a value can only ever be part of a string.

    Keys are taken as they stand. Raises `UnbalancedBrace`.
    """
    return Template(_json_parts(document), for_json)


def _json_parts(value: object) -> list[bytes | Hole]:
    if isinstance(value, str):
        inside = [part if isinstance(part, Hole) else for_json(part) for part in parse_parts(value)]
        return [b'"', *inside, b'"']
    if isinstance(value, dict):
        members = [[orjson.dumps(key), b":", *_json_parts(below)] for key, below in value.items()]
        return [b"{", *_separated(members), b"}"]
    if isinstance(value, list):
        return [b"[", *_separated([_json_parts(below) for below in value]), b"]"]
    return [orjson.dumps(value)]


def _separated(groups: list[list[bytes | Hole]]) -> list[bytes | Hole]:
    parts: list[bytes | Hole] = []
    for index, group in enumerate(groups):
        if index:
            parts.append(b",")
        parts += group
    return parts


def _joined(parts: Iterable[bytes | Hole]) -> tuple[bytes | Hole, ...]:
    """With neighbouring bytes as one."""
    joined: list[bytes | Hole] = []
    pending: list[bytes] = []
    for part in parts:
        if isinstance(part, bytes):
            pending.append(part)
        else:
            joined += (b"".join(pending), part)
            pending = []
    return (*joined, b"".join(pending))


def _decoded(segment: bytes) -> str:
    return unquote_to_bytes(segment).decode("utf-8", "replace")
