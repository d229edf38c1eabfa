from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.rules.cache.reference import same_origin_target

ORIGIN = "https://api.stripe.com"


@pytest.mark.parametrize(
    ("reference", "target"),
    [
        (b"https://api.stripe.com/v1/x", b"/v1/x"),
        (b"HTTPS://API.Stripe.com:443/v1/x?a=b#c", b"/v1/x?a=b"),
        (b"//api.stripe.com/v1/x", b"/v1/x"),
        (b"/v1/x", b"/v1/x"),
        (b"x", b"/v1/x"),
        (b" ./x ", b"/v1/x"),
        (b"../x", b"/x"),
        (b"?a=b", b"/v1/charges?a=b"),
        (b"", b"/v1/charges?limit=3"),
        (b"https://api.stripe.com", b"/"),
        (b"/caf\xe9", b"/caf\xe9"),
        (b"https://api.stripe.com.evil.com/v1/x", None),
        (b"https://api.stripe.com@evil.com/v1/x", None),
        (b"https://evil.com/v1/x", None),
        (b"//evil.com/v1/x", None),
        (b"http://api.stripe.com/v1/x", None),
        (b"https://api.stripe.com:8443/v1/x", None),
        (b"https://api.stripe.com:99999/v1/x", None),
        (b"https://[/v1/x", None),
        (b"mailto:a@b", None),
    ],
)
def test_leads_to_a_target_of_the_same_origin_or_nowhere(reference: bytes, target: bytes | None) -> None:
    assert same_origin_target(ORIGIN, b"/v1/charges?limit=3", reference) == target


def test_a_port_of_the_providers_own() -> None:
    assert same_origin_target("http://localhost:8080", b"/a", b"http://localhost:8080/b") == b"/b"
    assert same_origin_target("http://localhost:8080", b"/a", b"http://localhost/b") is None


@given(st.binary(max_size=80))
def test_whatever_comes_back_is_in_origin_form(reference: bytes) -> None:
    found = same_origin_target(ORIGIN, b"/v1/charges", reference)
    assert found is None or (found.startswith(b"/") and b"#" not in found)
