from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.http1.message import Headers
from sidecar.rules.cache.directives import parse_directives
from sidecar.rules.cache.entry import Terms
from sidecar.rules.cache.freshness import HEURISTIC_CAP_S, SKEW_S, age_s, terms_of, work_out
from sidecar.rules.cache.settings import CacheSettings
from tests.fakes import Fields
from tests.rules.cache.made import NOW_S, OVERRIDE, PRIVATE, SHARED, STALE, TTL, date, make_entry_of

DAY_S = 86400.0


def terms_for(fields: Fields, settings: CacheSettings = PRIVATE, *, status: int = 200, took_s: float = 0.0) -> Terms:
    return terms_of(make_entry_of(fields, settings=settings, status=status, took_s=took_s), settings)


def lifetime_s(fields: Fields, settings: CacheSettings = PRIVATE, status: int = 200) -> float:
    return make_entry_of(fields, settings=settings, status=status).lifetime_s


@pytest.mark.parametrize(
    ("value", "private_s", "shared_s"),
    [
        ("max-age=3600", 3600.0, 3600.0),
        ("s-maxage=3600", 10.0, 3600.0),
        ("s-maxage=3600, max-age=1", 1.0, 3600.0),
        ("max-age=3600, s-maxage=1", 3600.0, 1.0),
        ("max-age=0, s-maxage=3600", 0.0, 3600.0),
        ("max-age=60, s-maxage=soon", 60.0, 0.0),
        ("max-age=-3600", 0.0, 0.0),
        ("no-transform", 10.0, 10.0),
    ],
)
def test_the_nearest_word_counts(value: str, private_s: float, shared_s: float) -> None:
    fields = {"Cache-Control": value, "Expires": date(10), "Date": date()}
    assert lifetime_s(fields, PRIVATE) == private_s
    assert lifetime_s(fields, SHARED) == shared_s


@pytest.mark.parametrize(
    ("expires", "sent", "seconds"),
    [
        (date(60), date(), 60.0),
        (date(60), None, 60.0),
        (date(60), "foo", 60.0),
        (date(-60), date(), 0.0),
        (date(), date(), 0.0),
        (date(300), date(400), 0.0),
        (date(20), date(10), 10.0),
        ("0", date(), 0.0),
        ("-1", date(), 0.0),
        (f"{date(60)}, {date(60)}", date(), 0.0),
        ("Thu, 18 Aug 2050 02:01:18 UTC", date(), 0.0),
    ],
)
def test_expires_counts_from_date(expires: str, sent: str | None, seconds: float) -> None:
    fields = {"Expires": expires} if sent is None else {"Expires": expires, "Date": sent}
    assert (lifetime_s(fields), terms_for(fields).heuristic) == (seconds, False)


def test_an_invalid_expires_yields_to_max_age_but_not_to_a_guess() -> None:
    assert lifetime_s({"Expires": "0", "Cache-Control": "max-age=60"}) == 60.0
    assert lifetime_s({"Expires": "0", "Last-Modified": date(-DAY_S)}) == 0.0


@pytest.mark.parametrize(
    ("modified", "sent", "seconds"),
    [
        (date(-1000), date(), 100.0),
        (date(-1000), None, 100.0),
        (date(-1000), "foo", 100.0),
        (date(-1000), date(1e6), 100.0),
        (date(-1000), date(-500), 50.0),
        (date(-100 * DAY_S), date(), HEURISTIC_CAP_S),
        (date(1000), date(), 0.0),
        ("yesterday", date(), 0.0),
    ],
)
def test_a_lifetime_may_be_guessed_from_the_last_change(modified: str, sent: str | None, seconds: float) -> None:
    fields = {"Last-Modified": modified} if sent is None else {"Last-Modified": modified, "Date": sent}
    assert terms_for(fields).heuristic
    assert lifetime_s(fields) == pytest.approx(seconds)


def test_it_is_guessed_only_for_statuses_that_allow_it_or_with_public() -> None:
    modified = {"Last-Modified": date(-1000)}
    for status in (200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501):
        assert lifetime_s(modified, status=status) > 0.0, status
    for status in (201, 202, 302, 403, 502, 503, 504, 599):
        assert lifetime_s(modified, status=status) == 0.0, status
        assert lifetime_s({**modified, "Cache-Control": "public"}, status=status) > 0.0, status
    assert lifetime_s({}) == 0.0


