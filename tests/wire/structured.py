"""Structured fields, read strictly enough to tell whether a header is one (RFC 9651: lists, dictionaries, items)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TypeAlias

Bare: TypeAlias = "str | int | float | bool | Token"

_TOKEN = re.compile(r"[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*")
_KEY = re.compile(r"[a-z*][a-z0-9_.*-]*")
_NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,3})?")
_STRING = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')


class Token(str):
    """A bare word, to be told from a quoted string."""

    __slots__ = ()


@dataclass
class Item:
    """A value and its parameters."""

    value: Bare
    params: dict[str, Bare] = field(default_factory=dict)


class _Text:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def take(self, pattern: re.Pattern[str]) -> str | None:
        match = pattern.match(self.text, self.at)
        if match is None:
            return None
        self.at = match.end()
        return match.group(0)

    def skip(self, literal: str) -> bool:
        found = self.text.startswith(literal, self.at)
        self.at += len(literal) * found
        return found

    def key(self) -> str:
        key = self.take(_KEY)
        assert key is not None, f"no key at {self.at} of {self.text!r}"
        return key

    def bare(self) -> Bare:
        if (string := self.take(_STRING)) is not None:
            return re.sub(r"\\(.)", r"\1", string[1:-1])
        if (number := self.take(_NUMBER)) is not None:
            return float(number) if "." in number else int(number)
        if self.skip("?"):
            return self.skip("1") or not self.skip("0")
        token = self.take(_TOKEN)
        assert token is not None, f"no value at {self.at} of {self.text!r}"
        return Token(token)

    def item(self) -> Item:
        item = Item(self.bare())
        while self.skip(";"):
            self.take(re.compile(" *"))
            key = self.key()
            item.params[key] = self.bare() if self.skip("=") else True
        return item

    def more(self) -> bool:
        """True when another member follows; the text must otherwise be at its end."""
        if self.take(re.compile(r"[ \t]*,[ \t]*")) is not None:
            assert self.at < len(self.text), f"a comma at the end of {self.text!r}"
            return True
        assert self.at == len(self.text), f"left over: {self.text[self.at :]!r}"
        return False


def dictionary(value: bytes) -> dict[str, Item]:
    text = _Text(value.decode("ascii").strip())
    members: dict[str, Item] = {}
    while True:
        key = text.key()
        assert key not in members, f"{key} twice in {text.text!r}"
        members[key] = text.item() if text.skip("=") else Item(True)
        if not text.more():
            return members


def items(value: bytes) -> list[Item]:
    text = _Text(value.decode("ascii").strip())
    members = [text.item()]
    while text.more():
        members.append(text.item())
    return members
