"""When the application must have its answer. Everything inside looks at `call.deadline_s` and does not pass it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sidecar.call import Call, Handler, Outcome
from sidecar.clock import Clock
from sidecar.rules.deadline import TIMEOUT_FIELDS, requested_s


@dataclass(frozen=True, slots=True)
class DeadlineSettings:
    total_s: float = 30.0
    """For a call with all its attempts and waits. The application may ask for less, never for more."""


class Deadline:
    """Sets the deadline, counted from when the call's head was complete, and takes the timeout fields off the call."""

    name = "deadline"

    def __init__(self, settings: DeadlineSettings, clock: Clock, *, dry_run: bool = False) -> None:
        self._settings = settings
        self._clock = clock
        self._dry_run = dry_run

    def bind(self, inner: Handler) -> Handler:
        total_s, now = self._settings.total_s, self._clock.now

        def deadline(call: Call) -> Awaitable[Outcome]:
            call.deadline_s = min(call.deadline_s, call.started_s + _allowed_s(call, total_s, now))
            return inner(call)

        async def dry_deadline(call: Call) -> Outcome:
            would_end_s = call.started_s + _allowed_s(call, total_s, now)
            outcome = await inner(call)
            now_s = now()
            if now_s > would_end_s:
                call.note("deadline", f"would time out: took {now_s - call.started_s:.3g} s", now_s)
            return outcome

        return dry_deadline if self._dry_run else deadline


def _allowed_s(call: Call, total_s: float, now: Callable[[], float]) -> float:
    headers = call.headers
    if TIMEOUT_FIELDS[0] not in headers and TIMEOUT_FIELDS[1] not in headers:
        return total_s
    asked_s = requested_s(headers)
    for name in TIMEOUT_FIELDS:
        headers.remove(name)
    if asked_s is None or asked_s >= total_s:
        return total_s
    call.note("deadline", f"the application allows {asked_s:g} s", now())
    return asked_s
