"""What is shown of kept replies, and what never is."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.admin.entries import HARMLESS, HIDDEN, VALUE_MAX_CHARS, chosen, details, key_test, most_recent, summary
from sidecar.admin.port import Selection
from sidecar.http1.message import Fields, pack
from sidecar.rules.cache.entry import Entry
from sidecar.rules.cache.settings import CacheSettings

NOW_S = 1_800_000_000.0
URI = bytes(range(16))
PARTITION = bytes(range(100, 116))
SETTINGS = CacheSettings(stale_s=3600.0)


def entry(
    *,
    fields: Fields = [(b"Cache-Control", b"max-age=60")],  # noqa: B006
    received_s: float = NOW_S,
    provider: str = "stripe",
    route: str = "get-customer",
    tags: tuple[str, ...] = (),
    body: bytes = b"{}",
) -> Entry:
    return Entry(
        200,
        b"OK",
        pack(fields),
        body,
        received_s,
        received_s,
        ((b"accept", b"\x01" * 16),),
        provider,
        route,
        "https://api.stripe.com",
        b"/v1/customers/1?expand=all",
        tags,
    )


def settings_of(provider: str, route: str) -> CacheSettings | None:
    return SETTINGS if provider == "stripe" else None


def test_an_entry_on_one_line() -> None:
    assert summary(URI + PARTITION, entry(tags=("a",), received_s=NOW_S - 12.0), NOW_S, settings_of) == {
        "key": (URI + PARTITION).hex(),
        "url": "https://api.stripe.com/v1/customers/1?expand=…",
        "status": 200,
        "provider": "stripe",
        "route": "get-customer",
        "tags": ("a",),
        "partition": "64656667",
        "size_bytes": entry(tags=("a",)).size_bytes,
        "age_s": 12.0,
        "ttl_s": 48.0,
        "stale_left_s": 3648.0,
    }


def test_a_stale_entry_says_for_how_long_it_may_stand_in_yet() -> None:
    found = summary(URI, entry(received_s=NOW_S - 660.0), NOW_S, settings_of)

    assert (found["partition"], found["ttl_s"], found["stale_left_s"]) == ("", -600.0, 3000.0)


def test_an_entry_that_was_purged_softly_is_not_fresh() -> None:
    soft = entry()
    soft.expired = True
    found = summary(URI, soft, NOW_S, settings_of)

    assert (found["ttl_s"], found["stale_left_s"]) == (0.0, 3600.0)


def test_an_entry_that_may_never_stand_in_says_so() -> None:
    found = summary(URI, entry(), NOW_S, lambda _provider, _route: CacheSettings())

    assert (found["ttl_s"], found["stale_left_s"]) == (60.0, None)


def test_an_entry_that_no_policy_keeps_any_more_has_an_age_only() -> None:
    found = details(URI, entry(provider="gone", received_s=NOW_S - 5.0), NOW_S, settings_of)

    assert (found["age_s"], found["ttl_s"], found["stale_left_s"], found["lifetime_s"]) == (5.0, None, None, None)


def test_what_the_calls_have_worked_out_is_shown() -> None:
    kept = entry()
    summary(URI, kept, NOW_S, settings_of)
    found = details(URI, kept, NOW_S, lambda _provider, _route: None)

    assert (found["lifetime_s"], found["heuristic"], found["must_validate"]) == (60.0, False, False)
    assert (found["varies_by"], found["body_bytes"], found["received_s"]) == (["accept"], 2, NOW_S)


def test_values_are_shown_only_of_fields_that_cannot_be_secret() -> None:
    fields = [
        (b"Content-Type", b"application/json"),
        (b"cache-control", b"max-age=60"),
        (b"Set-Cookie", b"session=1"),
        (b"ETag", b'"abc"'),
        (b"Content-Language", b"x" * 1000),
    ]

    assert details(URI, entry(fields=fields), NOW_S, settings_of)["fields"] == [
        {"name": "Content-Type", "value": "application/json"},
        {"name": "cache-control", "value": "max-age=60"},
        {"name": "Set-Cookie", "value": HIDDEN},
        {"name": "ETag", "value": HIDDEN},
        {"name": "Content-Language", "value": "x" * VALUE_MAX_CHARS},
    ]


names = st.sampled_from(
    [b"Set-Cookie", b"Authorization", b"X-Api-Key", b"Location", b"Link", b"ETag", b"X-Request-Id", b"WWW-Authenticate"]
)


@given(st.lists(st.tuples(names, st.integers(10**12, 10**18)), max_size=8))
def test_no_other_value_is_in_any_row(pairs: list[tuple[bytes, int]]) -> None:
    kept = entry(fields=[(name, b"s3cr3t%d" % number) for name, number in pairs], body=b"s3cr3t")
    shown = orjson.dumps([details(URI + PARTITION, kept, NOW_S, settings_of)]).decode() + repr(kept)

    assert "s3cr3t" not in shown
    assert not HARMLESS & {name.lower() for name, _ in pairs}


@pytest.mark.parametrize(
    ("which", "found"),
    [
        (Selection(), [0, 1, 2]),
        (Selection(provider="stripe"), [0, 1]),
        (Selection(provider="stripe", route="-"), [1]),
        (Selection(tag="b"), [1, 2]),
        (Selection(provider="sendgrid", tag="a"), []),
        (Selection(key=URI.hex()), [0, 1]),
    ],
)
def test_entries_are_chosen_by_all_that_is_said(which: Selection, found: list[int]) -> None:
    kept = [
        (URI, entry(tags=("a",))),
        (URI + PARTITION, entry(route="-", tags=("a", "b"))),
        (PARTITION, entry(provider="sendgrid", tags=("b",))),
    ]

    assert list(chosen(kept, which)) == [kept[index] for index in found]


@pytest.mark.parametrize(
    ("text", "whole", "anybodys"),
    [
        ("00010203", True, True),
        ("00010203-", True, True),
        ("00010203-6465", True, False),
        ("0001020304-64656667", True, False),
        ("00010203-66", False, False),
        ("00010203-none", False, True),
        ("01020304-none", False, False),
        ((URI + PARTITION).hex().upper(), True, False),
        (URI.hex(), True, True),
        ("0001020", False, False),
        ("01020304", False, False),
        ("", False, False),
        ("-6465", False, False),
        ("no digits", False, False),
    ],
)
def test_a_key_is_known_by_its_beginning(text: str, whole: bool, anybodys: bool) -> None:
    begins = key_test(text)

    assert (begins(URI + PARTITION), begins(URI)) == (whole, anybodys)


@given(st.lists(st.integers(0, 1000), max_size=40), st.integers(0, 50))
def test_the_most_recent_come_first(received: list[int], count: int) -> None:
    found = most_recent([(URI, entry(received_s=float(at))) for at in received], count)

    assert [kept.received_s for _, kept in found] == sorted(map(float, received), reverse=True)[:count]
