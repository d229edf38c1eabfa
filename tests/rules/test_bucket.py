import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.rules.bucket import LEAST_RATIO, Bucket

NOW_S = 1000.0


def test_lets_a_burst_go_and_then_one_in_its_time() -> None:
    bucket = Bucket(rate_per_s=10.0, burst=2)
    assert [bucket.reserve(NOW_S, 1.0) for _ in range(4)] == pytest.approx([0.0, 0.0, 0.1, 0.2])


def test_takes_nothing_for_one_who_will_not_wait() -> None:
    bucket = Bucket(rate_per_s=10.0, burst=1)
    assert bucket.reserve(NOW_S, 0.0) == 0.0
    assert bucket.reserve(NOW_S, 0.05) == pytest.approx(0.1)
    assert bucket.reserve(NOW_S, 0.2) == pytest.approx(0.1)


def test_a_refund_is_there_for_the_next() -> None:
    bucket = Bucket(rate_per_s=1.0, burst=1)
    bucket.reserve(NOW_S, 0.0)
    bucket.refund()
    bucket.refund()
    assert bucket.tokens(NOW_S) == 1.0


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=200),
    st.floats(0.5, 50),
    st.integers(1, 10),
    st.floats(0, 2),
)
def test_never_more_than_burst_and_rate_in_any_time(
    gaps: list[float], rate_per_s: float, burst: int, most_s: float
) -> None:
    bucket, now_s = Bucket(rate_per_s, burst), NOW_S
    going_s: list[float] = []
    for gap_s in gaps:
        now_s += gap_s
        wait_s = bucket.reserve(now_s, most_s)
        assert wait_s >= 0
        if wait_s <= most_s:
            going_s.append(now_s + wait_s)
    assert going_s == sorted(going_s), "nobody is overtaken"
    for first, start_s in enumerate(going_s):
        for count, end_s in enumerate(going_s[first:], 1):
            assert count <= burst + rate_per_s * (end_s - start_s) + 1e-6


def test_slows_down_by_half_once_a_round_and_recovers_with_time() -> None:
    bucket = Bucket(rate_per_s=100.0, burst=10)
    bucket.throttled(NOW_S, admitted_s=NOW_S - 1, until_s=NOW_S)
    bucket.throttled(NOW_S, admitted_s=NOW_S - 1, until_s=NOW_S)
    assert bucket.rate_per_s == 50.0
    assert bucket.tokens(NOW_S) == 1.0
    bucket.tokens(NOW_S + 10)
    assert bucket.rate_per_s == pytest.approx(70.0)
    bucket.tokens(NOW_S + 1000)
    assert bucket.rate_per_s == 100.0


def test_gives_no_token_before_the_hint_is_over() -> None:
    bucket = Bucket(rate_per_s=100.0, burst=10)
    bucket.throttled(NOW_S, admitted_s=NOW_S, until_s=NOW_S + 5)
    assert bucket.tokens(NOW_S + 5) == 1.0


@given(st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=100))
def test_the_rate_stays_between_the_least_and_the_configured(steps: list[tuple[float, bool]]) -> None:
    bucket, now_s = Bucket(rate_per_s=10.0, burst=5), NOW_S
    for passed_s, throttled in steps:
        now_s += passed_s
        if throttled:
            bucket.throttled(now_s, now_s, now_s)
        else:
            bucket.reserve(now_s, 1.0)
        assert 10.0 * LEAST_RATIO <= bucket.rate_per_s <= 10.0


def test_new_numbers_keep_debts_and_what_was_learned() -> None:
    bucket = Bucket(rate_per_s=10.0, burst=10)
    bucket.throttled(NOW_S, NOW_S, NOW_S)
    for _ in range(3):
        bucket.reserve(NOW_S, 10.0)
    bucket.configure(rate_per_s=100.0, burst=1)
    assert bucket.rate_per_s == 50.0
    assert bucket.tokens(NOW_S) == -2.0
