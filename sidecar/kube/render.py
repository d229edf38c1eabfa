"""Plain data to YAML, in the style of the document around it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

_PLAIN: Final = re.compile(
    r"[0-9]+(m|s|k|M|G|Ki|Mi|Gi)|-{0,2}[A-Za-z/$][A-Za-z0-9_./$()-]*(:[A-Za-z0-9/][A-Za-z0-9_./-]*)*"
)
_WORDS: Final = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null"})
"""What some YAML reads as something else than a text."""


@dataclass(frozen=True, slots=True)
class Style:
    """How a document is indented."""

    step: int = 2
    """Of a mapping in a mapping."""
    dash: int = 0
    """Of a list in a mapping."""
    newline: str = "\n"


def inline(value: object) -> str:
    """On one line: a scalar as one would write it, anything else in flow style."""
    match value:
        case str():
            return _text(value)
        case dict():
            return "{" + ", ".join(f"{inline(key)}: {inline(below)}" for key, below in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(inline, value)) + "]"
        case _:
            return json.dumps(value)


def block(value: object, indent: int, style: Style) -> Iterator[str]:
    """Lines of a mapping or a list that is not empty, without their ends."""
    pad = " " * indent
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _entry(f"{pad}{inline(key)}:", below, indent, style)
    elif isinstance(value, list):
        for below in value:
            yield from _item(below, indent, style)


def under_key(value: Any, indent: int, style: Style) -> Iterator[str]:
    """What follows `key:`, the rest of its own line first."""
    if not is_block(value) or not value or _is_short(value):
        yield "" if value is None else f" {inline(value)}"
        return
    yield ""
    yield from block(value, indent + (style.dash if isinstance(value, list) else style.step), style)


def is_block(value: object) -> bool:
    """Whether it is no scalar."""
    return isinstance(value, dict | list)


def _entry(head: str, value: Any, indent: int, style: Style) -> Iterator[str]:
    first, *rest = under_key(value, indent, style)
    yield head + first
    yield from rest


def _item(value: Any, indent: int, style: Style) -> Iterator[str]:
    pad = " " * indent
    if not is_block(value) or not value:
        yield f"{pad}- {inline(value)}"
        return
    first, *rest = block(value, indent + 2, style)
    yield f"{pad}- {first.lstrip()}"
    yield from rest


def _is_short(value: object) -> bool:
    """A list of words stands on one line."""
    return isinstance(value, list) and not any(isinstance(one, dict | list) for one in value)


def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    if "'" not in text and '"' in text and text.isprintable():
        return f"'{text}'"
    return "".join(char if char.isprintable() else _escaped(char) for char in json.dumps(text, ensure_ascii=False))


def _escaped(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
