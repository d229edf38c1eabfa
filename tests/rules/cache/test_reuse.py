from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.rules.cache.asked import ANYTHING
from sidecar.rules.cache.entry import Entry
from sidecar.rules.cache.reuse import Use, plan
from sidecar.rules.cache.settings import CacheSettings
from tests.fakes import Fields, make_headers
from tests.rules.cache.made import (
    KEYS,
    NOW_S,
    OVERRIDE,
    PRIVATE,
    SHARED,
    STALE,
    TTL,
    date,
    make_entry_of,
    plan_for,
    use_after,
)

BOTH = pytest.mark.parametrize("settings", [PRIVATE, SHARED])


@BOTH
@pytest.mark.parametrize(
    ("fields", "use"),
    [
        ({"Cache-Control": "max-age=3600"}, "fresh"),
        ({"Cache-Control": "max-age=2147483648"}, "fresh"),
        ({"Cache-Control": "max-age=99999999999"}, "fresh"),
        ({"Cache-Control": "max-age=2"}, "validate"),
        ({"Cache-Control": "max-age=3"}, "validate"),
        ({"Cache-Control": "max-age=4"}, "fresh"),
        ({"Cache-Control": "max-age=3600", "Age": "7200", "Date": date()}, "validate"),
        ({"Cache-Control": "max-age=3600", "Date": date(-7200)}, "validate"),
        ({"Cache-Control": "max-age=3600", "Expires": date(-7200), "Date": date()}, "fresh"),
        ({"Cache-Control": "max-age=3600", "Expires": "0", "Date": date()}, "fresh"),
        ({"Cache-Control": "max-age=0", "Expires": date(3600), "Date": date()}, "validate"),
        ({"Cache-Control": "max-age=10000, no-cache", "Expires": date(10000)}, "validate"),
        ({"Cache-Control": "max-age=10000, must-revalidate", "ETag": '"a"'}, "fresh"),
        ({"Cache-Control": "max-age=2, must-revalidate", "ETag": '"a"'}, "validate"),
        ({"Cache-Control": "max-age=3600", "Pragma": "no-cache"}, "fresh"),
        ({"Last-Modified": date(-86400), "Date": date(), "Pragma": "no-cache"}, "fresh"),
        ({"Expires": date(30), "Date": date()}, "fresh"),
        ({"Expires": date(10), "Date": date(-10), "Age": "25"}, "validate"),
        ({"Expires": date(20), "Date": date(10), "Age": "15"}, "validate"),
        ({"Cache-Control": "max-age=1, stale-while-revalidate=3600", "ETag": '"a"'}, "while"),
        ({"Cache-Control": "max-age=1, stale-while-revalidate=2", "ETag": '"a"'}, "validate"),
        ({"Cache-Control": "max-age=1, stale-while-revalidate=60, must-revalidate"}, "validate"),
        ({"Cache-Control": "no-store", "Expires": date(30)}, "not kept"),
    ],
)
def test_a_request_that_says_nothing(fields: dict[str, str], use: str, settings: CacheSettings) -> None:
    assert use_after(fields, 3.0, settings=settings) == use


@BOTH
@pytest.mark.parametrize(
    ("fields", "request_cc", "use"),
    [
        ({"Cache-Control": "max-age=3600"}, "max-age=0", "validate"),
        ({"Cache-Control": "max-age=3600"}, "max-age=1", "validate"),
        ({"Cache-Control": "max-age=3600"}, "max-age=3", "fresh"),
        ({"Cache-Control": "max-age=3600", "Age": "1800"}, "max-age=600", "validate"),
        ({"Cache-Control": "max-age=3600", "Age": "1800"}, "max-age=600, max-stale=1500", "fresh"),
        ({"Cache-Control": "max-age=2"}, "max-stale=1000", "stale"),
        ({"Cache-Control": "max-age=2"}, "max-stale", "stale"),
        ({"Cache-Control": "max-age=2"}, "max-stale=0", "validate"),
        ({"Cache-Control": "max-age=1500", "Age": "2000"}, "max-stale=1000", "stale"),
        ({"Cache-Control": "max-age=1500", "Age": "2000"}, "max-stale=100", "validate"),
        ({"Cache-Control": "max-age=2, must-revalidate"}, "max-stale", "validate"),
        ({"Cache-Control": "max-age=60, no-cache", "ETag": '"a"'}, "max-stale", "validate"),
        ({"Cache-Control": "max-age=1500"}, "min-fresh=2000", "validate"),
        ({"Cache-Control": "max-age=1500"}, "min-fresh=1000", "fresh"),
        ({"Cache-Control": "max-age=1500", "Age": "1000"}, "min-fresh=1000", "validate"),
        ({"Cache-Control": "max-age=3600"}, "no-cache", "validate"),
        ({"Cache-Control": "max-age=3600"}, "no-store", "miss"),
        ({"Cache-Control": "max-age=3600"}, "only-if-cached", "fresh"),
        ({"Cache-Control": "max-age=2"}, "only-if-cached", "refused"),
        ({"Cache-Control": "max-age=2"}, "only-if-cached, max-stale", "stale"),
        ({"Cache-Control": "max-age=2, stale-while-revalidate=60"}, "only-if-cached", "stale"),
        ({"Cache-Control": "max-age=2, stale-while-revalidate=60"}, "max-age=60", "validate"),
        ({"Cache-Control": "max-age=2, stale-while-revalidate=60"}, "x=y", "while"),
        ({"Cache-Control": "max-age=2, stale-while-revalidate=60"}, "stale-if-error=60", "while"),
    ],
)
def test_a_request_that_says_something(
    fields: dict[str, str], request_cc: str, use: str, settings: CacheSettings
) -> None:
    assert use_after(fields, 3.0, {"Cache-Control": request_cc}, settings) == use


