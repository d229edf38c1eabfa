from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.rules.cache.status import forwarded, hit


@pytest.mark.parametrize(
    ("ttl_s", "detail", "value"),
    [
        (376.9, "", b"sidecar; hit; ttl=376"),
        (0.0, "", b"sidecar; hit; ttl=0"),
        (-411.2, "breaker-open", b"sidecar; hit; ttl=-412; detail=breaker-open"),
        (1.0, "status 503", b'sidecar; hit; ttl=1; detail="status 503"'),
        (1.0, 'a"\\\n', b'sidecar; hit; ttl=1; detail="a\\"\\\\?"'),
    ],
)
def test_hit(ttl_s: float, detail: str, value: bytes) -> None:
    assert hit(ttl_s, detail) == value


def test_forwarded() -> None:
    assert forwarded("uri-miss", 200, True, False) == b"sidecar; fwd=uri-miss; fwd-status=200; stored"
    assert forwarded("stale", 304, False, True) == b"sidecar; fwd=stale; fwd-status=304; collapsed"
    assert forwarded("request", None, False, False, "no-store") == b"sidecar; fwd=request; detail=no-store"


@given(st.text(max_size=40))
def test_a_detail_cannot_break_out(detail: str) -> None:
    value = hit(0.0, detail).decode("ascii")
    assert value.isprintable()
    text = value.removeprefix("sidecar; hit; ttl=0")
    assert text.replace("\\\\", "").replace('\\"', "").count('"') in (0, 2)
