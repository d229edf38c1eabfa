"""Path templates: `/v1/customers/{id}`, `/v1/files/{rest...}`.

What may live here: reading a template into segments. Matching them against paths is `match.py`'s.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final
from urllib.parse import unquote_to_bytes

from sidecar.policy.units import NotUnderstood

_VARIABLE: Final = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\}")
_REST: Final = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\.\.\.\}")


class Hole(Enum):
    """A part of a template that the call fills."""

    ONE = "one"
    """Exactly one segment, not empty."""
    REST = "rest"
    """Any number of segments, none included; only at the end."""


def parse_template(value: object) -> str:
    """A template as written, once it is known to be one."""
    if not isinstance(value, str):
        raise NotUnderstood("a path such as /v1/customers/{id}")
    segments(value)
    return value


def segments(template: str) -> tuple[bytes | Hole, ...]:
    """The parts between slashes: literals percent-decoded, as paths are for comparison."""
    expected = "a path such as /v1/customers/{id} or /v1/files/{rest...}"
    if not template.startswith("/"):
        raise NotUnderstood(expected, f"did you mean /{template}?")
    if "?" in template or "#" in template:
        raise NotUnderstood(expected, "leave the query out: routes match the path only")
    parts = template[1:].split("/")
    found = tuple(_segment(part, expected) for part in parts)
    if Hole.REST in found[:-1]:
        raise NotUnderstood(expected, "{rest...} may only come last")
    names = [part for part in parts if part.startswith("{")]
    if len(set(names)) != len(names):
        raise NotUnderstood(expected, "each {name} may occur once")
    return found


def _segment(text: str, expected: str) -> bytes | Hole:
    if _VARIABLE.fullmatch(text):
        return Hole.ONE
    if _REST.fullmatch(text):
        return Hole.REST
    if "{" in text or "}" in text:
        raise NotUnderstood(expected, "a {name} must fill a whole segment")
    if "*" in text:
        raise NotUnderstood(expected, "write {name} for one segment and {rest...} for the rest")
    literal = unquote_to_bytes(text)
    if literal in (b".", b"..") or b"/" in literal or not text.isprintable() or " " in text:
        raise NotUnderstood(expected, "no dot segments, encoded slashes or spaces")
    return literal
