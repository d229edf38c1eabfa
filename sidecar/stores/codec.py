"""A kept reply as bytes, for stores that others can reach: a file on a disk, a Redis that is shared.

    magic and version (4) · checksum (16) · length of the head (4) · head, JSON · bodies, as they came

The checksum is keyed and covers the rest, the key that the record was stored under included: what is cut, flipped, of
another version, somebody else's, or moved to another key, is not a record. Nothing is ever executed to read one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b
from struct import Struct
from typing import Any, Final, NamedTuple

import orjson

from sidecar.rules.cache.entry import Entry, Key, Variants
from sidecar.rules.cache.shown import shown_target

MAGIC: Final = b"SCR\x03"
"""The last byte is the version of the format."""
CHECKSUM_BYTES: Final = 16
MOST_RECORD_BYTES: Final = 8 * 1024 * 1024
"""Variants beyond the first that do not fit are left out of a record, so that one put does not write all of them."""
_LENGTH: Final = Struct(">I")
_SEALED_AT: Final = len(MAGIC) + CHECKSUM_BYTES
HEAD_AT: Final = _SEALED_AT + _LENGTH.size
_BREAK: Final = re.compile(rb"[\r\n\0]")
_LINE: Final = rb"[^:\r\n\0]+: [^\r\n\0]*"
_PACKED: Final = re.compile(rb"(?:%b(?:\r\n%b)*)?" % (_LINE, _LINE))


class Record(NamedTuple):
    """Everything kept under one key, as slower stores keep it."""

    key: Key
    variants: Variants
    until_s: float
    """When none of it is of use any more, Unix time."""


class Codec:
    """Records to bytes and back, under one secret of at most 64 bytes."""

    def __init__(self, secret: bytes) -> None:
        self.secret = secret

    def encode(self, record: Record) -> bytes:
        variants = _fitting(record.variants)
        head = orjson.dumps([record.key.hex(), record.until_s, [_row(entry) for entry in variants]])
        sealed = b"".join([_LENGTH.pack(len(head)), head, *[entry.body for entry in variants]])
        return b"".join([MAGIC, self._checksum(sealed), sealed])

    def decode(self, data: bytes) -> Record | None:
        """None for whatever is not a record of ours, whole and unaltered."""
        if not data.startswith(MAGIC) or len(data) < HEAD_AT:
            return None
        if self._checksum(memoryview(data)[_SEALED_AT:]) != data[len(MAGIC) : _SEALED_AT]:
            return None
        end = head_end(data)
        return None if end > len(data) else _record(data, end)

    def _checksum(self, sealed: bytes | memoryview) -> bytes:
        return blake2b(sealed, digest_size=CHECKSUM_BYTES, key=self.secret, person=b"sidecar record").digest()


def head_end(data: bytes) -> int:
    """Where the head of a record ends; at least `HEAD_AT` bytes are needed to tell."""
    (length,) = _LENGTH.unpack_from(data, _SEALED_AT)
    return int(HEAD_AT + length)


def decode_head(data: bytes) -> Record | None:
    """A record from its first `head_end` bytes: without bodies, and without knowing whether it is genuine."""
    if not data.startswith(MAGIC) or len(data) < HEAD_AT or len(data) < head_end(data):
        return None
    return _record(data, head_end(data), bodies=False)


def _fitting(variants: Variants) -> Sequence[Entry]:
    room_bytes, fitting = MOST_RECORD_BYTES, list(variants[:1])
    for entry in variants[1:]:
        room_bytes -= entry.body_bytes
        if room_bytes >= 0:
            fitting.append(entry)
    return fitting


def _row(entry: Entry) -> list[Any]:
    return [
        entry.body_bytes,
        entry.status,
        _text(entry.phrase),
        _text(entry.packed),
        entry.requested_s,
        entry.received_s,
        [[_text(name), _text(digest)] for name, digest in entry.vary],
        entry.provider,
        entry.route,
        _sound(entry.origin),
        shown_target(entry.target),
        [_sound(tag) for tag in entry.tags],
        entry.expired,
    ]


def _record(data: bytes, end: int, *, bodies: bool = True) -> Record | None:
    try:
        key, until_s, rows = orjson.loads(data[HEAD_AT:end])
        variants, at = [], end
        for row in rows:
            size = row[0] if bodies else 0
            variants.append(_entry(row, data[at : at + size]))
            at += size
        if bodies and at != len(data):
            return None
        return Record(bytes.fromhex(key), tuple(variants), float(until_s))
    except (ValueError, TypeError, KeyError, IndexError):
        # The secret may be known to others, or be none at all: a good checksum says nothing of what is inside.
        return None


def _entry(row: Any, body: bytes) -> Entry:
    """Raises ValueError or TypeError unless every value is what it should be."""
    size, status, phrase, packed, requested_s, received_s, vary, provider, route, origin, target, tags, expired = row
    texts = (provider, route, origin, target, *tags)
    if not (isinstance(status, int) and 100 <= status <= 599 and isinstance(size, int) and size >= 0):
        raise ValueError
    if not (isinstance(expired, bool) and all(isinstance(text, str) for text in texts)):
        raise ValueError
    return Entry(
        status=status,
        phrase=_bytes(phrase),
        packed=_packed(packed),
        body=body,
        requested_s=float(requested_s),
        received_s=float(received_s),
        vary=tuple([(_bytes(name), _raw(digest)) for name, digest in vary]),
        provider=provider,
        route=route,
        origin=origin,
        target=target.encode(),
        tags=tuple(tags),
        expired=expired,
    )


def _text(value: bytes) -> str:
    return value.decode("latin-1")


def _sound(text: str) -> str:
    """JSON has no halves of characters."""
    return text.encode("utf-8", "replace").decode()


def _raw(value: Any) -> bytes:
    if not isinstance(value, str):
        raise TypeError
    return value.encode("latin-1")


def _packed(value: Any) -> bytes:
    packed = _raw(value)
    if _PACKED.fullmatch(packed) is None:
        raise ValueError
    return packed


def _bytes(value: Any) -> bytes:
    """What goes into a head again must not be able to end its line."""
    line = _raw(value)
    if _BREAK.search(line):
        raise ValueError
    return line
