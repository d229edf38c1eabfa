"""`Cache-Control`, as either side writes it (RFC 9111 5.2).

Where a value can be read in two ways the stricter reading holds: restrictions count however they are spelled, and
permissions only when they are well-formed and of one voice.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, final

if TYPE_CHECKING:
    from sidecar.rules.cache.entry import Terms

LONGEST_S: Final = 2147483648.0
"""Longer times are cut to this (1.2.2)."""

_MARK: Final = re.compile(rb'\\.|[",]', re.DOTALL)
"""What may begin or end a quoted string or a member, or, in a quoted string, an escape that hides it."""
_DIGITS: Final = re.compile(rb"0*(\d+)")
_FIELD_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_NO_NAMES: Final[frozenset[bytes]] = frozenset()
_MEMOISED_BYTES: Final = 256
_MOST_KNOWN: Final = 512


@final
class Directives:
    """One `Cache-Control` value, read, or one of a targeted field. Names are in lower case; an unknown directive is
    there, and of no effect."""

    __slots__ = ("_arguments", "_broken", "_seconds", "is_targeted", "terms")

    def __init__(self, arguments: dict[str, list[bytes | None]], broken: bool, is_targeted: bool = False) -> None:
        self._arguments = arguments
        """Of each directive, what stands behind `=`, once for each time that it occurs; None for nothing."""
        self._broken = broken
        """A quote was left open, so nothing that is said can be relied upon but what restricts."""
        self.is_targeted = is_targeted
        """They are addressed to this cache, in place of `Cache-Control` and of `Expires` (RFC 9213 2.2)."""
        self._seconds: dict[str, float] = {}
        """Arguments that have been asked for."""
        self.terms: Terms | None = None
        """What was last made of them where they alone state the lifetime: replies of a route mostly say the same."""

    def has(self, name: str) -> bool:
        """Whether it occurs in any form."""
        return name in self._arguments

    def is_bare(self, name: str) -> bool:
        """Whether it occurs without an argument each time."""
        arguments = self._arguments.get(name)
        return arguments is not None and all(argument is None for argument in arguments)

    def is_whole(self, name: str) -> bool:
        """Whether it occurs and is about the whole reply, not only about some `fields`."""
        return name in self._arguments and not self.fields(name)

    def seconds(self, name: str) -> float | None:
        """Its argument, from 0 to `LONGEST_S`; None if it does not occur.

        0 if it cannot be read, or is given twice and not alike: what cannot be understood is stale (4.2.1).
        """
        seconds = self._seconds.get(name)
        if seconds is None and name in self._arguments:
            found = {_seconds(argument) for argument in self._arguments[name]}
            seconds = self._seconds[name] = 0.0 if self._broken or len(found) > 1 else found.pop()
        return seconds

    def fields(self, name: str) -> frozenset[bytes]:
        """The fields that `no-cache="…"` or `private="…"` is about, in lower case; none if it is about the whole reply.

        Only the quoted form narrows a directive (5.2.2.4, 5.2.2.7): `private=true` is taken for `private`.
        """
        if name not in self._arguments:
            return _NO_NAMES
        names: set[bytes] = set()
        for argument in self._arguments[name]:
            listed = None if self._broken else _listed(argument)
            if listed is None:
                return _NO_NAMES
            names |= listed
        return frozenset(names)


def parse_directives(value: bytes | None) -> Directives:
    """From the field's value, lines joined by commas; None if there is no such field."""
    if value is None:
        return NOTHING
    directives = _KNOWN.get(value)
    return _learn(value) if directives is None else directives


def split_list(value: bytes) -> list[bytes]:
    """The members of a comma-separated list without the space around them; commas in quoted strings do not separate."""
    return _split(value)[0]


def unquoted(argument: bytes) -> bytes | None:
    """What a quoted string says; None if it is none."""
    if len(argument) < 2 or argument[:1] != b'"' or argument[-1:] != b'"':
        return None
    return re.sub(rb"\\(.)", rb"\1", argument[1:-1], flags=re.DOTALL)


def _parse(value: bytes) -> Directives:
    arguments: dict[str, list[bytes | None]] = {}
    members, broken = _split(value)
    for member in members:
        name, equals, argument = member.partition(b"=")
        key = name.strip().lower()
        if key:
            # A space before `=` is malformed: the directive is there, with an argument that cannot be read.
            arguments.setdefault(key.decode("latin-1"), []).append(name[len(key) :] + argument if equals else None)
    return Directives(arguments, broken)


def _learn(value: bytes) -> Directives:
    """Read a value, and remember it: replies say the same over and over."""
    directives = _parse(value)
    if len(value) <= _MEMOISED_BYTES:
        if len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.clear()
        _KNOWN[value] = directives
    return directives


def _split(value: bytes) -> tuple[list[bytes], bool]:
    """The members, and whether a quote is left open; it is then a character like others."""
    if b'"' not in value:
        return [member.strip() for member in value.split(b",")], False
    members: list[bytes] = []
    start, is_quoted = 0, False
    for match in _MARK.finditer(value):
        mark = match[0]
        if len(mark) == 2 and is_quoted:
            continue
        if mark[-1:] == b'"':
            is_quoted = not is_quoted
        elif mark[-1:] == b"," and not is_quoted:
            members.append(value[start : match.end() - 1].strip())
            start = match.end()
    rest = value[start:]
    members += [member.strip() for member in (rest.split(b",") if is_quoted else [rest])]
    return members, is_quoted


def _seconds(argument: bytes | None) -> float:
    if argument is None:
        return 0.0
    # Both forms are to be understood (5.2).
    text = unquoted(argument)
    match = _DIGITS.fullmatch(argument if text is None else text)
    if match is None:
        return 0.0
    return LONGEST_S if len(match[1]) > 10 else min(float(match[1]), LONGEST_S)


def _listed(argument: bytes | None) -> set[bytes] | None:
    """The names in a quoted list; None if that is not what it is, or it is empty."""
    text = None if argument is None else unquoted(argument)
    if text is None:
        return None
    names = {name.strip().lower() for name in text.split(b",")}
    names.discard(b"")
    return names if names and all(_FIELD_NAME.fullmatch(name) for name in names) else None


NOTHING: Final = _parse(b"")
_KNOWN: Final[dict[bytes, Directives]] = {}
"""A dictionary, since the call of a cache costs three times what it spares here."""
