from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.rules.cache.directives import NOTHING, parse_directives
from sidecar.rules.cache.settings import CacheSettings
from sidecar.rules.cache.targeted import directives_for, expires_for, parse_targeted
from sidecar.rules.cache.validation import freshen, not_modified_fields
from tests.fakes import Fields, make_headers
from tests.rules.cache.made import NOW_S, PRIVATE, SHARED, date, make_entry_of, may_store, use_after

CDN = replace(SHARED, targets=(b"cdn-cache-control",))
OWN = replace(SHARED, targets=(b"acme-cache-control", b"cdn-cache-control"))


def reply(targeted: str, value: str = "max-age=3600", **more: str) -> dict[str, str]:
    return {"CDN-Cache-Control": targeted, "Cache-Control": value, **more}


def max_age_s(fields: Fields, settings: CacheSettings = CDN) -> float | None:
    return directives_for(settings, make_headers(fields)).seconds("max-age")


@pytest.mark.parametrize(
    ("fields", "use"),
    [
        (reply("max-age=3600", "no-store"), "fresh"),
        (reply("max-age=3600", "max-age=1"), "fresh"),
        (reply("max-age=3600", "private"), "fresh"),
        (reply("max-age=3600", Expires="0"), "fresh"),
        (reply("max-age=3600", Expires=date(-100)), "fresh"),
        (reply("max-age=2147483648"), "fresh"),
        (reply("max-age=99999999999"), "fresh"),
        (reply("foobar, max-age=3600"), "fresh"),
        (reply("max-age=3600;x=1"), "fresh"),
        (reply("max-age=60, s-maxage=3600", "no-store"), "fresh"),
        (reply("max-age=1"), "validate"),
        (reply("max-age=3600", Age="7200"), "validate"),
        (reply("max-age=60, s-maxage=1"), "validate"),
        (reply("max-age=0", Expires=date(3600), ETag='"a"'), "validate"),
        (reply("no-cache", Expires=date(3600), ETag='"a"'), "validate"),
        (reply("max-age=1, stale-while-revalidate=60"), "while"),
        (reply("max-age=1, stale-while-revalidate=60, must-revalidate"), "validate"),
        (reply("none", Expires=date(3600)), "not kept"),
        (reply("private", Expires=date(3600)), "not kept"),
        (reply("no-store", Expires=date(3600)), "not kept"),
        (reply("max-age=3600, no-store"), "not kept"),
    ],
)
def test_it_takes_the_place_of_cache_control_and_expires(fields: dict[str, str], use: str) -> None:
    assert use_after(fields, settings=CDN) == use


@pytest.mark.parametrize(
    "targeted", ["", "  ", "max-age=1,", "max-age =1", "max-age= 1", "MaX-aGe=1", "max-age=1, &&&&&", "no-store; ,"]
)
def test_one_that_is_malformed_or_empty_counts_as_absent(targeted: str) -> None:
    assert parse_targeted(targeted.encode()) is None
    assert use_after(reply(targeted), settings=CDN) == "fresh"
    assert use_after(reply(targeted, "no-store"), settings=CDN) == "not kept"
    assert use_after({"CDN-Cache-Control": targeted, "Expires": date(60)}, settings=CDN) == "fresh"


def test_who_is_not_addressed_obeys_cache_control_alone() -> None:
    for settings in (PRIVATE, SHARED, replace(CDN, targets=(b"acme-cache-control",))):
        assert use_after(reply("max-age=3600", "no-store"), settings=settings) == "not kept"
        assert use_after(reply("no-store"), settings=settings) == "fresh"


def test_the_first_that_is_usable_counts() -> None:
    fields = {"Acme-Cache-Control": "max-age=1", "CDN-Cache-Control": "max-age=2", "Cache-Control": "max-age=3"}
    assert max_age_s(fields, OWN) == 1.0
    assert max_age_s(fields, CDN) == 2.0
    assert max_age_s(fields | {"Acme-Cache-Control": ""}, OWN) == 2.0
    assert max_age_s(fields | {"Acme-Cache-Control": "?", "CDN-Cache-Control": "?"}, OWN) == 3.0
    assert directives_for(OWN, make_headers()) is NOTHING


def test_several_lines_are_one_dictionary_in_which_the_last_word_counts() -> None:
    lines = [(b"CDN-Cache-Control", b"max-age=1, public"), (b"cdn-cache-control", b"max-age=60")]
    assert max_age_s(lines) == 60.0
    assert directives_for(CDN, make_headers(lines)).has("public")


