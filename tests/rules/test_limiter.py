import pytest

from sidecar.rules.limiter import Limiter, LimitSettings

NOW_S = 1000.0


def test_without_limits_nothing_waits() -> None:
    limiter = Limiter(LimitSettings())
    assert limiter.reserve(NOW_S, 0.0) == 0.0
    limiter.refund()
    assert limiter.snapshot(NOW_S) == {"refused": 0, "max_wait_s": 0.0, "held_s": 0.0}


def test_holds_everything_until_the_time_named() -> None:
    limiter = Limiter(LimitSettings(concurrency=5, max_wait_s=2.0))
    limiter.throttled(NOW_S, NOW_S, wait_s=5.0)
    limiter.throttled(NOW_S, NOW_S, wait_s=None)
    assert limiter.reserve(NOW_S + 1, 2.0) == 4.0
    assert limiter.reserve(NOW_S + 5, 2.0) == 0.0


def test_a_held_bucket_resumes_one_by_one() -> None:
    limiter = Limiter(LimitSettings(rate_per_s=10.0, burst=5))
    limiter.throttled(NOW_S, NOW_S, wait_s=1.0)
    assert limiter.reserve(NOW_S, 0.5) == 1.0
    waits_s = [limiter.reserve(NOW_S, 9.0) for _ in range(3)]
    assert waits_s == pytest.approx([1.0, 1.2, 1.4])
    limiter.refund()
    assert limiter.reserve(NOW_S, 9.0) == pytest.approx(1.4)


def test_new_numbers_lose_nothing() -> None:
    limiter = Limiter(LimitSettings(rate_per_s=1.0, burst=1, concurrency=1))
    limiter.reserve(NOW_S, 0.0)
    assert limiter.slots is not None
    limiter.slots.try_enter()
    limiter.configure(LimitSettings(rate_per_s=2.0, burst=1, concurrency=2))
    assert limiter.reserve(NOW_S, 0.0) == pytest.approx(0.5)
    assert limiter.slots.in_use == 1
    limiter.configure(limiter.settings)
    shown = limiter.snapshot(NOW_S)
    assert shown["rate"] == {
        "configured_per_s": 2.0,
        "effective_per_s": 2.0,
        "burst": 1,
        "tokens": 0.0,
        "learn": False,
    }
    assert shown["concurrency"] == {"limit": 2, "in_use": 1, "waiting": 0}


def test_a_limit_that_is_dropped_lets_those_in_who_wait_for_it() -> None:
    limiter = Limiter(LimitSettings(rate_per_s=1.0, concurrency=1))
    assert limiter.slots is not None
    limiter.slots.try_enter()
    place = limiter.slots.join(lambda: None)
    limiter.configure(LimitSettings())
    assert place.granted
    assert limiter.reserve(NOW_S, 0.0) == 0.0
    assert "concurrency" not in limiter.snapshot(NOW_S)
    limiter.configure(LimitSettings(rate_per_s=1.0, burst=1, concurrency=1))
    assert limiter.slots.in_use == 2
    assert limiter.reserve(NOW_S, 0.0) == 0.0
    assert limiter.reserve(NOW_S, 0.0) == 1.0


def test_slots_may_come_later() -> None:
    limiter = Limiter(LimitSettings(rate_per_s=1.0))
    limiter.configure(LimitSettings(rate_per_s=1.0, concurrency=3))
    assert limiter.slots is not None
    assert limiter.slots.limit == 3
