"""Keeps an application within so many calls a second and so many at once: waits a little, or refuses at once."""

from __future__ import annotations

import asyncio
from typing import Final

from sidecar.call import Call, Failure, Handler, Outcome, Reply
from sidecar.clock import Clock
from sidecar.errors import Reason, Verdict
from sidecar.rules.concurrency import Concurrency
from sidecar.rules.limiter import Limiter

ASKED_TO_SLOW_DOWN: Final = frozenset({Verdict.THROTTLED, Verdict.EXHAUSTED})
TRY_SLOT_AGAIN_S: Final = 1.0
"""What a call is told that found no slot: nobody knows when calls end."""


class Limit:
    """Takes a token and then a slot, in the order of arrival; the slot is held until the reply's body is done."""

    name = "limit"

    def __init__(self, limiter: Limiter, clock: Clock, *, dry_run: bool = False) -> None:
        self._limiter = limiter
        self._clock = clock
        self._dry_run = dry_run

    def bind(self, inner: Handler) -> Handler:
        limiter, now = self._limiter, self._clock.now
        slots, max_wait_s, learn = limiter.slots, limiter.settings.max_wait_s, limiter.settings.learn
        queue = self._queue_dry if self._dry_run else self._queue

        def leave(_complete: bool) -> None:
            if slots is not None:
                slots.exit()

        async def limit(call: Call) -> Outcome:
            now_s = call.now_s
            most_s = max(0.0, min(max_wait_s, call.deadline_s - now_s))
            wait_s = limiter.reserve(now_s, most_s)
            if wait_s > 0.0 or (slots is not None and not slots.try_enter()):
                refused = await queue(call, wait_s, most_s, now_s)
                if refused is not None:
                    return refused
                now_s = call.now_s = now()
            try:
                outcome = await inner(call)
            except BaseException:
                leave(False)
                raise
            if slots is not None:
                if isinstance(outcome, Reply):
                    outcome.body.when_done(leave)
                else:
                    slots.exit()
            if learn and outcome.verdict in ASKED_TO_SLOW_DOWN:
                limiter.throttled(now(), now_s, outcome.wait_s)
            return outcome

        return limit

    async def _queue(self, call: Call, wait_s: float, most_s: float, now_s: float) -> Failure | None:
        """Wait for the token reserved, then for a slot; None when the call may go, and then the slot is its own."""
        limiter, slots = self._limiter, self._limiter.slots
        if wait_s > most_s:
            return self._refuse(call, Reason.RATE_LIMITED, wait_s, now_s)
        try:
            if wait_s > 0.0:
                await self._clock.sleep(wait_s)
            entered = slots is None or slots.try_enter() or await self._wait_slot(slots, now_s + most_s)
        except BaseException:
            limiter.refund()
            raise
        waited_s = self._clock.now() - now_s
        call.waited_s += waited_s
        if not entered:
            limiter.refund()
            return self._refuse(call, Reason.CONCURRENCY_LIMITED, TRY_SLOT_AGAIN_S, now_s + waited_s)
        call.note("limit", f"waited {waited_s:.3g} s", now_s + waited_s)
        return None

    async def _wait_slot(self, slots: Concurrency, until_s: float) -> bool:
        if until_s <= self._clock.now():
            return False
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not woken.done():
                woken.set_result(None)

        place = slots.join(wake)
        alarm = self._clock.at(until_s, wake)
        try:
            await woken
        except asyncio.CancelledError:
            slots.leave(place)
            raise
        finally:
            alarm.cancel()
        if not place.granted:
            slots.leave(place)
        return place.granted

    def _refuse(self, call: Call, reason: Reason, wait_s: float, now_s: float) -> Failure:
        self._limiter.refused += 1
        call.attempt -= 1  # It was not begun.
        call.note("limit", f"refused: {_SHORT[reason]}", now_s)
        detail = f"The policy's limit for {call.provider} is used up: {_SHORT[reason]}. Try again in {wait_s:.1f} s."
        return Failure(reason, detail, Verdict.LOCAL, wait_s)

    async def _queue_dry(self, call: Call, wait_s: float, most_s: float, now_s: float) -> None:
        slots = self._limiter.slots
        if wait_s > most_s:
            self._limiter.refused += 1
            call.note("limit", f"would refuse: {_SHORT[Reason.RATE_LIMITED]}", now_s)
        elif wait_s > 0.0:
            call.note("limit", f"would wait {wait_s:.3g} s", now_s)
        if slots is not None and not slots.try_enter():
            call.note("limit", f"would wait for a slot: {slots.in_use} calls are under way", now_s)
            slots.overfill()


_SHORT: Final = {
    Reason.RATE_LIMITED: "too many calls a second",
    Reason.CONCURRENCY_LIMITED: "too many calls at once",
}
