from __future__ import annotations

from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sidecar.http1.message import Headers
from sidecar.rules.cache.entry import URI_BYTES
from sidecar.rules.cache.key import Keys, normal_target, vary_names
from tests.fakes import make_headers
from tests.rules.cache.made import KEYS, ORIGIN, make_entry_of

TARGET = b"/v1/charges?limit=3"


@pytest.mark.parametrize(
    ("target", "normal"),
    [
        (b"/a%7eb%2Dc", b"/a~b-c"),
        (b"/a%2fb%3a", b"/a%2Fb%3A"),
        (b"/a?q=%c3%a9", b"/a?q=%C3%A9"),
        (b"/a%zz%4", b"/a%zz%4"),
        (b"", b"/"),
        (b"?a=b", b"/?a=b"),
        (b"/a?b=2&a=1", b"/a?b=2&a=1"),
        (b"/A//./b/", b"/A//./b/"),
    ],
)
def test_equivalent_targets_are_spelled_alike_and_no_others(target: bytes, normal: bytes) -> None:
    assert normal_target(target) == normal


@given(st.binary(max_size=40))
def test_a_normal_target_means_the_same_and_stays_as_it_is(path: bytes) -> None:
    target = b"/" + quote(path, safe="").lower().encode()
    assert normal_target(normal_target(target)) == normal_target(target)
    assert unquote_to_bytes(normal_target(target)) == unquote_to_bytes(target)


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_different_targets_have_different_keys(one: bytes, other: bytes) -> None:
    assume(normal_target(one) != normal_target(other))
    assert KEYS.uri(one) != KEYS.uri(other)


def test_keys_are_apart_by_provider_origin_and_installation() -> None:
    others = [
        Keys(b"secret", "paypal", ORIGIN),
        Keys(b"secret", "stripe", "https://eu.stripe.com"),
        Keys(b"other", "stripe", ORIGIN),
    ]
    uris = {keys.uri(TARGET) for keys in [KEYS, *others]}
    assert len(uris) == 4
    assert Keys(b"secret", "stripe", ORIGIN).uri(TARGET) in uris


def test_a_request_without_credentials_has_the_uri_for_its_key() -> None:
    key = KEYS.key(TARGET, make_headers({"Accept": "*/*", "Idempotency-Key": "1"}))
    assert key == KEYS.uri(TARGET)
    assert len(key) == URI_BYTES


@pytest.mark.parametrize(
    "name",
    ["Authorization", "Cookie", "X-Api-Key", "X-Goog-Api-Key", "Private-Token", "X-Auth-Token", "X-Amz-Security-Token"],
)
def test_credentials_never_share(name: str) -> None:
    keys = {KEYS.key(TARGET, make_headers(fields)) for fields in ({}, {name: ""}, {name: "a"}, {name: "b"})}
    assert len(keys) == 4
    assert len({key[:URI_BYTES] for key in keys}) == 1


def test_no_part_of_a_credential_is_in_a_key() -> None:
    key = KEYS.key(TARGET, make_headers({"Authorization": "Bearer sk_live"}))
    assert len(key) == 2 * URI_BYTES
    assert b"sk_live" not in key


def test_the_policys_fields_keep_apart_too() -> None:
    keys = Keys(b"secret", "stripe", ORIGIN, (b"stripe-account",))
    assert keys.key(TARGET, make_headers({"Stripe-Account": "a"})) != keys.key(
        TARGET, make_headers({"Stripe-Account": "b"})
    )
    assert keys.key(TARGET, make_headers({"Other": "a"})) == keys.uri(TARGET)


def test_the_order_of_fields_says_nothing() -> None:
    fields = [(b"Cookie", b"a"), (b"Authorization", b"b")]
    assert KEYS.key(TARGET, Headers(fields)) == KEYS.key(TARGET, Headers(reversed(fields)))


