from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.http1.message import HOP_BY_HOP, NOTABLE, Headers
from sidecar.rules.cache.directives import LONGEST_S
from sidecar.rules.cache.settings import CacheSettings
from sidecar.rules.cache.storing import passes_by, tags_of, upstream_age_s
from sidecar.rules.cache.validation import CONDITIONAL
from tests.fakes import make_headers
from tests.rules.cache.made import (
    NOW_S,
    ORIGIN,
    OVERRIDE,
    PRIVATE,
    SHARED,
    STALE,
    TTL,
    date,
    kept_of,
    make_entry_of,
    may_store,
)

FRESH = {"Cache-Control": "max-age=3600"}
AUTHORIZED = {"Authorization": "Bearer a"}


def cc(value: str) -> dict[str, str]:
    return {"Cache-Control": value}


@pytest.mark.parametrize("settings", [PRIVATE, SHARED])
@pytest.mark.parametrize(
    "status", [200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 502, 503, 504, 599]
)
def test_any_final_status_is_kept_if_it_says_how_long(status: int, settings: CacheSettings) -> None:
    assert may_store(FRESH, settings, status=status)
    assert may_store({"Expires": date(60)}, settings, status=status)
    assert may_store({"Cache-Control": "public", "ETag": '"a"'}, settings, status=status)


@pytest.mark.parametrize("settings", [PRIVATE, SHARED, STALE, OVERRIDE, TTL])
@pytest.mark.parametrize("status", [100, 103, 206, 304])
def test_interim_partial_and_not_modified_replies_are_never_kept(status: int, settings: CacheSettings) -> None:
    assert not may_store(FRESH, settings, status=status)


@pytest.mark.parametrize(
    ("status", "kept"),
    [
        *((status, True) for status in (200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501)),
        *((status, False) for status in (201, 202, 302, 307, 403, 500, 502, 503, 504, 599)),
    ],
)
def test_without_a_lifetime_only_some_statuses_are_kept(status: int, kept: bool) -> None:
    assert may_store({"Last-Modified": date(-86400)}, status=status) is kept


@pytest.mark.parametrize("settings", [PRIVATE, SHARED, STALE])
def test_no_store_is_obeyed(settings: CacheSettings) -> None:
    for value in ("no-store", "No-StOrE", "max-age=10000, no-store", "no-store=1"):
        assert not may_store({"Cache-Control": value, "Expires": date(10000), "ETag": '"a"'}, settings)


@pytest.mark.parametrize("settings", [PRIVATE, SHARED, STALE, OVERRIDE, TTL])
def test_a_request_with_no_store_leaves_nothing_behind(settings: CacheSettings) -> None:
    assert not may_store(FRESH, settings, request=cc("no-store"))


def test_must_understand_lifts_no_store_for_what_is_understood() -> None:
    value = "max-age=3600, no-store, must-understand"
    assert may_store(cc(value), status=200)
    assert not may_store(cc(value), status=599)
    assert not may_store(cc("max-age=3600, must-understand"), status=599)
    assert not may_store(cc("max-age=3600, must-understand"), OVERRIDE, status=299)


def test_private_is_for_private_caches() -> None:
    assert may_store(cc("private, max-age=3600"), PRIVATE)
    assert may_store({**cc("private"), "ETag": '"a"'}, PRIVATE, status=403)
    assert not may_store(cc("private, max-age=3600"), SHARED)
    assert not may_store(cc("private=true, max-age=3600"), SHARED)
    assert may_store(cc('private="x-user", max-age=3600'), SHARED)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("max-age=3600", False),
        ("max-age=3600, public", True),
        ("max-age=3600, must-revalidate", True),
        ("s-maxage=3600", True),
        ("max-age=3600, proxy-revalidate", False),
    ],
)
def test_a_shared_cache_keeps_authorized_replies_only_with_leave(value: str, kept: bool) -> None:
    assert may_store(cc(value), SHARED, request=AUTHORIZED) is kept


