"""Where a request wants to go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.call import Mode
from sidecar.errors import ClientError, Reason
from sidecar.intercept.target import destination, split_authority, split_prefix


@pytest.mark.parametrize(
    ("target", "host", "mode", "name", "port", "goes_on", "secure"),
    [
        (b"/v1/x?q=1", b"API.Stripe.com", Mode.HOST, b"api.stripe.com", None, b"/v1/x?q=1", False),
        (b"/v1/x", b"api.stripe.com.:8080", Mode.HOST, b"api.stripe.com", 8080, b"/v1/x", False),
        (b"*", b"a", Mode.HOST, b"a", None, b"*", False),
        (b"/", None, Mode.HOST, b"", None, b"/", False),
        (b"http://a.test/x?y", b"other", Mode.FORWARD, b"a.test", None, b"/x?y", False),
        (b"HTTPS://a.test:444/x", b"other", Mode.FORWARD, b"a.test", 444, b"/x", True),
        (b"http://a.test", b"other", Mode.FORWARD, b"a.test", None, b"/", False),
        (b"http://a.test?q", b"other", Mode.FORWARD, b"a.test", None, b"/?q", False),
        (b"http://[::1]:80/", b"other", Mode.FORWARD, b"[::1]", 80, b"/", False),
    ],
)
def test_forms(
    target: bytes, host: bytes | None, mode: Mode, name: bytes, port: int | None, goes_on: bytes, secure: bool
) -> None:
    found = destination(target, host)
    assert (found.mode, found.host, found.port, found.target, found.secure) == (mode, name, port, goes_on, secure)


@pytest.mark.parametrize(
    ("target", "host"),
    [
        (b"v1/x", b"a"),
        (b"ftp://a/x", b"a"),
        (b"http://", b"a"),
        (b"http:///x", b"a"),
        (b"http://user:secret@a.test/", b"a"),
        (b"/", b"a b"),
        (b"/", b"a:0"),
        (b"/", b"a:99999"),
        (b"/", b"a:x"),
        (b"/", b"a/b"),
        (b"/", b"\xff"),
    ],
)
def test_what_is_no_destination_is_refused(target: bytes, host: bytes) -> None:
    with pytest.raises(ClientError) as refusal:
        destination(target, host)
    assert refusal.value.reason is Reason.BAD_REQUEST
    assert "secret" not in refusal.value.detail


@given(st.binary(max_size=30))
def test_any_host_is_split_or_refused(authority: bytes) -> None:
    try:
        name, port = split_authority(authority)
    except ClientError:
        return
    assert name == name.lower()
    assert port is None or 0 < port < 65536


@pytest.mark.parametrize(
    ("target", "split"),
    [
        (b"/stripe/v1/x?y=/z", (b"stripe", b"/v1/x?y=/z")),
        (b"/stripe", (b"stripe", b"/")),
        (b"/stripe?x", (b"stripe", b"/?x")),
        (b"/stripe/", (b"stripe", b"/")),
        (b"/stripe//x", (b"stripe", b"//x")),
        (b"//x", (b"", b"/x")),
        (b"/", (b"", b"/")),
    ],
)
def test_prefixes(target: bytes, split: tuple[bytes, bytes]) -> None:
    assert split_prefix(target) == split