def test_expires_counts_only_beside_cache_control() -> None:
    headers = make_headers({"Expires": "0"})
    assert expires_for(NOTHING, headers) == b"0"
    assert expires_for(parse_directives(b"public"), headers) == b"0"
    assert expires_for(parse_targeted(b"public") or NOTHING, headers) is None


@pytest.mark.parametrize("value", ['"10"', "10.0", "-10", "ten", "?1", "(10)", ":MTA=:", "@10", '%"10"'])
@pytest.mark.parametrize("name", ["max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"])
def test_seconds_of_another_type_are_none(name: str, value: str) -> None:
    directives = parse_targeted(f"{name}={value}".encode())
    assert directives is not None
    assert directives.seconds(name) == 0.0


@pytest.mark.parametrize("name", ["no-store", "no-cache", "private", "must-revalidate", "proxy-revalidate"])
def test_what_restricts_holds_whatever_its_type_unless_it_is_false(name: str) -> None:
    for value in (name, f"{name}=?1", f"{name}=1", f"{name}=yes", f'{name}=""', f"{name}=1.5"):
        directives = parse_targeted(value.encode())
        assert directives is not None
        assert directives.is_whole(name), value
    directives = parse_targeted(f"{name}=?0".encode())
    assert directives is not None
    assert not directives.has(name)


@pytest.mark.parametrize("name", ["public", "must-understand"])
def test_what_allows_does_only_if_it_is_true(name: str) -> None:
    for value, allows in ((name, True), (f"{name}=?1", True), (f"{name}=?0", False), (f"{name}=1", False)):
        directives = parse_targeted(value.encode())
        assert directives is not None
        assert directives.has(name) is allows, value


def test_a_list_of_names_narrows_a_restriction() -> None:
    fields = [(b"CDN-Cache-Control", b'max-age=60, private="x-user, \\"", no-cache="X-Other"')]
    directives = directives_for(CDN, make_headers(fields))
    assert directives.fields("no-cache") == {b"x-other"}
    assert directives.is_whole("private")
    fields = [(b"CDN-Cache-Control", b'max-age=60, private="X-User, x-me"'), (b"X-User", b"me"), (b"X-Rest", b"a")]
    assert [name for name, _ in make_entry_of(fields, settings=CDN).fields] == [
        b"CDN-Cache-Control",
        b"X-Rest",
        b"Date",
    ]


@pytest.mark.parametrize(("targeted", "kept"), [("max-age=60", False), ("public", False), ("max-age=60, public", True)])
def test_leave_for_authorized_replies_is_asked_of_it(targeted: str, kept: bool) -> None:
    fields = reply(targeted, "public, s-maxage=60")
    assert may_store(fields, CDN, request={"Authorization": "Bearer a"}) is kept


def test_both_fields_are_kept_as_they_came_and_go_into_a_304() -> None:
    fields = [(b"CDN-Cache-Control", b"max-age=60"), (b"Cache-Control", b"no-store"), (b"Date", date().encode())]
    entry = make_entry_of([*fields, (b"X-Other", b"a")], settings=CDN)
    assert entry.fields[:3] == fields
    assert not_modified_fields(entry) == fields


def test_a_304_may_change_it() -> None:
    entry = make_entry_of(reply("max-age=60, no-cache", X="a"), settings=CDN)
    update = make_headers({"CDN-Cache-Control": 'max-age=60, no-cache="x"'})
    fields = freshen(entry, update, NOW_S, NOW_S, CDN).fields
    assert (b"CDN-Cache-Control", b'max-age=60, no-cache="x"') in fields
    assert b"X" not in dict(fields)


def test_long_ones_are_read_like_short_ones() -> None:
    padding = ", ".join(f"x{number}=1" for number in range(100))
    assert max_age_s({"CDN-Cache-Control": f"{padding}, max-age=60"}) == 60.0
    assert parse_targeted(f"{padding},".encode()) is None


@given(
    st.lists(
        st.sampled_from(["max-age=60", "s-maxage=9", "no-cache", "no-store", "private", "must-revalidate", "public"])
    ).map(lambda said: ", ".join(dict.fromkeys(said)))
)
def test_what_both_can_say_means_the_same(value: str) -> None:
    cache_control = {"Cache-Control": value, "ETag": '"a"'}
    targeted = {"CDN-Cache-Control": value, "ETag": '"a"'}
    assert use_after(targeted, settings=CDN) == use_after(cache_control, settings=CDN)
