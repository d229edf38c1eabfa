"""While there are no policies, every way in is refused, and told why."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sidecar.errors import ClientError, Reason
from sidecar.intercept.router import Directory
from sidecar.serving.notyet import NotYet

ASKED: dict[str, Callable[[Directory], object]] = {
    "by_name": lambda directory: directory.by_name(b"stripe"),
    "by_host": lambda directory: directory.by_host(b"api.stripe.com"),
    "unknown": lambda directory: directory.unknown("api.stripe.com", 443, True),
    "tunnel": lambda directory: directory.tunnel(b"api.stripe.com:443"),
    "unknown_tunnel": lambda directory: directory.unknown_tunnel("api.stripe.com", 443),
}


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
def test_nothing_is_found(ask: Callable[[Directory], object]) -> None:
    with pytest.raises(ClientError) as caught:
        ask(NotYet())
    assert caught.value.reason is Reason.STARTING
    assert "/readyz?verbose" in caught.value.detail


def test_nothing_is_opened() -> None:
    assert NotYet().intercepts(b"api.stripe.com:443") is None
    assert not NotYet().verifies_sni()
