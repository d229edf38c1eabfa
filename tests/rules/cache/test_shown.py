from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.rules.cache.shown import shown_target, shown_url
from tests.rules.cache.made import ORIGIN


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        (b"/v1/charges", "https://api.stripe.com/v1/charges"),
        (b"/v1?key=sk_live&x=", "https://api.stripe.com/v1?key=…&x=…"),
        (b"/v1?sk_live&&", "https://api.stripe.com/v1?…"),
        (b"/v1?a=b=c", "https://api.stripe.com/v1?a=…"),
        ("/v1/größe".encode(), "https://api.stripe.com/v1/größe"),
        (b"/v1/\xff", "https://api.stripe.com/v1/\ufffd"),
    ],
)
def test_shown_urls_have_no_query_values(target: bytes, shown: str) -> None:
    assert shown_url(ORIGIN, target) == shown


def test_a_very_long_url_is_cut() -> None:
    assert len(shown_url(ORIGIN, b"/" + b"a" * 9000)) == 512


@given(st.binary(max_size=700))
def test_what_is_shown_already_stays_as_it_is(target: bytes) -> None:
    shown = shown_target(target)
    assert shown_target(shown.encode()) == shown