def test_a_private_cache_keeps_authorized_replies() -> None:
    assert may_store(FRESH, PRIVATE, request=AUTHORIZED)
    assert not may_store({**cc("s-maxage=3600"), "ETag": '"a"'}, PRIVATE, request=AUTHORIZED, status=299)


def test_cookies_are_kept_but_a_shared_cache_wants_to_be_told_for_how_long() -> None:
    guessed = {"Set-Cookie": "a=b", "Last-Modified": date(-86400)}
    assert may_store({**FRESH, "Set-Cookie": "a=b"}, SHARED)
    assert may_store({**cc("s-maxage=60"), "Set-Cookie": "a=b"}, SHARED)
    assert may_store({"Expires": date(60), "Set-Cookie": "a=b"}, SHARED)
    assert not may_store(guessed, SHARED)
    assert may_store(guessed, PRIVATE)


@pytest.mark.parametrize("settings", [PRIVATE, SHARED, STALE, OVERRIDE, TTL])
def test_vary_by_anything_is_never_kept(settings: CacheSettings) -> None:
    for value in ("*", "*, *", ", *", "Foo, *", "*, Foo"):
        assert not may_store({**FRESH, "Vary": value}, settings)


def test_what_can_be_neither_served_nor_validated_is_not_kept() -> None:
    assert not may_store({})
    assert not may_store(cc("public"))
    assert not may_store(cc("max-age=0"))
    assert not may_store(cc("no-cache"))
    assert may_store({**cc("no-cache"), "ETag": '"a"'})
    assert may_store({**cc("max-age=0"), "Last-Modified": date(-5)})
    assert may_store(cc("max-age=0, stale-while-revalidate=5"))
    assert may_store(cc("max-age=0, stale-if-error=5"))
    assert may_store({}, STALE)


def test_a_policys_lifetime_overrides_what_the_provider_said() -> None:
    for value in ("no-store", "no-cache", "max-age=0", "private"):
        assert may_store({**cc(value), "Expires": "0"}, TTL)
        assert may_store(cc(value), replace(SHARED, ttl_s=60.0), request=AUTHORIZED)


def test_a_policys_lifetime_is_only_for_what_is_ok() -> None:
    assert not may_store({}, TTL, ok=False)
    assert not may_store(cc("max-age=60"), TTL, ok=False)
    assert not may_store({}, TTL, status=404)
    assert not may_store({}, TTL, status=404, ok=True)
    assert may_store(FRESH, TTL, status=404)


def test_a_success_that_the_policy_calls_a_failure_is_never_kept() -> None:
    assert not may_store(FRESH, ok=False)


def test_override_keeps_no_store_replies_to_stand_in() -> None:
    assert may_store(cc("no-store"), OVERRIDE)
    assert not may_store(cc("no-store"), OVERRIDE, status=404)
    assert not may_store(cc("no-store"), replace(OVERRIDE, stale_s=0.0))


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP))
def test_fields_of_the_connection_are_not_kept(name: bytes) -> None:
    entry = make_entry_of([(name.title(), b"x"), (b"X-Kept", b"y"), (b"Age", b"3")])
    assert [field for field, _ in entry.fields] == [b"X-Kept", b"Date"]


@pytest.mark.parametrize(
    "name", ["Content-Encoding", "Content-Length", "Content-Type", "ETag", "Set-Cookie", "X-Frame-Options", "X-Unknown"]
)
def test_all_other_fields_are_kept(name: str) -> None:
    fields = [(name.encode(), b"valB"), (b"Date", date().encode()), (name.encode(), b"valC")]
    assert make_entry_of(fields).fields == fields


def test_a_date_is_added_only_if_there_is_none() -> None:
    assert make_entry_of().fields == [(b"Date", date().encode())]
    assert make_entry_of({"Date": "foo"}).fields == [(b"Date", b"foo")]