@pytest.mark.parametrize(
    ("fields", "took_s", "initial_s"),
    [
        ({"Date": date()}, 0.0, 0.0),
        ({"Date": date(-7200)}, 0.0, 7200.0),
        ({"Date": date(500)}, 0.0, 0.0),
        ({"Age": "30", "Date": date()}, 0.0, 30.0),
        ({"Age": "30", "Date": date()}, 4.0, 34.0),
        ({"Age": "30", "Date": date(-60)}, 4.0, 60.0),
        ({"Date": "foo"}, 4.0, 4.0),
        ({}, 4.0, 4.0),
        ({}, -4.0, 0.0),
    ],
)
def test_the_initial_age_is_the_worst_of_what_is_known(fields: dict[str, str], took_s: float, initial_s: float) -> None:
    assert make_entry_of(fields, took_s=took_s).initial_age_s == initial_s


@given(st.integers(0, 10**7), st.integers(-(10**6), 10**6), st.floats(0, 100), st.floats(0, 10**6))
def test_a_reply_is_never_younger_than_any_evidence(age: int, date_offset: int, took_s: float, later_s: float) -> None:
    entry = make_entry_of({"Age": str(age), "Date": date(date_offset)}, took_s=took_s)
    current_s = age_s(entry, NOW_S + later_s)
    assert current_s >= age + later_s - 1e-3
    assert current_s >= later_s - date_offset - 1e-3


def test_a_clock_put_back_a_little_makes_nothing_younger_than_it_came() -> None:
    entry = make_entry_of({"Age": "30"})
    assert age_s(entry, NOW_S - SKEW_S) == 30.0
    assert age_s(entry, NOW_S) == 30.0
    assert age_s(entry, NOW_S + 1) == 31.0


@given(st.floats(SKEW_S + 0.1, 1e9), st.integers(0, 10**6))
def test_an_entry_from_the_future_is_never_fresh(back_s: float, max_age: int) -> None:
    entry = make_entry_of({"Cache-Control": f"max-age={max_age}"})
    assert age_s(entry, NOW_S - back_s) > entry.lifetime_s


@pytest.mark.parametrize("value", ["no-cache", "No-CaChE", "no-store", "max-age=60, no-cache", "no-cache=x"])
def test_what_may_not_be_reused_unasked(value: str) -> None:
    assert terms_for({"Cache-Control": value}).must_validate


def test_what_may() -> None:
    for value in ('no-cache="set-cookie"', "private", "no-store, must-understand", "must-revalidate"):
        assert not terms_for({"Cache-Control": value}).must_validate, value
    assert not terms_for({"Cache-Control": "no-store, no-cache, max-age=0"}, TTL).must_validate


def test_a_private_reply_in_a_cache_that_became_shared_is_asked_about() -> None:
    assert terms_for({"Cache-Control": "private, max-age=60"}, SHARED).must_validate


@pytest.mark.parametrize(
    ("value", "private", "shared"),
    [
        ("must-revalidate", True, True),
        ("proxy-revalidate", False, True),
        ("s-maxage=60", False, True),
        ("max-age=60", False, False),
    ],
)
def test_who_is_strict_about_stale_replies(value: str, private: bool, shared: bool) -> None:
    assert terms_for({"Cache-Control": value}, PRIVATE).strict is private
    assert terms_for({"Cache-Control": value}, SHARED).strict is shared


@pytest.mark.parametrize(
    "forbidden", ["must-revalidate", "no-cache", "no-store", "proxy-revalidate", "s-maxage=2", "private"]
)
def test_what_forbids_stale_replies_forbids_both_kinds(forbidden: str) -> None:
    value = f"{forbidden}, max-age=2, stale-while-revalidate=60, stale-if-error=60"
    for settings in (SHARED, replace(SHARED, stale_s=600.0)):
        terms = terms_for({"Cache-Control": value}, settings)
        assert (terms.while_s, terms.error_s) == (0.0, 0.0)


def test_what_allows_them() -> None:
    terms = terms_for({"Cache-Control": "max-age=2, stale-while-revalidate=60, stale-if-error=90"})
    assert (terms.while_s, terms.error_s) == (60.0, 90.0)
    terms = terms_for({"Cache-Control": "max-age=2, stale-while-revalidate=x, stale-if-error=9, stale-if-error=8"})
    assert (terms.while_s, terms.error_s) == (0.0, 0.0)


def test_the_longer_of_the_policys_ceiling_and_the_providers_wins() -> None:
    assert terms_for({"Cache-Control": "stale-if-error=9"}, STALE).error_s == 600.0
    assert terms_for({"Cache-Control": "stale-if-error=900"}, STALE).error_s == 900.0


def test_override_lets_what_is_forbidden_stand_in_and_no_more() -> None:
    for value in ("must-revalidate", "no-cache", "no-store"):
        terms = terms_for({"Cache-Control": f"max-age=60, {value}, stale-while-revalidate=60"}, OVERRIDE)
        assert (terms.while_s, terms.error_s) == (0.0, 600.0)
        assert terms.strict or terms.must_validate


