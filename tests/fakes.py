"""A clock that is turned by hand, a provider that follows a script, and calls to send through steps."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from math import inf
from typing import Any, Final

from sidecar.call import Call, Failure, Handler, Mode, Outcome, Reply
from sidecar.clock import TICK_S, Alarm
from sidecar.errors import Reason, Verdict
from sidecar.http1.message import Body, Headers, ReplayBody

Fields = dict[str, str] | Iterable[tuple[bytes, bytes]]


class FakeClock:
    """`sidecar.clock.Clock`, standing still until `advance`.

    `sleep` is recorded in `slept`; it returns at once and moves the clock, or, with `park=True`, waits for `advance`.
    """

    def __init__(self, now_s: float = 1000.0, wall_s: float = 1_800_000_000.0, *, park: bool = False) -> None:
        self.slept: list[float] = []
        self.park = park
        self._now_s = now_s
        self._wall_s = wall_s
        self._alarms: list[tuple[float, Alarm]] = []

    def now(self) -> float:
        return self._now_s

    def wall(self) -> float:
        return self._wall_s

    def at(self, when_s: float, ring: Callable[[], None]) -> Alarm:
        alarm = Alarm(int(when_s / TICK_S) + 1, ring)
        self._alarms.append((when_s, alarm))
        return alarm

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if not self.park:
            self.advance(seconds)
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        alarm = self.at(self._now_s + seconds, lambda: None if woken.done() else woken.set_result(None))
        try:
            await woken
        finally:
            alarm.cancel()

    def advance(self, seconds: float) -> None:
        """Move both scales and ring what falls due, in order, each at its own time."""
        target_s = self._now_s + seconds
        while due := sorted((when, index) for index, (when, _) in enumerate(self._alarms) if when <= target_s):
            when_s, index = due[0]
            _, alarm = self._alarms.pop(index)
            self._move(max(when_s, self._now_s))
            if alarm.ring is not None:
                alarm.ring()
        self._move(target_s)

    def _move(self, to_s: float) -> None:
        self._wall_s += to_s - self._now_s
        self._now_s = to_s

    @property
    def pending(self) -> int:
        """Alarms set and neither rung nor cancelled."""
        return sum(alarm.ring is not None for _, alarm in self._alarms)


HANG: Final = object()
"""An outcome that does not come until `FakeProvider.release`, or ever."""


class FakeProvider:
    """A handler that plays a script: outcomes, statuses, exceptions to raise, functions of the call, or `HANG`.

    The last entry repeats; an empty script answers 200. `calls` keeps the calls, `at_s` when each attempt came.
    """

    def __init__(self, *script: Any, clock: FakeClock | None = None) -> None:
        self.calls: list[Call] = []
        self.at_s: list[float] = []
        self.hanging: deque[asyncio.Future[Outcome]] = deque()
        self.cancelled = 0
        self._script = deque(script or (200,))
        self._clock = clock

    @property
    def attempts(self) -> int:
        return len(self.calls)

    async def __call__(self, call: Call) -> Outcome:
        self.calls.append(call)
        if self._clock is not None:
            self.at_s.append(self._clock.now())
        entry = self._script.popleft() if len(self._script) > 1 else self._script[0]
        if entry is HANG:
            return await self._hang()
        if isinstance(entry, BaseException):
            raise entry
        if isinstance(entry, int):
            return make_reply(entry)
        return entry(call) if callable(entry) else entry

    def release(self, outcome: Outcome | int = 200) -> None:
        """Let the call that hangs longest have its outcome."""
        self.hanging.popleft().set_result(make_reply(outcome) if isinstance(outcome, int) else outcome)

    async def _hang(self) -> Outcome:
        held: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.hanging.append(held)
        try:
            return await held
        except asyncio.CancelledError:
            if held in self.hanging:
                self.hanging.remove(held)
            self.cancelled += 1
            raise


def as_attempts(handle: Handler, clock: FakeClock) -> Handler:
    """`handle` as the retry step calls it: with each call told what time it is."""

    def attempt(call: Call) -> Awaitable[Outcome]:
        call.now_s = clock.now()
        return handle(call)

    return attempt


def make_headers(fields: Fields = ()) -> Headers:
    """From pairs of bytes, or a mapping of text."""
    if isinstance(fields, dict):
        return Headers((name.encode(), value.encode()) for name, value in fields.items())
    return Headers(fields)


def make_call(
    method: str = "GET",
    target: str = "/v1/charges",
    headers: Fields = (),
    body: bytes | Body | None = None,
    *,
    provider: str = "stripe",
    route: str = "-",
    started_s: float = 1000.0,
    deadline_s: float = inf,
    keep_bytes: int = 64 * 1024,
) -> Call:
    source = Body.of(body) if isinstance(body, bytes) else body
    return Call(
        id="00f067aa0ba902b7",
        mode=Mode.REVERSE,
        method=method,
        target=target.encode(),
        headers=make_headers(headers),
        body=ReplayBody(source, keep_bytes),
        provider=provider,
        route=route,
        started_s=started_s,
        deadline_s=deadline_s,
    )


def make_reply(
    status: int = 200,
    headers: Fields = (),
    body: bytes | Body = b"",
    *,
    verdict: Verdict = Verdict.OK,
    wait_s: float | None = None,
) -> Reply:
    whole = Body.of(body) if isinstance(body, bytes) else body
    return Reply(status, b"", make_headers(headers), whole, verdict, wait_s)


def make_failure(
    verdict: Verdict = Verdict.UNREACHABLE,
    reason: Reason = Reason.CONNECT_FAILED,
    *,
    wait_s: float | None = None,
) -> Failure:
    return Failure(reason, "The provider cannot be reached.", verdict, wait_s)


async def turn_loop(times: int = 10) -> None:
    """Let everything that is ready run, without waiting for any time to pass."""
    for _ in range(times):
        await asyncio.sleep(0)
