"""Entries and keys to store, and what Hypothesis makes of them."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from hypothesis import strategies as st

from sidecar.rules.cache.entry import Entry, Key, pack

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
        "shown": "https://api.stripe.com/v1/customers/1",
    }
    return Entry(**(values | given))


lines = st.binary(max_size=40).filter(lambda line: not set(line) & set(b"\r\n\0"))
words = st.text(max_size=20).filter(lambda text: text.isprintable())
times = st.floats(0, 4e9)
all_fields = st.lists(st.tuples(lines, lines), max_size=5)
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
    shown=words,
    tags=st.lists(words, max_size=3).map(tuple),
    expired=st.booleans(),
)
keys = st.binary(min_size=16, max_size=16) | st.binary(min_size=32, max_size=32)
