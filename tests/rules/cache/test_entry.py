from __future__ import annotations

from hypothesis import example, given

from sidecar.http1.message import Headers
from sidecar.rules.cache.entry import Fields, pack, unpack
from tests.stores.entries import all_fields, make_entry


@given(all_fields)
@example([])
@example([(b"", b"")])
@example([(b"A", b""), (b"", b"b")])
def test_what_is_packed_is_unpacked_as_it_was(fields: Fields) -> None:
    assert unpack(pack(fields)) == fields
    assert make_entry(packed=pack(fields)).fields == fields


@given(all_fields)
def test_an_entry_never_weighs_less_than_what_it_holds(fields: Fields) -> None:
    entry = make_entry(packed=pack(fields))
    held_bytes = sum(len(name) + len(value) for name, value in Headers(fields).fields)
    assert held_bytes + len(entry.body) <= entry.size_bytes
    assert 2 * held_bytes + len(entry.body) <= entry.served_bytes