def test_a_reload_by_pragma_is_honoured() -> None:
    assert use_after({"Cache-Control": "max-age=3600"}, 3.0, {"Pragma": "no-cache"}) == "validate"
    assert use_after({"Cache-Control": "max-age=3600"}, 3.0, {"Pragma": "x"}) == "fresh"


def test_max_age_0_asks_even_about_what_came_this_very_moment() -> None:
    assert use_after({"Cache-Control": "max-age=3600"}, 0.0, {"Cache-Control": "max-age=0"}) == "validate"


@pytest.mark.parametrize(
    ("fields", "private", "shared"),
    [
        ({"Cache-Control": "s-maxage=3600, max-age=1"}, "validate", "fresh"),
        ({"Cache-Control": "max-age=3600, s-maxage=1"}, "fresh", "validate"),
        ({"Cache-Control": "private, max-age=3600"}, "fresh", "not kept"),
        ({"Cache-Control": "max-age=2, proxy-revalidate, stale-while-revalidate=60"}, "while", "validate"),
        ({"Cache-Control": "max-age=2, s-maxage=2, stale-while-revalidate=60"}, "while", "validate"),
    ],
)
def test_the_two_sets_of_rules(fields: dict[str, str], private: str, shared: str) -> None:
    assert use_after(fields, settings=PRIVATE) == private
    assert use_after(fields, settings=SHARED) == shared


def test_max_stale_cannot_lift_a_shared_veto() -> None:
    fields, request = {"Cache-Control": "max-age=2, proxy-revalidate"}, {"Cache-Control": "max-stale"}
    assert use_after(fields, 3.0, request, SHARED) == "validate"
    assert use_after(fields, 3.0, request, PRIVATE) == "stale"


def test_nothing_kept_is_a_miss() -> None:
    found = plan_for(None)
    assert (found.use, found.entry, found.why) == (Use.MISS, None, "uri-miss")
    found = plan_for(None, request={"Cache-Control": "only-if-cached"})
    assert (found.use, found.entry, found.why) == (Use.REFUSED, None, "uri-miss")


def test_another_variant_is_a_miss() -> None:
    entry = make_entry_of({"Cache-Control": "max-age=60", "Vary": "Foo"}, request={"Foo": "1"})
    assert plan_for(entry, request={"Foo": "1"}).use is Use.FRESH
    found = plan_for(entry, request={"Foo": "2"})
    assert (found.use, found.entry, found.why) == (Use.MISS, None, "vary-miss")
    assert plan_for(entry, request={"Foo": "2", "Cache-Control": "only-if-cached"}).use is Use.REFUSED


def test_the_most_recent_of_those_that_match_is_used() -> None:
    def variant(vary: str, foo: str) -> Entry:
        return make_entry_of({"Cache-Control": "max-age=60", "Vary": vary}, request={"Foo": foo})

    variants = (variant("Foo", "2"), variant("", "1"), variant("Foo", "1"))
    for foo, expected in (("1", variants[1]), ("2", variants[0])):
        headers = make_headers({"Foo": foo})
        assert plan(ANYTHING, variants, KEYS, headers, PRIVATE, NOW_S, False).entry is expected


def test_a_plan_says_age_and_what_is_left() -> None:
    entry = make_entry_of({"Cache-Control": "max-age=60", "Age": "10"})
    found = plan_for(entry, 20)
    assert (found.use, found.entry, found.age_s, found.ttl_s, found.why) == (Use.FRESH, entry, 30.0, 30.0, "")
    found = plan_for(entry, 100)
    assert (found.use, found.entry, found.age_s, found.ttl_s, found.why) == (Use.VALIDATE, entry, 110.0, -50.0, "stale")