def test_fields_that_no_cache_names_are_not_kept() -> None:
    fields = [(b"Cache-Control", b'no-cache="a, B"'), (b"A", b"1"), (b"b", b"2"), (b"C", b"3")]
    for settings in (PRIVATE, SHARED):
        kept = make_entry_of(fields, settings=settings).fields
        assert [name for name, _ in kept] == [b"Cache-Control", b"C", b"Date"]


def test_fields_that_private_names_are_not_kept_by_a_shared_cache() -> None:
    fields = [(b"Cache-Control", b'private="x-user", max-age=60'), (b"X-User", b"me")]
    assert (b"X-User", b"me") in make_entry_of(fields, settings=PRIVATE).fields
    assert (b"X-User", b"me") not in make_entry_of(fields, settings=SHARED).fields


@pytest.mark.parametrize(
    ("values", "age_s"),
    [
        ([], 0.0),
        (["30"], 30.0),
        (["030"], 30.0),
        (["7200, 0"], 7200.0),
        (["0, 7200"], 0.0),
        (["7200", "0"], 7200.0),
        (["3600", "3600"], 3600.0),
        (["2147483647"], 2147483647.0),
        (["2147483649"], LONGEST_S),
        (["9" * 5000], LONGEST_S),
        (["abc"], 0.0),
        (["-7200"], 0.0),
        (["7200.0"], 0.0),
        (["7200;foo=bar"], 0.0),
        ([""], 0.0),
    ],
)
def test_upstream_age(values: list[str], age_s: float) -> None:
    assert upstream_age_s(Headers((b"Age", value.encode()) for value in values)) == age_s


def test_an_entry_says_what_it_is() -> None:
    entry = kept_of({"Cache-Control": "max-age=60", "Age": "30", "Surrogate-Key": "a policy"})
    assert entry is not None
    assert (entry.requested_s, entry.received_s) == (NOW_S - 30.5, NOW_S)
    assert entry.tags == ("policy", "a")
    assert (entry.provider, entry.route, entry.shown) == ("stripe", "charges", f"{ORIGIN}/v1/charges")
    assert entry.body == b"{}"


def test_tags() -> None:
    assert tags_of(make_headers({"Surrogate-Key": "a b", "Cache-Tag": "b, c d,"})) == ("a", "b", "c d")
    assert tags_of(make_headers({"Cache-Tag": "x" * 200 + ",y"})) == ("y",)
    assert tags_of(make_headers()) == ()
    assert len(tags_of(make_headers({"Surrogate-Key": " ".join(map(str, range(999)))}))) == 64


@pytest.mark.parametrize(
    ("method", "fields", "has_body", "upgrade", "why"),
    [
        ("GET", {}, False, False, ""),
        ("HEAD", {}, False, False, ""),
        ("GET", {"Range": "bytes=0-1"}, False, False, "range"),
        ("GET", {"Range": "bytes=0-1", "If-Range": '"a"'}, False, False, "range"),
        ("HEAD", {"Range": "bytes=0-1"}, False, False, ""),
        ("GET", {}, True, False, "body"),
        ("GET", {}, False, True, "upgrade"),
        ("GET", {"If-Match": '"a"'}, False, False, "precondition"),
        ("GET", {"If-Unmodified-Since": date()}, False, False, "precondition"),
        ("GET", {"If-None-Match": '"a"', "If-Modified-Since": date()}, False, False, ""),
    ],
)
def test_passes_by(method: str, fields: dict[str, str], has_body: bool, upgrade: bool, why: str) -> None:
    assert passes_by(method, make_headers(fields), has_body, upgrade) == why


DIRECTIVES = st.lists(
    st.sampled_from(
        ["public", "private", "max-age=60", "s-maxage=60", "must-revalidate", "no-cache", "must-understand"]
    )
).map(", ".join)


