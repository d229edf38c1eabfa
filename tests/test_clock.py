"""The wheel: never early, in time, and forgetful of what is cancelled; and one alarm for many deadlines."""

from __future__ import annotations

import asyncio

from sidecar.clock import FAR_S, FAR_TICKS, TICK_S, LoopClock, Watchdog
from tests.fakes import FakeClock


async def test_an_alarm_rings_once_and_never_early() -> None:
    clock = LoopClock()
    due_s = clock.now() + 0.03
    rung: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    clock.at(due_s, lambda: rung.set_result(clock.now()))
    assert await asyncio.wait_for(rung, 5) >= due_s


async def test_alarms_of_one_tick_share_a_timer_and_one_may_cancel_another() -> None:
    clock = LoopClock()
    rung: list[str] = []
    done = asyncio.Event()
    when_s = clock.now() + TICK_S
    second = clock.at(when_s, lambda: rung.append("second"))
    second.cancel()
    second.cancel()
    clock.at(when_s, lambda: rung.append("first"))
    clock.at(when_s + 2 * TICK_S, done.set)
    await asyncio.wait_for(done.wait(), 5)
    assert rung == ["first"]


async def test_a_cancelled_alarm_is_forgotten_at_once() -> None:
    """Whoever sets one for each call would have millions, if they were kept until then."""
    clock = LoopClock()
    for _ in range(1000):
        clock.at(clock.now() + 60.0, lambda: None).cancel()
    assert sum(map(len, clock._wheel.values())) == 0
    assert len(clock._wheel) < 100


async def test_far_alarms_share_coarse_ticks_and_are_not_early() -> None:
    clock = LoopClock()
    when_s = clock.now() + 2 * FAR_S
    alarm = clock.at(when_s, lambda: None)
    assert alarm.tick % FAR_TICKS == 0
    assert when_s <= alarm.tick * TICK_S <= when_s + (FAR_TICKS + 1) * TICK_S
    alarm.cancel()


class Watch:
    """A watchdog, and when deadlines have passed."""

    def __init__(self, clock: FakeClock) -> None:
        self.passed: list[float] = []
        self.dog = Watchdog(clock)
        self._clock = clock

    def begin(self, deadline_s: float) -> None:
        self.dog.watch(deadline_s, lambda: self.passed.append(self._clock.now()))


def test_a_deadline_that_is_not_lifted_passes_once() -> None:
    clock = FakeClock()
    watch = Watch(clock)
    watch.begin(1003.0)
    clock.advance(2.9)
    assert watch.passed == []
    clock.advance(9.0)
    assert (watch.passed, clock.pending) == ([1003.0], 0)


def test_deadlines_that_are_lifted_share_an_alarm() -> None:
    clock = FakeClock()
    watch = Watch(clock)
    for _ in range(100):
        watch.begin(clock.now() + 10.0)
        assert clock.pending == 1
        watch.dog.lift()
        clock.advance(0.01)
    clock.advance(60.0)
    assert (watch.passed, clock.pending) == ([], 0)


def test_a_later_deadline_passes_in_its_own_time() -> None:
    clock = FakeClock()
    watch = Watch(clock)
    watch.begin(1003.0)
    watch.dog.lift()
    clock.advance(1.0)
    watch.begin(1007.5)
    clock.advance(60.0)
    assert watch.passed == [1007.5]


def test_a_sooner_deadline_is_not_made_to_wait() -> None:
    clock = FakeClock()
    watch = Watch(clock)
    watch.begin(1060.0)
    watch.dog.lift()
    watch.begin(1000.5)
    assert clock.pending == 1
    clock.advance(1.0)
    assert (watch.passed, clock.pending) == ([1000.5], 0)
    watch.begin(1004.0)
    clock.advance(60.0)
    assert watch.passed == [1000.5, 1004.0]


def test_nothing_is_left_of_one_that_was_stopped() -> None:
    clock = FakeClock()
    watch = Watch(clock)
    watch.begin(1003.0)
    watch.dog.stop()
    watch.dog.stop()
    assert clock.pending == 0
    clock.advance(60.0)
    assert watch.passed == []