@pytest.mark.parametrize(
    ("request_cc", "why"), [("no-cache", "request"), ("max-age=0", "request"), ("no-store", "request"), ("x", "")]
)
def test_a_plan_says_why_the_provider_is_asked(request_cc: str, why: str) -> None:
    entry = make_entry_of({"Cache-Control": "max-age=60"})
    assert plan_for(entry, 1, {"Cache-Control": request_cc}).why == why


def test_a_purged_entry_is_stale() -> None:
    entry = make_entry_of({"Cache-Control": "max-age=60"})
    entry.expired = True
    found = plan_for(entry, 1)
    assert (found.use, found.ttl_s, found.why) == (Use.VALIDATE, 0.0, "stale")
    entry = make_entry_of({"Cache-Control": "max-age=60, stale-while-revalidate=5"})
    entry.expired = True
    assert plan_for(entry, 1).use is Use.WHILE
    assert plan_for(entry, 1, settings=STALE, sick=True).use is Use.WHILE


@pytest.mark.parametrize(
    ("value", "request_fields", "settings", "use"),
    [
        ("max-age=60", {}, STALE, Use.WHILE),
        ("max-age=60", {}, PRIVATE, Use.VALIDATE),
        ("max-age=60, must-revalidate", {}, STALE, Use.VALIDATE),
        ("max-age=60, must-revalidate", {}, OVERRIDE, Use.WHILE),
        ("no-store", {}, OVERRIDE, Use.WHILE),
        ("max-age=60", {"Cache-Control": "no-cache"}, STALE, Use.VALIDATE),
        ("max-age=60", {"Cache-Control": "only-if-cached"}, STALE, Use.STALE),
    ],
)
def test_while_the_provider_is_sick_what_may_stand_in_is_served_at_once(
    value: str, request_fields: Fields, settings: CacheSettings, use: Use
) -> None:
    entry = make_entry_of({"Cache-Control": value}, settings=settings)
    assert plan_for(entry, 100, request_fields, settings, sick=True).use is use
    assert plan_for(entry, 100, request_fields, settings).use in {Use.VALIDATE, Use.REFUSED}


def test_what_is_fresh_stays_fresh_while_the_provider_is_sick() -> None:
    entry = make_entry_of({"Cache-Control": "max-age=60"})
    assert plan_for(entry, 1, settings=STALE, sick=True).use is Use.FRESH


def test_an_override_never_makes_anything_fresh() -> None:
    entry = make_entry_of({"Cache-Control": "max-age=60, no-cache"}, settings=OVERRIDE)
    assert plan_for(entry, 1, settings=OVERRIDE).use is Use.VALIDATE


def test_a_policys_lifetime_holds_whatever_the_provider_said() -> None:
    for value in ("no-store", "no-cache", "max-age=0", "max-age=3600"):
        assert use_after({"Cache-Control": value, "Age": "500"}, 59, settings=TTL) == "fresh"
        assert use_after({"Cache-Control": value, "Age": "500"}, 61, settings=TTL) == "validate"


def test_new_settings_are_used_at_once() -> None:
    entry = make_entry_of({"Cache-Control": "max-age=10"})
    assert plan_for(entry, 30).use is Use.VALIDATE
    assert plan_for(entry, 30, settings=TTL).use is Use.FRESH


DIRECTIVES = st.lists(
    st.sampled_from(
        [
            "no-cache",
            "no-store",
            "only-if-cached",
            "max-age=0",
            "max-age=50",
            "min-fresh=20",
            "max-stale",
            "max-stale=30",
        ]
    )
).map(", ".join)
REPLIES = st.lists(
    st.sampled_from(
        [
            "max-age=60",
            "max-age=0",
            "s-maxage=30",
            "no-cache",
            "must-revalidate",
            "stale-while-revalidate=40",
            "stale-if-error=90",
        ]
    )
).map(", ".join)


@given(REPLIES, DIRECTIVES, st.floats(0, 200), st.sampled_from([PRIVATE, SHARED, STALE]), st.booleans())
def test_nothing_is_served_against_the_word_of_either_side(
    value: str, request_cc: str, after_s: float, settings: CacheSettings, sick: bool
) -> None:
    entry = make_entry_of({"Cache-Control": value}, settings=settings)
    found = plan_for(entry, after_s, {"Cache-Control": request_cc}, settings, sick=sick)
    served = found.use in {Use.FRESH, Use.STALE, Use.WHILE}
    if "no-cache" in value or "no-cache" in request_cc or "no-store" in request_cc:
        assert not served
    if served and "must-revalidate" in value:
        assert found.ttl_s > 0.0
    if found.use is Use.FRESH:
        assert found.ttl_s > 0.0
    if served and "min-fresh" in request_cc and "max-stale" not in request_cc:
        assert found.ttl_s >= 20.0
    if "only-if-cached" in request_cc:
        assert found.use not in {Use.WHILE, Use.VALIDATE}
    assert (found.why == "") is served