@given(DIRECTIVES, st.integers(200, 599), st.booleans())
def test_a_shared_cache_keeps_nothing_that_a_private_one_would_not(value: str, status: int, authorized: bool) -> None:
    fields = {"Cache-Control": value, "ETag": '"a"'}
    request = AUTHORIZED if authorized else {}
    # `s-maxage` is not addressed to private caches, so it gives them no leave.
    if "s-maxage" not in value and may_store(fields, SHARED, request=request, status=status):
        assert may_store(fields, PRIVATE, request=request, status=status)


@given(DIRECTIVES, st.integers(200, 599))
def test_no_store_forbids_whatever_else_is_said(value: str, status: int) -> None:
    if "must-understand" not in value:
        assert not may_store({"Cache-Control": f"{value}, no-store", "ETag": '"a"'}, STALE, status=status)


@given(DIRECTIVES, st.integers(200, 599), st.booleans(), st.sampled_from([PRIVATE, STALE]))
def test_what_only_shared_caches_must_mind_changes_nothing_for_a_private_one(
    value: str, status: int, has_tag: bool, settings: CacheSettings
) -> None:
    def kept(value: str, **request: str) -> bool:
        fields = {"Cache-Control": value, **({"ETag": '"a"'} if has_tag else {})}
        return may_store(fields, settings, request=request, status=status)

    own = ", ".join(said for said in value.split(", ") if said != "s-maxage=60")
    assert kept(own) is kept(own, Authorization="Bearer a")
    assert kept(own) is kept(f"{own}, s-maxage=60, proxy-revalidate")
    assert kept(own) <= kept(f"{own}, private")


def test_what_the_rules_look_for_is_noted_as_it_comes() -> None:
    assert HOP_BY_HOP | CONDITIONAL | {b"age", b"cache-tag", b"range", b"surrogate-key"} == NOTABLE


_EXCHANGES = st.tuples(
    st.fixed_dictionaries(
        {},
        optional={
            "Cache-Control": DIRECTIVES | st.sampled_from(["max-age=60", 'max-age=9, no-cache="x-user"', "max-age=0"]),
            "Date": st.just(date(-5)),
            "ETag": st.just('"a"'),
            "Expires": st.sampled_from([date(30), "0"]),
            "Vary": st.sampled_from(["Accept", "*", "Accept, Origin"]),
            "Age": st.just("7"),
            "Cache-Tag": st.just("a, b"),
            "Set-Cookie": st.just("a=b"),
            "Keep-Alive": st.just("5"),
            "X-User": st.just("me"),
        },
    ),
    st.fixed_dictionaries({}, optional={"Authorization": st.just("Bearer a"), "Cache-Control": st.just("no-store")}),
    st.sampled_from([PRIVATE, SHARED, STALE, OVERRIDE, TTL]),
    st.sampled_from([200, 302, 404, 503]),
    st.booleans(),
)


@given(st.lists(_EXCHANGES, max_size=8))
def test_what_was_learnt_from_other_replies_changes_nothing(
    exchanges: list[tuple[dict[str, str], dict[str, str], CacheSettings, int, bool]],
) -> None:
    for fields, request, settings, status, ok in exchanges:
        entry = kept_of(fields, settings, request=request, status=status, ok=ok)
        # Longer than what is remembered, so that nothing has been learnt of it.
        unread = {name: value + ", " * 200 if name == "Cache-Control" else value for name, value in fields.items()}
        anew = kept_of(unread, settings, request=request, status=status, ok=ok)
        assert (entry is None) is (anew is None)
        if entry is not None and anew is not None:
            for name in ("terms", "initial_age_s", "lifetime_s", "requested_s", "vary", "tags", "target", "body"):
                assert getattr(anew, name) == getattr(entry, name), name
            assert [name for name, _ in anew.fields] == [name for name, _ in entry.fields]


def test_replies_that_say_the_same_are_judged_once() -> None:
    fields = {"Cache-Control": "max-age=61", "Date": date()}
    first, second = (kept_of(fields, STALE, status=200, ok=True) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.terms is second.terms is not None
    assert first.terms.usual
