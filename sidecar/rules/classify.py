"""What an attempt's reply means: a policy's own rules first, then what its status means to everybody (RFC 9110 15).

What may live here: status, fields and bytes in, a verdict out. Whoever holds the reply reads its body, and only when
`suspects` says that a rule hangs on it.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import translate
from typing import Final, TypeAlias

import orjson

from sidecar.errors import Verdict
from sidecar.http1.message import Headers

PEEK_BYTES: Final = 64 * 1024
"""How much of a body is looked at, as sent and as decompressed. A longer one matches no rule on bodies."""

Scalar: TypeAlias = str | bool | int | float

_INDEX: Final = re.compile("0|[1-9][0-9]{0,6}")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")


def _built_in(status: int) -> Verdict:
    match status:
        case 401 | 403:
            return Verdict.CREDENTIAL
        case 408 | 425:
            return Verdict.TRANSIENT
        case 429:
            return Verdict.THROTTLED
        case 501 | 505:  # the provider cannot do this, however often it is asked
            return Verdict.REJECTED
        case _ if status >= 500:
            return Verdict.TRANSIENT
        case _ if status >= 400:
            return Verdict.REJECTED
        case _:
            return Verdict.OK


BUILT_IN: Final = tuple(_built_in(status) for status in range(1000))
"""The verdict on a status that no rule of the policy claims; every three-digit status has one."""


@dataclass(frozen=True, slots=True)
class HeaderTest:
    name: bytes
    """In lower case."""
    pattern: re.Pattern[bytes] | None
    """What the whole value must match; None: the field must be there, or not, as `present` says."""
    present: bool = True

    def holds(self, headers: Headers) -> bool:
        value = headers.get(self.name)
        if self.pattern is None:
            return (value is not None) is self.present
        return value is not None and self.pattern.fullmatch(value) is not None


@dataclass(frozen=True, slots=True)
class BodyTest:
    pointer: tuple[str, ...]
    """A JSON pointer's reference tokens, unescaped (RFC 6901)."""
    values: tuple[Scalar, ...]
    """Any of these will do."""

    def holds(self, document: object) -> bool:
        found = _resolve(document, self.pointer)
        # 1, 1.0 and true are equal in Python, but true is not a number in JSON.
        return any(found == value and isinstance(found, bool) is isinstance(value, bool) for value in self.values)


@dataclass(frozen=True, slots=True)
class Rule:
    """A policy's word on replies of one kind. Everything that it names must hold."""

    verdict: Verdict
    statuses: frozenset[int] = frozenset()
    """Empty for any."""
    headers: tuple[HeaderTest, ...] = ()
    body: tuple[BodyTest, ...] = ()
    wait_s: float | None = None
    """How long to stay away when the reply does not say."""


def glob(pattern: str) -> re.Pattern[bytes]:
    """What a header's value must match: `*` and `?` stand for any text and any character; case counts."""
    return re.compile(translate(pattern).encode())


def pointer_tokens(pointer: str) -> tuple[str, ...]:
    """The reference tokens of a JSON pointer such as `/error/code` (RFC 6901)."""
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:])


def rules_for(rules: Sequence[Rule], status: int) -> tuple[Rule, ...]:
    """The rules that may claim a reply of this status."""
    return tuple(rule for rule in rules if not rule.statuses or status in rule.statuses)


def suspects(rules: Sequence[Rule], headers: Headers) -> tuple[Rule, ...]:
    """Those of `rules_for` that these fields leave, first match first; only the last can do without the body."""
    found: list[Rule] = []
    for rule in rules:
        if all(test.holds(headers) for test in rule.headers):
            found.append(rule)
            if not rule.body:
                break
    return tuple(found)


def decide(found: Sequence[Rule], document: object) -> Rule | None:
    """The first of `suspects` that also holds for the body's JSON; None as document stands for no JSON at all."""
    for rule in found:
        if all(test.holds(document) for test in rule.body):
            return rule
    return None


def is_json(headers: Headers) -> bool:
    """Whether the body is one JSON document. Streams of events or lines are not, and must not be waited for."""
    value = headers.get(b"content-type")
    if value is None:
        return False
    media_type = value.partition(b";")[0].strip().lower()
    return media_type == b"application/json" or media_type.endswith(b"+json")


def body_bytes(headers: Headers) -> int:
    """The length that the fields announce, 0 if none that can be read."""
    value = headers.get(b"content-length")
    return int(value) if value is not None and _LENGTH.fullmatch(value) else 0


def parse_body(data: bytes, headers: Headers) -> object:
    """The JSON in a body as it was sent; None if there is none, or it is too long, broken or oddly encoded."""
    encoding = headers.get(b"content-encoding")
    plain = data if encoding is None else _decompress(data, encoding.strip().lower())
    if plain is None or len(plain) > PEEK_BYTES:
        return None
    try:
        return orjson.loads(plain)
    except orjson.JSONDecodeError:
        return None


def _decompress(data: bytes, encoding: bytes) -> bytes | None:
    if encoding == b"identity":
        return data
    if encoding not in (b"gzip", b"x-gzip", b"deflate"):
        return None
    # Some send `deflate` without the zlib wrapper that RFC 9110 8.4.1.2 asks for.
    for window_bits in (32 + zlib.MAX_WBITS, -zlib.MAX_WBITS):
        try:
            return zlib.decompressobj(window_bits).decompress(data, PEEK_BYTES + 1)
        except zlib.error:
            continue
    return None


def _resolve(document: object, pointer: tuple[str, ...]) -> object:
    for token in pointer:
        if isinstance(document, dict):
            document = document.get(token)
        elif isinstance(document, list) and _INDEX.fullmatch(token) and int(token) < len(document):
            document = document[int(token)]
        else:
            return None
    return document