@given(st.dictionaries(st.sampled_from([b"cookie", b"x-token", b"x-api-key"]), st.binary(max_size=12)), st.data())
def test_partitions_meet_only_for_equal_credentials(fields: dict[bytes, bytes], data: st.DataObject) -> None:
    other = data.draw(st.dictionaries(st.sampled_from([b"cookie", b"x-token", b"x-api-key"]), st.binary(max_size=12)))
    one_key, other_key = KEYS.key(TARGET, Headers(fields.items())), KEYS.key(TARGET, Headers(other.items()))
    assert (one_key == other_key) is (fields == other)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([], ()),
        (["Foo, Bar"], (b"bar", b"foo")),
        (["Foo", "bar", "foo"], (b"bar", b"foo")),
        (["", " , "], ()),
        (["*"], None),
        (["*, *"], None),
        (["", "*"], None),
        (["Foo, *"], None),
        (["*", "Foo"], None),
    ],
)
def test_vary_names(values: list[str], names: tuple[bytes, ...] | None) -> None:
    assert vary_names(Headers((b"Vary", value.encode()) for value in values)) == names


def matches(field: str, stored: list[str], asked: list[str]) -> bool:
    def request(values: list[str]) -> Headers:
        return Headers((field.encode(), value.encode()) for value in values)

    entry = make_entry_of({"Vary": field}, request=request(stored).fields)
    return KEYS.matches(entry, request(asked))


@pytest.mark.parametrize(
    ("field", "stored", "asked"),
    [
        ("Foo", ["1"], ["1"]),
        ("Foo", [], []),
        ("Foo", ["1, 2"], ["1", "2"]),
        ("Foo", ["1,2"], [" 1 ,   2 "]),
        ("Foo", ['"a, b",c'], ['"a, b" , c']),
        ("Accept-Language", ["en, de"], ["de, eN"]),
        ("Accept-Language", ["en;q=0.5, de"], ["de,en ; q=0.5"]),
        ("Accept-Encoding", ["gzip, br"], ["BR,gzip,"]),
        ("Accept", ["text/html, */*;q=0.1"], ["*/*;q=0.1,text/html"]),
    ],
)
def test_requests_that_mean_the_same_match(field: str, stored: list[str], asked: list[str]) -> None:
    assert matches(field, stored, asked)


@pytest.mark.parametrize(
    ("field", "stored", "asked"),
    [
        ("Foo", ["1"], ["2"]),
        ("Foo", ["1"], []),
        ("Foo", [], ["1"]),
        ("Foo", [], [""]),
        ("Foo", ["1, 2"], ["2, 1"]),
        ("Foo", ["a"], ["A"]),
        ("Foo", ['"a, b"'], ['"a,b"']),
        ("Foo", ["a b"], ["ab"]),
        ("Accept", ["text/html;v=A"], ["text/html;v=a"]),
        ("Accept-Language", ["en;q=0.5, de"], ["en, de;q=0.5"]),
    ],
)
def test_requests_that_may_mean_something_else_do_not(field: str, stored: list[str], asked: list[str]) -> None:
    assert not matches(field, stored, asked)


def test_every_field_that_is_named_must_match() -> None:
    request = {"Foo": "1", "Bar": "abc", "Baz": "789", "Other": "2"}
    entry = make_entry_of({"Vary": "Foo, Bar, Baz"}, request=request)
    assert KEYS.matches(entry, make_headers({**request, "Other": "3"}))
    for name in ("Foo", "Bar", "Baz"):
        assert not KEYS.matches(entry, make_headers({**request, name: "abcde"}))
        assert not KEYS.matches(
            entry, make_headers({other: value for other, value in request.items() if other != name})
        )


def test_what_a_request_said_is_not_kept_in_the_clear() -> None:
    entry = make_entry_of({"Vary": "X-Tenant"}, request={"X-Tenant": "acme"})
    assert [name for name, _ in entry.vary] == [b"x-tenant"]
    assert "acme" not in repr(entry.vary)
