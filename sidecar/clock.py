"""Time as a port: what the time is, and waking up later. Tests turn a fake one by hand.

The loop's own timers cost about 3 µs each to set and cancel, and most of those that calls would set never fire.
`LoopClock` keeps a coarse wheel instead: setting and cancelling are dictionary operations, and the loop is asked for
one timer for all that are due within the same tick.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from math import inf
from typing import Final, Protocol, final

TICK_S: Final = 0.01
"""The wheel's resolution, seconds: an alarm rings up to one tick late, never early."""
FAR_S: Final = 5.0
FAR_TICKS: Final = 10
"""Alarms further off than that share coarser ticks, so that long deadlines do not cost a loop timer each."""


@final
class Alarm:
    """A callback due at a tick of the wheel. `cancel` is safe at any time, and twice."""

    __slots__ = ("_due", "ring", "tick")

    def __init__(self, tick: int, ring: Callable[[], None], due: set[Alarm] | None = None) -> None:
        self.tick = tick
        self.ring: Callable[[], None] | None = ring
        self._due = due

    def cancel(self) -> None:
        """Forget it at once: nearly every alarm is cancelled, long before its tick."""
        self.ring = None
        if self._due is not None:
            self._due.discard(self)


class Clock(Protocol):
    """Seconds as floats. `now` is monotonic and of no epoch; `wall` is Unix time."""

    def now(self) -> float: ...
    def wall(self) -> float: ...
    def at(self, when_s: float, ring: Callable[[], None]) -> Alarm:
        """Call `ring` once at `when_s` on the monotonic scale, or a tick later."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class LoopClock:
    """The running loop's time, with one loop timer for each tick that has alarms."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._loop = loop or asyncio.get_running_loop()
        self._wheel: dict[int, set[Alarm]] = {}
        self.now: Callable[[], float] = time.monotonic
        self.wall: Callable[[], float] = time.time

    def at(self, when_s: float, ring: Callable[[], None]) -> Alarm:
        tick = int(when_s / TICK_S) + 1
        now_s = time.monotonic()
        if when_s - now_s > FAR_S:
            tick += -tick % FAR_TICKS
        due = self._wheel.get(tick)
        if due is None:
            due = self._wheel[tick] = set()
            self._loop.call_later(max(0.0, tick * TICK_S - now_s), self._turn, tick)
        alarm = Alarm(tick, ring, due)
        due.add(alarm)
        return alarm

    def _turn(self, tick: int) -> None:
        for alarm in list(self._wheel.pop(tick)):
            if alarm.ring is not None:
                alarm.ring()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@final
class Watchdog:
    """Watches over deadlines, one after the other, by an alarm that is seldom set.

    Most are lifted long before they pass, and the next is seldom sooner than the last was. So the alarm is left as it
    is, and looks when it rings how long there is still to wait.
    """

    __slots__ = ("_alarm", "_clock", "_deadline_s", "_passed")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._passed: Callable[[], None] | None = None
        self._deadline_s = inf
        self._alarm: Alarm | None = None

    def watch(self, deadline_s: float, passed: Callable[[], None]) -> None:
        """Call `passed` at that time, on the monotonic scale, unless it is lifted; in place of any other."""
        self._deadline_s, self._passed = deadline_s, passed
        if self._alarm is not None:
            if self._alarm.tick <= int(deadline_s / TICK_S) + 1:
                return
            self._alarm.cancel()
        self._alarm = self._clock.at(deadline_s, self._ring)

    def lift(self) -> None:
        # Whoever is called back would be held, and often holds this in turn.
        self._passed = None

    def stop(self) -> None:
        """Lift it, and leave nothing with the clock."""
        self._passed = None
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _ring(self) -> None:
        self._alarm = None
        passed = self._passed
        if passed is None:
            return
        if self._clock.now() < self._deadline_s:
            self.watch(self._deadline_s, passed)
        else:
            self._passed = None
            passed()
