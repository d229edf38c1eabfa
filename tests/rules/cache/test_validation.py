from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.http1.message import Headers
from sidecar.rules.cache.reuse import Use
from sidecar.rules.cache.settings import CacheSettings
from sidecar.rules.cache.validation import (
    CONDITIONAL,
    conditions,
    confirms,
    freshen,
    head_agrees,
    is_conditional,
    is_not_modified,
    not_modified_fields,
)
from tests.fakes import Fields, make_headers
from tests.rules.cache.made import NOW_S, PRIVATE, SHARED, date, make_entry_of, may_store, plan_for

LATER_S = NOW_S + 100


def freshened(before: Fields, update: Fields, settings: CacheSettings = PRIVATE) -> list[tuple[bytes, bytes]]:
    entry = make_entry_of(before, settings=settings)
    return freshen(entry, make_headers(update), LATER_S, LATER_S, settings).fields


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"ETag": '"a"'}, [(b"If-None-Match", b'"a"')]),
        ({"ETag": 'W/"a"'}, [(b"If-None-Match", b'W/"a"')]),
        ({"Last-Modified": date(-9)}, [(b"If-Modified-Since", date(-9).encode())]),
        (
            {"Last-Modified": date(-9), "ETag": '"a,b"'},
            [(b"If-None-Match", b'"a,b"'), (b"If-Modified-Since", date(-9).encode())],
        ),
        ({}, []),
        ({"ETag": "", "Last-Modified": "yesterday"}, []),
        ({"ETag": '"a", "b"'}, []),
    ],
)
def test_a_validation_names_every_validator(fields: dict[str, str], expected: list[tuple[bytes, bytes]]) -> None:
    assert conditions(make_entry_of(fields)) == expected


def test_is_conditional() -> None:
    for name in CONDITIONAL:
        assert is_conditional(make_headers([(name.title(), b"x")]))
    assert not is_conditional(make_headers({"Accept": "*/*"}))


@pytest.mark.parametrize(
    ("etag", "known"),
    [
        ('"abcdef"', '"abcdef"'),
        ('"abcdef"', 'W/"abcdef"'),
        ('W/"abcdef"', '"abcdef"'),
        ('W/"abcdef"', 'W/"abcdef"'),
        ('"abcdef"', '"abcdef", "1234", "5678"'),
        ('"abcdef"', '"1234", "abcdef", "5678"'),
        ('"abcdef"', '"1234","5678",  W/"abcdef"'),
        ('"a,b"', '"x", "a,b"'),
        ('"abcdef\xfc"', '"abcdef\xfc"'),
        ("abcdef", "abcdef"),
        ('w/"abcdef"', 'w/"abcdef"'),
        ('W\\"abcdef"', 'W\\"abcdef"'),
        ('"abcdef"', "*"),
        ("", " * "),
    ],
)
def test_if_none_match_that_matches_makes_a_304(etag: str, known: str) -> None:
    entry = make_entry_of([(b"ETag", etag.encode("latin-1"))])
    assert is_not_modified(entry, make_headers([(b"If-None-Match", known.encode("latin-1"))]))


@pytest.mark.parametrize(
    ("etag", "known"),
    [
        ('"abcdef"', '"abc"'),
        ('"abcdef"', "abcdef"),
        ("abcdef", '"abcdef"'),
        ('"abcdef"', ""),
        ("", '"abcdef"'),
        ('"a", "b"', '"a"'),
    ],
)
def test_one_that_does_not_makes_none(etag: str, known: str) -> None:
    assert not is_not_modified(make_entry_of({"ETag": etag}), make_headers({"If-None-Match": known}))


@pytest.mark.parametrize(
    ("fields", "since", "not_modified"),
    [
        ({"Last-Modified": date(-3000)}, date(-3000), True),
        ({"Last-Modified": date(-3000)}, date(-2000), True),
        ({"Last-Modified": date(-3000)}, date(-3001), False),
        ({"Date": date(-5)}, date(-5), True),
        ({"Date": date(-5)}, date(-3000), False),
        ({"Date": "foo"}, date(), True),
        ({"Date": "foo"}, date(-1), False),
        ({"Last-Modified": "foo", "Date": date(-5)}, date(-5), True),
        ({"Last-Modified": date(-3000)}, "yesterday", False),
    ],
)
def test_if_modified_since(fields: dict[str, str], since: str, not_modified: bool) -> None:
    assert is_not_modified(make_entry_of(fields), make_headers({"If-Modified-Since": since})) is not_modified


