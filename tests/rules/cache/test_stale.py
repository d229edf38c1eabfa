from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import Reason, Verdict
from sidecar.rules.cache.asked import ask
from sidecar.rules.cache.freshness import terms_of
from sidecar.rules.cache.settings import CacheSettings
from sidecar.rules.cache.stale import (
    LINGER_S,
    LINGER_VALIDATOR_S,
    expires_at_s,
    may_stand_in,
    staleness_s,
    stands_in_for,
)
from tests.fakes import Fields, make_headers
from tests.rules.cache.made import NOW_S, OVERRIDE, PRIVATE, SHARED, STALE, date, make_entry_of


def stands_in(
    value: str, after_s: float, settings: CacheSettings = STALE, request: str = "", *, expired: bool = False
) -> bool:
    entry = make_entry_of({"Cache-Control": value}, settings=settings)
    entry.expired = expired
    asked = ask(make_headers({"Cache-Control": request} if request else {}))
    return may_stand_in(entry, terms_of(entry, settings), asked, NOW_S + after_s)


def test_a_stale_reply_stands_in_up_to_the_ceiling() -> None:
    assert stands_in("max-age=60", 61)
    assert stands_in("max-age=60", 660)
    assert not stands_in("max-age=60", 661)
    assert not stands_in("max-age=60", 61, PRIVATE)
    assert stands_in("max-age=60, stale-if-error=5", 65, PRIVATE)
    assert not stands_in("max-age=60, stale-if-error=5", 66, PRIVATE)


@pytest.mark.parametrize("value", ["must-revalidate", "no-cache", "no-store"])
def test_the_providers_veto_holds_unless_the_policy_overrides_it(value: str) -> None:
    assert not stands_in(f"max-age=60, {value}, stale-if-error=60", 61, STALE)
    assert stands_in(f"max-age=60, {value}", 61, OVERRIDE)


@pytest.mark.parametrize("value", ["proxy-revalidate", "s-maxage=60"])
def test_some_vetoes_are_for_shared_caches(value: str) -> None:
    fields = f"max-age=60, {value}, stale-if-error=60"
    assert stands_in(fields, 61, PRIVATE)
    assert not stands_in(fields, 61, SHARED)


@pytest.mark.parametrize(
    ("request_cc", "stands"),
    [
        ("no-cache", False),
        ("no-store", False),
        ("max-age=0", False),
        ("max-age=10", False),
        ("max-age=70", True),
        ("max-age=10, max-stale=60", True),
        ("max-age=10, stale-if-error=60", True),
        ("min-fresh=1", False),
        ("min-fresh=0", True),
        ("stale-if-error=10", True),
        ("stale-if-error=9", False),
        ("max-stale=1", True),
    ],
)
def test_what_the_application_insists_on_is_kept_to(request_cc: str, stands: bool) -> None:
    assert stands_in("max-age=60", 70, STALE, request_cc) is stands


def test_the_application_may_ask_for_more_than_the_policy_allows_but_not_than_the_provider() -> None:
    assert stands_in("max-age=60", 70, PRIVATE, "stale-if-error=10")
    assert not stands_in("max-age=60, must-revalidate", 70, PRIVATE, "stale-if-error=10")
    assert not stands_in("max-age=60, must-revalidate", 70, OVERRIDE, "stale-if-error=9")
    assert stands_in("max-age=60, must-revalidate", 70, OVERRIDE, "stale-if-error=999")
    assert not stands_in("max-age=60, must-revalidate", 661, OVERRIDE, "stale-if-error=999")


def test_a_purged_entry_is_stale_from_that_moment_on() -> None:
    entry = make_entry_of({"Cache-Control": "max-age=60"})
    terms = terms_of(entry, STALE)
    assert staleness_s(entry, terms, NOW_S) == -60.0
    entry.expired = True
    assert staleness_s(entry, terms, NOW_S) == 0.0
    assert staleness_s(entry, terms, NOW_S + 70) == 10.0
    assert stands_in("max-age=60", 1, expired=True)


@pytest.mark.parametrize("verdict", [Verdict.TRANSIENT, Verdict.UNREACHABLE, Verdict.THROTTLED, Verdict.EXHAUSTED])
def test_a_provider_that_fails_is_stood_in_for(verdict: Verdict) -> None:
    assert stands_in_for(verdict, None)
    assert stands_in_for(verdict, Reason.CONNECTION_LOST)


@pytest.mark.parametrize("verdict", [Verdict.OK, Verdict.REJECTED, Verdict.CREDENTIAL])
def test_an_answer_is_not(verdict: Verdict) -> None:
    assert not stands_in_for(verdict, None)


HELD_BACK = {
    Reason.BREAKER_OPEN,
    Reason.RATE_LIMITED,
    Reason.CONCURRENCY_LIMITED,
    Reason.POOL_EXHAUSTED,
    Reason.ATTEMPT_TIMEOUT,
    Reason.TOTAL_TIMEOUT,
}


@pytest.mark.parametrize("reason", [*Reason, None])
def test_of_our_own_refusals_only_those_that_spare_somebody_are(reason: Reason | None) -> None:
    assert stands_in_for(Verdict.LOCAL, reason) is (reason in HELD_BACK)


@pytest.mark.parametrize(
    ("fields", "settings", "seconds"),
    [
        ({"Cache-Control": "max-age=60"}, PRIVATE, 60 + LINGER_S),
        ({"Cache-Control": "max-age=60, must-revalidate"}, PRIVATE, 60.0),
        ({"Cache-Control": "max-age=60, no-cache"}, PRIVATE, 60.0),
        ({"Cache-Control": "max-age=60", "ETag": '"a"'}, PRIVATE, 60 + LINGER_VALIDATOR_S),
        ({"Cache-Control": "max-age=60, no-cache", "Last-Modified": date()}, PRIVATE, 60 + LINGER_VALIDATOR_S),
        ({"Cache-Control": "max-age=60, stale-while-revalidate=100000"}, PRIVATE, 60 + 100000),
        ({"Cache-Control": "max-age=60, stale-if-error=200000"}, PRIVATE, 60 + 200000),
        ({"Cache-Control": "max-age=60", "Age": "50"}, PRIVATE, 10 + LINGER_S),
        ({"Cache-Control": "max-age=60", "Age": "500"}, PRIVATE, LINGER_S),
        ({"Cache-Control": "no-store"}, OVERRIDE, 600.0),
    ],
)
def test_an_entry_is_kept_for_as_long_as_it_can_be_of_use(
    fields: Fields, settings: CacheSettings, seconds: float
) -> None:
    entry = make_entry_of(fields, settings=settings)
    assert expires_at_s(entry, terms_of(entry, settings)) == NOW_S + seconds


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.floats(0, 3e6), st.sampled_from([PRIVATE, STALE, SHARED]))
def test_nothing_is_forgotten_while_it_may_stand_in(
    max_age: int, error: int, after_s: float, settings: CacheSettings
) -> None:
    entry = make_entry_of({"Cache-Control": f"max-age={max_age}, stale-if-error={error}"}, settings=settings)
    terms = terms_of(entry, settings)
    if may_stand_in(entry, terms, ask(make_headers()), NOW_S + after_s):
        assert expires_at_s(entry, terms) >= NOW_S + after_s