def test_an_error_of_the_providers_own_is_no_stand_in() -> None:
    for status in (400, 403, 429, 500, 503):
        assert terms_for({"Cache-Control": "max-age=60"}, STALE, status=status).error_s == 0.0
    for status in (200, 301, 404, 410):
        assert terms_for({"Cache-Control": "max-age=60"}, STALE, status=status).error_s == 600.0


def test_a_policys_lifetime_counts_from_when_the_reply_came() -> None:
    entry = make_entry_of({"Age": "7200", "Cache-Control": "max-age=0"}, settings=TTL)
    terms = terms_of(entry, TTL)
    assert (entry.initial_age_s, entry.lifetime_s, terms.heuristic) == (7200.0, 7260.0, False)
    assert lifetime_s({"Last-Modified": date(-1000)}, TTL, status=404) == pytest.approx(100.0)


_stated = st.sampled_from(["max-age=60", "max-age=60, s-maxage=5", "max-age=9, stale-if-error=9", "no-cache", ""])
_replies = st.tuples(
    st.fixed_dictionaries(
        {"Cache-Control": _stated},
        optional={
            "ETag": st.just('"a"'),
            "Date": st.just(date(-5)),
            "Expires": st.just(date(30)),
            "Last-Modified": st.just(date(-1000)),
        },
    ),
    st.sampled_from([PRIVATE, SHARED, STALE, OVERRIDE, TTL]),
    st.sampled_from([200, 302, 404, 503]),
)


@given(st.lists(_replies, max_size=8))
def test_terms_that_are_shared_are_those_that_would_have_been_worked_out(
    replies: list[tuple[dict[str, str], CacheSettings, int]],
) -> None:
    for fields, settings, status in replies:
        entry = make_entry_of(fields, settings=settings, status=status)
        headers = Headers(entry.fields)
        # Longer than what is memoised, so that nobody has read it before.
        unread = parse_directives((headers.get(b"cache-control") or b"") + b", " * 200)
        anew = make_entry_of(fields, settings=settings, status=status)
        assert work_out(anew, headers, unread, settings) == entry.terms
        assert (anew.initial_age_s, anew.lifetime_s) == (entry.initial_age_s, entry.lifetime_s)


def test_replies_that_say_the_same_share_their_terms() -> None:
    fields = {"Cache-Control": "max-age=60", "ETag": '"a"'}
    first, second = make_entry_of(fields, took_s=1.0), make_entry_of(fields, took_s=2.0)
    assert first.terms is second.terms
    assert (first.initial_age_s, second.initial_age_s) == (1.0, 2.0)
    assert make_entry_of({"Cache-Control": "max-age=60"}).terms is not first.terms


def test_a_policys_lifetime_is_the_same_for_all_whatever_their_age() -> None:
    first, second = make_entry_of(settings=TTL), make_entry_of({"Age": "30"}, settings=TTL)
    assert first.terms is second.terms
    assert (first.lifetime_s, second.lifetime_s) == (60.0, 90.0)


def test_terms_are_worked_out_once_for_each_settings() -> None:
    entry = make_entry_of({"Cache-Control": "max-age=60"})
    terms = terms_of(entry, PRIVATE)
    assert terms_of(entry, PRIVATE) is terms
    assert terms_of(entry, TTL).settings is TTL
    assert terms_of(entry, PRIVATE) == terms


@given(
    st.lists(st.sampled_from(["max-age=5", "max-age=9", "s-maxage=7", "no-cache", "private", "public", "x=y"])).map(
        ", ".join
    ),
    st.sampled_from([PRIVATE, SHARED]),
    st.sampled_from(["no-cache", "no-store", "max-age=0", "must-revalidate"]),
)
def test_a_restriction_more_never_makes_it_fresher(value: str, settings: CacheSettings, restriction: str) -> None:
    said = {"Cache-Control": value}, {"Cache-Control": f"{value}, {restriction}"}
    before, after = (terms_for(fields, settings) for fields in said)
    assert after.must_validate >= before.must_validate
    assert after.strict >= before.strict
    assert lifetime_s(said[1], settings) <= lifetime_s(said[0], settings)


@given(
    st.lists(st.sampled_from(["max-age=5", "no-cache", "public", "must-revalidate", "stale-if-error=9"])).map(
        ", ".join
    ),
    st.sampled_from(["s-maxage=60", "s-maxage=soon", "proxy-revalidate", "private", 'private="date"']),
)
def test_what_is_said_to_shared_caches_changes_nothing_for_a_private_one(value: str, said: str) -> None:
    rest: dict[str, str] = {"Last-Modified": date(-1000), "Date": date()}
    before, after = {"Cache-Control": value, **rest}, {"Cache-Control": f"{value}, {said}", **rest}
    assert terms_for(after) == terms_for(before)
    assert lifetime_s(after) == lifetime_s(before)
