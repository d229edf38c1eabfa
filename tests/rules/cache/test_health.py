from hypothesis import given
from hypothesis import strategies as st

from sidecar.rules.cache.health import WAIT_S, Health


def test_one_failure_is_not_yet_a_sickness_of_the_route() -> None:
    health = Health(2)
    health.failed("status-500", 100.0, None, False)
    assert not health.sick
    health.failed("connect-failed", 101.0, None, False)
    assert (health.sick, health.reason) == (True, "connect-failed")


def test_the_breakers_refusal_is_enough() -> None:
    health = Health(2)
    health.failed("breaker-open", 100.0, 5.0, True)
    assert health.sick


def test_a_success_makes_well() -> None:
    health = Health(1)
    health.failed("status-500", 100.0, None, False)
    health.succeeded()
    assert not health.sick
    assert health.may_refresh(100.0)


def test_well_it_may_always_be_refreshed_sick_only_one_at_a_time() -> None:
    health = Health(1)
    health.began()
    assert health.may_refresh(0.0)
    health.failed("status-500", 100.0, None, False)
    assert not health.may_refresh(200.0)
    health.ended()
    assert health.may_refresh(200.0)


def test_whoever_said_how_long_to_stay_away_is_believed() -> None:
    health = Health(1)
    health.failed("status-429", 100.0, 77.0, False)
    assert not health.may_refresh(176.9)
    assert health.may_refresh(177.0)


@given(st.integers(1, 200))
def test_without_that_the_wait_is_always_the_same(failures: int) -> None:
    health, now_s = Health(1), 100.0
    for _ in range(failures):
        health.failed("status-500", now_s, None, False)
        assert not health.may_refresh(now_s + WAIT_S - 1e-3)
        now_s += WAIT_S
        assert health.may_refresh(now_s)
