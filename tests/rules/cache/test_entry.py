from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.http1.message import Fields, pack, unpack
from sidecar.rules.cache.entry import MOST_COPIED_BYTES
from tests.stores.entries import all_fields, make_entry


@given(all_fields)
@example([])
@example([(b"A", b"")])
@example([(b"A", b": b: "), (b"B", b"")])
def test_what_is_packed_is_unpacked_as_it_was(fields: Fields) -> None:
    assert unpack(pack(fields)) == fields
    assert make_entry(packed=pack(fields)).fields == fields


@given(st.binary(max_size=20), all_fields, st.integers(-2, 2), st.booleans())
def test_what_is_kept_in_one_block_is_found_again(target: bytes, fields: Fields, over: int, late: bool) -> None:
    body, packed = bytes(MOST_COPIED_BYTES + over), pack(fields)
    for size in (0, 3, len(body)):
        entry = make_entry(b"" if late else body[:size], target=target, packed=packed)
        if late:
            entry.take(body[:size])
        assert (entry.target, entry.packed, entry.body, entry.body_bytes) == (target, packed, body[:size], size)
        assert entry == make_entry(body[:size], target=target, packed=packed)
        assert entry.size_bytes - make_entry(b"", target=b"", packed=b"").size_bytes == len(target + packed) + size
