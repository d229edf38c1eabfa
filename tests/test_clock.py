"""The wheel: never early, in time, and forgetful of what is cancelled."""

from __future__ import annotations

import asyncio

from sidecar.clock import FAR_S, FAR_TICKS, TICK_S, LoopClock


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
    """Each call sets one for its deadline: kept until then, they would be millions."""
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
