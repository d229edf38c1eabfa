from __future__ import annotations

from hypothesis import given

from sidecar.http1.answer import NO_REQUEST, Answer, head_of
from sidecar.http1.message import Headers
from tests.stores.entries import all_fields


@given(all_fields)
def test_a_head_is_the_same_whether_or_not_its_fields_were_packed(fields: list[tuple[bytes, bytes]]) -> None:
    fresh, packed = (Answer(200, b"OK", Headers(fields), [(b"Age", b"1")]) for _ in range(2))
    packed.headers.pack()
    written = head_of(NO_REQUEST, fresh, True, False)
    assert head_of(NO_REQUEST, packed, True, False) == written
    lines = [b"HTTP/1.1 200 OK", *[name + b": " + value for name, value in fields], b"Age: 1", b"", b""]
    assert written == b"\r\n".join(lines)
