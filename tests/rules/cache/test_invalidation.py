from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.rules.cache.invalidation import invalidated
from tests.fakes import make_headers
from tests.rules.cache.made import ORIGIN

TARGET = b"/v1/charges"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH"])
@pytest.mark.parametrize("status", [200, 201, 204, 299, 301, 303, 304])
def test_an_unsafe_or_unknown_method_that_succeeds_invalidates_its_target(method: str, status: int) -> None:
    assert invalidated(method, status, ORIGIN, TARGET, make_headers()) == (TARGET,)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "M-SEARCH"])
@pytest.mark.parametrize("status", [101, 400, 404, 409, 500, 503])
def test_one_that_fails_does_not(method: str, status: int) -> None:
    assert invalidated(method, status, ORIGIN, TARGET, make_headers({"Location": "/a"})) == ()


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE"])
def test_a_safe_method_does_not(method: str) -> None:
    assert invalidated(method, 200, ORIGIN, TARGET, make_headers({"Location": "/a"})) == ()


@pytest.mark.parametrize(
    ("location", "content_location", "targets"),
    [
        ("/v1/charges/ch_1", "", (TARGET, b"/v1/charges/ch_1")),
        (f"{ORIGIN}/v1/a", "b", (TARGET, b"/v1/a", b"/v1/b")),
        ("/v1/charges", "/v1/a", (TARGET, b"/v1/a")),
        ("/v1/a", "/v1/a", (TARGET, b"/v1/a")),
        ("https://evil.com/v1/a", "//evil.com/v1/b", (TARGET,)),
        ("http://[", "/v1/b", (TARGET, b"/v1/b")),
    ],
)
def test_what_the_reply_points_to_at_the_same_origin_goes_too(
    location: str, content_location: str, targets: tuple[bytes, ...]
) -> None:
    headers = make_headers({"Location": location, "Content-Location": content_location})
    assert invalidated("POST", 201, ORIGIN, TARGET, headers) == targets


@given(st.binary(max_size=60), st.sampled_from(["POST", "PUT", "X"]), st.integers(200, 399))
def test_the_target_itself_is_always_among_them(location: bytes, method: str, status: int) -> None:
    targets = invalidated(method, status, ORIGIN, TARGET, make_headers([(b"Location", location)]))
    assert targets[0] == TARGET
    assert len(targets) <= 2