def test_if_modified_since_may_come_in_an_obsolete_form() -> None:
    entry = make_entry_of({"Last-Modified": "Fri, 15 Jan 2027 08:00:00 GMT"})
    for since in ("Friday, 15-Jan-27 08:00:00 GMT", "Fri Jan 15 08:00:00 2027"):
        assert is_not_modified(entry, make_headers({"If-Modified-Since": since}))


def test_if_none_match_silences_if_modified_since() -> None:
    entry = make_entry_of({"ETag": '"a"', "Last-Modified": date(-5000)})
    assert is_not_modified(entry, make_headers({"If-None-Match": '"a"', "If-Modified-Since": date(-9000)}))
    assert not is_not_modified(entry, make_headers({"If-None-Match": '"b"', "If-Modified-Since": date()}))


def test_a_request_without_conditions_and_a_reply_that_is_no_success_make_no_304() -> None:
    assert not is_not_modified(make_entry_of({"ETag": '"a"'}), make_headers())
    for status in (301, 404, 503):
        assert not is_not_modified(make_entry_of({"ETag": '"a"'}, status=status), make_headers({"If-None-Match": "*"}))


def test_a_304_says_what_a_cache_needs_and_no_more() -> None:
    fields = ["Cache-Control", "Content-Location", "Date", "ETag", "Expires", "Vary", "Content-Type", "Last-Modified"]
    entry = make_entry_of([(name.encode(), b"x") for name in fields])
    assert [name for name, _ in not_modified_fields(entry)] == [name.encode() for name in fields[:6]]
    entry = make_entry_of({"Last-Modified": date(), "Content-Type": "x", "Date": date()})
    assert [name for name, _ in not_modified_fields(entry)] == [b"Last-Modified", b"Date"]
    entry.headers = Headers(entry.fields)
    assert [name for name, _ in not_modified_fields(entry)] == [b"Last-Modified", b"Date"]


@pytest.mark.parametrize(
    ("kept", "reply", "is_confirmed"),
    [
        ({"ETag": '"a"'}, {"ETag": '"a"'}, True),
        ({"ETag": '"a"'}, {"ETag": '"b"'}, False),
        ({"ETag": '"a"'}, {"ETag": 'W/"a"'}, True),
        ({"ETag": 'W/"a"'}, {"ETag": 'W/"a"'}, True),
        ({"ETag": 'W/"a"'}, {"ETag": '"a"'}, False),
        ({"ETag": '"a"', "Last-Modified": date()}, {"ETag": '"a"', "Last-Modified": date(5)}, True),
        ({"ETag": '"a"', "Last-Modified": date()}, {"Last-Modified": date()}, True),
        ({"ETag": '"a"'}, {"Last-Modified": date()}, False),
        ({"Last-Modified": date()}, {"Last-Modified": date()}, True),
        ({"Last-Modified": date()}, {"Last-Modified": date(5)}, False),
        ({"Last-Modified": date()}, {"ETag": '"a"'}, False),
        ({"Last-Modified": date()}, {"ETag": '"a"', "Last-Modified": date()}, True),
        ({"ETag": '"a"'}, {}, True),
        ({"Last-Modified": date()}, {}, True),
    ],
)
def test_a_304_confirms_what_has_its_validator(kept: Fields, reply: Fields, is_confirmed: bool) -> None:
    assert confirms(make_entry_of(kept), make_headers(reply)) is is_confirmed


def test_a_304_that_varies_by_something_else_confirms_nothing() -> None:
    entry = make_entry_of({"ETag": '"a"', "Vary": "Foo, Bar"})
    assert confirms(entry, make_headers({"ETag": '"a"', "Vary": "foo"}))
    assert confirms(entry, make_headers({"ETag": '"a"'}))
    assert not confirms(entry, make_headers({"ETag": '"a"', "Vary": "Foo, Baz"}))
    assert not confirms(entry, make_headers({"ETag": '"a"', "Vary": "*"}))


@pytest.mark.parametrize(
    "name", ["X-Test", "Content-Foo", "Cache-Control", "Content-Type", "Set-Cookie", "ETag", "Expires"]
)
def test_a_304_replaces_fields(name: str) -> None:
    fields = freshened([(name.encode(), b"a"), (name.encode(), b"b"), (b"X-Other", b"c")], {name.upper(): "new"})
    assert [value for field, value in fields if field.lower() == name.lower().encode()] == [b"new"]
    assert (b"X-Other", b"c") in fields


