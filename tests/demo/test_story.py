"""The arithmetic of the demo: what a call was, shares, quantiles, and the comparison at the end."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.demo.provider import Arrival
from sidecar.demo.script import LASTS_S
from sidecar.demo.story import (
    How,
    Sent,
    Story,
    columns,
    comparison,
    how_served,
    minutes,
    percent,
    quantile,
    remarks,
    seconds,
    states,
    tally,
)
from tests.demo.stories import bad_day, sent


@pytest.mark.parametrize(
    ("status", "field", "how"),
    [
        (200, "", How.FRESH),
        (302, "provider=acme, attempts=1, outcome=ok", How.FRESH),
        (200, "provider=acme, attempts=2, outcome=ok", How.RETRIED),
        (200, "provider=acme, attempts=12, outcome=ok", How.RETRIED),
        (200, "provider=acme, attempts=0, outcome=ok, served=cache;age=1", How.CACHE),
        (200, "provider=acme, attempts=2, served=stale;age=1;reason=status-500", How.STALE),
        (200, "provider=acme, served=fallback;reason=breaker-open", How.FALLBACK),
        (404, "provider=acme, served=fallback;reason=breaker-open", How.ERROR),
        (503, "", How.ERROR),
        (None, "", How.ERROR),
    ],
)
def test_what_a_reply_was(status: int | None, field: str, how: How) -> None:
    assert how_served(status, field) is how


def test_a_call_waits_until_it_has_ended() -> None:
    call = Sent(1.0, "GET /x")
    assert (call.how, call.ended_s) == (How.WAITING, inf)
    call.end(200, "", 1.5, 0.5)
    assert (call.how, call.ended_s, call.took_s) == (How.FRESH, 1.5, 0.5)


def test_calls_that_wait_are_neither_answered_nor_errors() -> None:
    summed = tally([sent(0, 200, 0.1), sent(0, 500, 0.3), sent(0, 200, 0.2), Sent(0, "GET /x")])
    assert (summed.ended, summed.errors, summed.answered_ratio) == (3, 1, pytest.approx(2 / 3))
    assert (summed.p50_s, summed.p99_s) == (0.2, 0.3)


def test_of_no_calls_nothing_is_said() -> None:
    summed = tally([])
    assert (summed.ended, summed.answered_ratio, summed.p50_s, summed.p99_s) == (0, 1.0, 0.0, 0.0)


@given(st.lists(st.floats(0, 1e3), min_size=1), st.floats(0.01, 1))
def test_a_quantile_is_the_smallest_that_enough_do_not_exceed(values: list[float], share: float) -> None:
    ordered = sorted(values)
    found = quantile(ordered, share)
    assert sum(value <= found for value in ordered) >= share * len(ordered) - 1e-9
    assert sum(value < found for value in ordered) < share * len(ordered) + 1e-9


@given(st.lists(st.floats(0, 60)), st.integers(1, 90))
def test_columns_lose_no_call(times: list[float], count: int) -> None:
    parts = columns([sent(at_s, 200) for at_s in times], count, 35.0)
    assert len(parts) == count
    assert sum(part.total() for part in parts) == len(times)


def test_columns_are_by_when_calls_began() -> None:
    parts = columns([sent(0.0, 200), sent(4.9, 500), sent(5.0, 200)], 2, 10.0)
    assert parts == [{How.FRESH: 1, How.ERROR: 1}, {How.FRESH: 1}]


def test_a_breaker_keeps_its_state_until_another_is_seen() -> None:
    seen = [(1.1, "open"), (1.2, "half-open"), (3.0, "half-open"), (5.5, "closed")]
    assert states(seen, 8, 8.0, 7.0) == ["closed", "open", "open", "half-open", "half-open", "closed", "closed"]


@pytest.mark.parametrize("now_s", [0.0, 3.5, 99.0])
def test_states_are_known_up_to_now(now_s: float) -> None:
    assert len(states([], 10, 10.0, now_s)) == min(10, int(now_s))


def test_the_recent_past_is_of_calls_that_ended_in_it() -> None:
    story = Story([], with_it=[sent(0.0, 200, 1.0), sent(1.0, 200, 1.5), sent(2.0, 500, 0.9), Sent(2.5, "GET /x")])
    recent = story.recent(story.with_it, 3.0, 1.0)
    assert (recent.ended, recent.errors) == (2, 1)
    assert [call.ended_s for call in story.last(2)] == [2.9, 2.5]


def test_the_load_is_told_by_way() -> None:
    story = Story([Arrival(0.5, True, False), Arrival(1.5, True, False), Arrival(1.7, False, False)])
    assert story.load(True, 4, 4.0) == [1.0, 1.0, 0.0, 0.0]
    assert story.load(False, 2, 4.0) == [0.5, 0.0]
    assert (story.reaching_per_s(True, 2.0, 1.0), story.reaching_per_s(False, 2.0, 2.0)) == (1.0, 0.5)


def test_the_comparison_says_what_happened() -> None:
    rows = {row.title: (row.with_it, row.without) for row in comparison(bad_day())}
    assert rows == {
        "calls": ("350", "350"),
        "answered": ("94.0 %", "40.0 %"),
        "answered while the provider was sick": ("90.0 %", "0.0 %"),
        "errors that the application saw": ("21", "210"),
        "latency, p50": ("10 ms", "2.00 s"),
        "latency, p99": ("10 ms", "2.00 s"),
        "requests that the sick provider got": ("0", "210"),
    }


def test_remarks_name_the_errors_only_if_there_are_any() -> None:
    said = remarks(bad_day())
    assert said[0] == "With the sidecar: 140 fresh, 189 stale."
    assert said[1] == "Its errors: 21 orders, 0 other calls; half of them came within 10 ms."
    assert len(remarks(Story([], with_it=[sent(0, 200)]))) == 2


def test_the_story_covers_its_whole_time() -> None:
    assert bad_day().with_it[-1].began_s == pytest.approx(LASTS_S - 0.1)


def test_numbers_are_never_better_than_they_are() -> None:
    assert [percent(ratio) for ratio in (1.0, 0.99999, 0.5, 0.0)] == ["100 %", "99.9 %", "50.0 %", "0.0 %"]
    assert [seconds(value_s) for value_s in (0.0, 0.0126, 0.9996, 3.004)] == ["0 ms", "13 ms", "1.00 s", "3.00 s"]
    assert [minutes(at_s) for at_s in (0.9, 35.0, 61.0)] == ["0:00", "0:35", "1:01"]
