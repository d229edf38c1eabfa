"""Entries and keys to store, and what Hypothesis makes of them."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from hypothesis import strategies as st

from sidecar.http1.message import pack
from sidecar.rules.cache.entry import Entry, Key
from sidecar.rules.cache.shown import shown_target

NOW_S = 1_800_000_000.0


def make_key(number: int, partition: int | None = None) -> Key:
    uri = blake2b(f"uri {number}".encode(), digest_size=16).digest()
    return uri if partition is None else uri + blake2b(f"for {partition}".encode(), digest_size=16).digest()


def make_entry(body: bytes = b"{}", **given: Any) -> Entry:
    values: dict[str, Any] = {
        "status": 200,
        "phrase": b"OK",
        "packed": pack([(b"Content-Type", b"application/json"), (b"ETag", b'"1"')]),
        "body": body,
        "requested_s": NOW_S - 0.1,
        "received_s": NOW_S,
        "vary": (),
        "provider": "stripe",
        "route": "get-customer",
        "origin": "https://api.stripe.com",
        "target": b"/v1/customers/1",
    }
    return Entry(**(values | given))


lines = st.binary(max_size=40).filter(lambda line: not set(line) & set(b"\r\n\0"))
words = st.text(max_size=20).filter(lambda text: text.isprintable())
times = st.floats(0, 4e9)
names = lines.filter(lambda line: line and b":" not in line)
all_fields = st.lists(st.tuples(names, lines), max_size=5)


def _shown(text: str) -> bytes:
    """As slower stores keep a target: without what they must not know."""
    return shown_target(text.encode()).encode()


entries = st.builds(
    Entry,
    status=st.integers(100, 599),
    phrase=lines,
    packed=all_fields.map(pack),
    body=st.binary(max_size=300),
    requested_s=times,
    received_s=times,
    vary=st.lists(st.tuples(lines, st.binary(max_size=16)), max_size=2).map(tuple),
    provider=words,
    route=words,
    origin=words,
    target=words.map(_shown),
    tags=st.lists(words, max_size=3).map(tuple),
    expired=st.booleans(),
)
keys = st.binary(min_size=16, max_size=16) | st.binary(min_size=32, max_size=32)