def test_a_304_adds_each_line_of_a_field() -> None:
    fields = freshened({}, [(b"Set-Cookie", b"a"), (b"set-cookie", b"b")])
    assert [value for name, value in fields if name.lower() == b"set-cookie"] == [b"a", b"b"]


@pytest.mark.parametrize("name", ["Content-Length", "Content-Encoding", "Content-Range"])
def test_a_304_does_not_touch_what_the_kept_bytes_depend_on(name: str) -> None:
    assert (name.encode(), b"old") in freshened({name: "old"}, {name: "new"})
    assert name.encode() not in dict(freshened({}, {name: "new"}))


@pytest.mark.parametrize("name", ["Connection", "Transfer-Encoding", "Upgrade", "Proxy-Authenticate", "Age"])
def test_a_304_adds_nothing_that_is_not_kept(name: str) -> None:
    assert name.encode() not in dict(freshened({}, {name: "x"}))


def test_fields_that_the_new_cache_control_names_go() -> None:
    before = [(b"X-User", b"old"), (b"X-Other", b"kept")]
    update = {"Cache-Control": 'no-cache="x-user"', "X-User": "new"}
    assert b"X-User" not in dict(freshened(before, update))
    update = {"Cache-Control": 'private="x-user"', "X-User": "new"}
    assert b"X-User" not in dict(freshened(before, update, SHARED))
    assert dict(freshened(before, update))[b"X-User"] == b"new"


def test_freshening_starts_its_life_anew_and_leaves_the_old_entry_alone() -> None:
    entry = make_entry_of({"Cache-Control": "max-age=60", "Date": date(), "ETag": '"a"'})
    entry.expired = True
    entry.headers = Headers()
    assert plan_for(entry, 90).use is Use.VALIDATE
    new = freshen(entry, make_headers({"Age": "7"}), LATER_S - 2, LATER_S, PRIVATE)
    assert (new.requested_s, new.received_s, new.expired, new.headers) == (LATER_S - 9, LATER_S, False, None)
    assert plan_for(new, 110).use is Use.FRESH
    assert new.initial_age_s == 9.0
    assert (new.body, new.status, new.vary, new.tags) == (entry.body, entry.status, entry.vary, entry.tags)
    assert entry.expired
    assert entry.received_s == NOW_S


def test_a_304_without_a_date_was_made_when_it_came() -> None:
    fields = dict(freshened({"Date": date()}, {}))
    assert fields[b"Date"] == date(100).encode()


def test_what_a_304_forbids_to_keep_is_told_by_the_fields_of_the_result() -> None:
    assert not may_store(freshened({"Cache-Control": "max-age=60"}, {"Cache-Control": "no-store"}))


@pytest.mark.parametrize(
    ("reply", "agrees"),
    [
        ({}, True),
        ({"ETag": '"a"', "Last-Modified": date(), "Content-Length": "2"}, True),
        ({"ETag": '"b"'}, False),
        ({"Last-Modified": date(5)}, False),
        ({"Content-Length": "3"}, False),
        ({"Vary": "Foo"}, False),
    ],
)
def test_a_head_reply_freshens_only_what_it_speaks_of(reply: dict[str, str], agrees: bool) -> None:
    entry = make_entry_of({"ETag": '"a"', "Last-Modified": date()}, body=b"{}")
    assert head_agrees(entry, make_headers(reply)) is agrees


def test_a_head_reply_says_nothing_of_a_kept_error() -> None:
    assert not head_agrees(make_entry_of({}, status=404), make_headers())


TAGS = st.text('abcW/"*, \\', max_size=12).map(str.encode)


@given(TAGS, TAGS)
def test_odd_tags_are_compared_without_complaint(etag: bytes, known: bytes) -> None:
    entry = make_entry_of([(b"ETag", etag)])
    headers = make_headers([(b"If-None-Match", known)])
    if is_not_modified(entry, headers) and known.strip() != b"*":
        assert etag.strip().removeprefix(b"W/") in known


@given(st.dictionaries(st.sampled_from(["ETag", "Vary", "X-A", "Cache-Control", "Date"]), st.sampled_from(["a", "b"])))
def test_freshening_twice_with_the_same_304_changes_nothing_more(update: dict[str, str]) -> None:
    entry, headers = make_entry_of({"X-A": "0", "X-B": "0"}), make_headers(update)
    once = freshen(entry, headers, LATER_S, LATER_S, PRIVATE)
    twice = freshen(once, headers, LATER_S, LATER_S, PRIVATE)
    assert sorted(once.fields) == sorted(twice.fields)
