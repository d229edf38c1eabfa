"""Names: what is one, and its normal form."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.policy.names import (
    Origin,
    parse_header_name,
    parse_host,
    parse_method,
    parse_name,
    parse_origin,
    parse_pointer,
)
from sidecar.policy.template import parse_template
from sidecar.policy.units import NotUnderstood


@pytest.mark.parametrize("name", ["stripe", "s3", "0", "a-b_c", "a" * 63])
def test_names(name: str) -> None:
    assert parse_name(name) == name


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("Stripe", "stripe"),
        ("my provider", "my-provider"),
        ("a" * 64, "a" * 63),
        (1, '"1"'),
        ("", ""),
        (True, ""),
        ("-", ""),
    ],
)
def test_no_names(value: object, hint: str) -> None:
    with pytest.raises(NotUnderstood) as raised:
        parse_name(value)
    assert hint in raised.value.hint


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("API.Stripe.com", "api.stripe.com"),
        ("api.stripe.com.", "api.stripe.com"),
        ("*.my.salesforce.com", "*.my.salesforce.com"),
        ("localhost:8080", "localhost:8080"),
        ("10.0.0.7", "10.0.0.7"),
        ("::1", "[::1]"),
        ("[::1]:8080", "[::1]:8080"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_hosts(text: str, host: str) -> None:
    assert parse_host(text) == host


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("https://api.x.com/v1", "api.x.com"),
        ("api.x.com/v1", "api.x.com"),
        ("a.*.com", "first labels"),
        ("x.com:99999", "65535"),
        ("x.com:", "65535"),
        ("", ""),
        ("a b", ""),
        ("300.1.1.1", ""),
        ("büch.example", ""),
        ("[::1", ""),
        ("[::1]x", ""),
        (7, ""),
    ],
)
def test_no_hosts(value: object, hint: str) -> None:
    with pytest.raises(NotUnderstood) as raised:
        parse_host(value)
    assert hint in raised.value.hint


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://API.x.com", Origin("https", "api.x.com", 443)),
        ("https://api.x.com/", Origin("https", "api.x.com", 443)),
        ("http://10.0.0.7:8080", Origin("http", "10.0.0.7", 8080)),
        ("https://[::1]:8443", Origin("https", "::1", 8443)),
    ],
)
def test_origins_read_and_show(text: str, origin: Origin) -> None:
    assert parse_origin(text) == origin
    assert parse_origin(str(origin)) == origin


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("api.x.com", "https://api.x.com"),
        ("ftp://x.com", "https://"),
        ("https://u:p@x.com", "password"),
        ("https://x.com/v1", "path"),
        ("https://x.com?a", "path"),
        ("https://x.com:0", "65535"),
        ("https://x.com:x", ""),
        ("https://", ""),
        ("https://[::1", ""),
        ("https://a_ b", ""),
        (None, ""),
    ],
)
def test_no_origins(value: object, hint: str) -> None:
    with pytest.raises(NotUnderstood) as raised:
        parse_origin(value)
    assert hint in raised.value.hint


@pytest.mark.parametrize(
    ("parse", "good", "bad"),
    [
        (parse_header_name, ["Retry-After", "x_y"], ["", "A B", "A:", 3, "é"]),
        (parse_method, ["GET", "M-SEARCH"], ["get", "", "G T", None]),
        (parse_pointer, ["", "/a/b", "/0/x", "/a~0b~1c"], ["a", "a.b", "/a~2", 1]),
        (parse_template, ["/", "/v1/{id}", "/a/{rest...}", "/%41", "/a;b=1"], [3]),
    ],
)
def test_other_names(parse: Callable[[object], str], good: list[str], bad: list[object]) -> None:
    assert [parse(value) for value in good] == good
    for value in bad:
        with pytest.raises(NotUnderstood):
            parse(value)


@pytest.mark.parametrize(
    ("template", "hint"),
    [
        ("v1/x", "/v1/x"),
        ("/v1?x", "query"),
        ("/v1/{rest...}/x", "last"),
        ("/v1/{a}/{a}", "once"),
        ("/v1/x{id}", "whole"),
        ("/v1/{}", "whole"),
        ("/v1/*", "rest..."),
        ("/v1/../x", "dot"),
        ("/v1/%2e%2e", "dot"),
        ("/v1/a%2Fb", "slashes"),
        ("/v1/a b", "spaces"),
    ],
)
def test_no_templates(template: str, hint: str) -> None:
    with pytest.raises(NotUnderstood) as raised:
        parse_template(template)
    assert hint in raised.value.hint


@given(st.text())
def test_any_text_is_a_name_or_refused(text: str) -> None:
    for parse in (parse_name, parse_host, parse_origin, parse_header_name, parse_method, parse_pointer, parse_template):
        try:
            parse(text)
        except NotUnderstood as error:
            assert error.expected  # noqa: PT017 - either outcome is right
