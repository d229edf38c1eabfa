from __future__ import annotations

from hypothesis import example, given

from sidecar.http1.message import Fields, pack, unpack
from tests.stores.entries import all_fields, make_entry


@given(all_fields)
@example([])
@example([(b"A", b"")])
@example([(b"A", b": b: "), (b"B", b"")])
def test_what_is_packed_is_unpacked_as_it_was(fields: Fields) -> None:
    assert unpack(pack(fields)) == fields
    assert make_entry(packed=pack(fields)).fields == fields
