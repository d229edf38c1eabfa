"""When to stop calling a provider that fails, and how to find out that it is well again.

pybreaker's `CircuitBreaker` holds the state, makes the transitions and tells listeners. Everything that depends on
time or counts is decided here, because pybreaker 1.4 knows neither windows nor concurrent trials, reads the wall clock,
and takes a cancelled call for a failure: its `call` paths are never used. Closed means healthy.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import Any, Final

from sidecar.errors import Verdict
from sidecar.lean import import_without
from sidecar.rules.backoff import doubled_s
from sidecar.rules.window import Window

import_without("pybreaker", "redis")

from pybreaker import CircuitBreaker as CircuitBreaker  # noqa: E402, PLC0414
from pybreaker import CircuitBreakerListener as CircuitBreakerListener  # noqa: E402, PLC0414

HISTORY: Final = 20
"""Transitions remembered."""
JITTER_RATIO: Final = 0.2
"""An open time is cut short by up to this share, so that a fleet does not probe in step."""

OK: Final = Verdict.OK
TRIPS: Final = frozenset({Verdict.TRANSIENT, Verdict.UNREACHABLE})
"""The only verdicts that speak against the provider."""
_UNCOUNTED: Final = frozenset({None, Verdict.LOCAL})
"""Nobody asked the provider, or nobody waited for its answer."""
_HOLDS: Final = frozenset({Verdict.THROTTLED, Verdict.EXHAUSTED})


class CircuitState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"
    FORCED_OPEN = "forced-open"
    FORCED_CLOSED = "forced-closed"


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    consecutive: int | None = 7
    """Failures in a row that trip; None to leave this rule out."""
    failure_ratio: float | None = 0.5
    """The share of failures in the window above which it trips; None to leave this rule out."""
    window_s: float = 10.0
    min_calls: int = 20
    """Calls in the window before the ratio counts."""
    open_base_s: float = 1.0
    open_cap_s: float = 60.0
    trials: int = 1
    """Calls let through at once when half-open, and successes that close it."""
    lease_s: float = 15.0
    """How long a trial holds its place if nothing is heard of it. Longer than an attempt may take."""


class Permit:
    """Leave to make one call, to be settled when it is over. Calls of one closed period share theirs."""

    __slots__ = ("lease_until_s", "period")

    def __init__(self, period: int, lease_until_s: float = inf) -> None:
        self.period = period
        self.lease_until_s = lease_until_s

    @property
    def is_trial(self) -> bool:
        return self.lease_until_s < inf


class Refusal:
    """No leave. `wait_s` says when to ask again, seconds; None when only a person will tell."""

    __slots__ = ("wait_s",)

    def __init__(self, wait_s: float | None) -> None:
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of state, for people."""

    at_wall_s: float
    before: str
    after: str
    cause: str


@dataclass(frozen=True, slots=True)
class CircuitMemory:
    """What a circuit that is not plainly closed takes along into another process."""

    last: Transition
    """How it came to be what it is."""
    until_s: float
    """The end of its open or forced state, on the monotonic scale; infinite for none."""
    failed_trials: int


class _Follower(CircuitBreakerListener):
    """Carries pybreaker's transitions to the cached state that the hot path reads."""

    def __init__(self, circuit: Circuit) -> None:
        self._circuit = circuit

    def state_change(self, cb: CircuitBreaker, old_state: Any, new_state: Any) -> None:
        self._circuit._moved()


_MOVES: Final[dict[CircuitState, Callable[[CircuitBreaker], object]]] = {
    CircuitState.CLOSED: CircuitBreaker.close,
    CircuitState.OPEN: CircuitBreaker.open,
    CircuitState.HALF_OPEN: CircuitBreaker.half_open,
    CircuitState.FORCED_OPEN: CircuitBreaker.open,
    CircuitState.FORCED_CLOSED: CircuitBreaker.close,
}


class Circuit:
    """One breaker: ask `admit`, make the call, tell `settle`.

    The time spent in one state is a period. A result counts only in the period that admitted its call, so a slow
    failure from before cannot spoil a recovery, nor a slow success fake one.
    """

    def __init__(
        self,
        settings: BreakerSettings,
        *,
        draw: Callable[[], float],
        wall: Callable[[], float],
        name: str = "",
        listeners: Sequence[CircuitBreakerListener] = (),
        memory: CircuitMemory | None = None,
        changed: Callable[[Circuit], None] | None = None,
    ) -> None:
        """`memory` is what it was in an earlier process; `changed` is called whenever `memory` has become another."""
        self.settings = settings
        self.state = CircuitState.CLOSED
        self.history: deque[Transition] = deque(maxlen=HISTORY)
        self.refused = 0
        """Calls refused, or in a dry run found wanting, since the start."""
        self._draw = draw
        self._wall = wall  # for the history only: it decides nothing
        self._since_wall_s = wall()
        self._next = (CircuitState.CLOSED, "")
        self._period = 0
        self._pass = Permit(0)
        self._consecutive = 0
        self._window = Window(settings.window_s)
        self._until_s = inf  # the end of an open or forced state
        self._failed_trials = 0
        self._succeeded_trials = 0
        self._leases: list[Permit] = []
        self._changed: Callable[[Circuit], None] | None = None
        self._pybreaker = CircuitBreaker(name=name, listeners=[_Follower(self)])
        if memory is not None:
            self._recall(memory)
        # Only now: what has been is no news.
        self._pybreaker.add_listeners(*listeners)
        self._changed = changed

    def configure(self, settings: BreakerSettings) -> None:
        """Take new numbers, and keep the state and, if the window is as long as before, the counts."""
        if settings.window_s != self.settings.window_s:
            self._window = Window(settings.window_s)
        self.settings = settings

    def admit(self, now_s: float) -> Permit | Refusal:
        if self.state is CircuitState.CLOSED:
            return self._pass
        return self._admit_guarded(now_s)

    def settle(self, permit: Permit, verdict: Verdict | None, now_s: float, wait_s: float | None = None) -> None:
        """Tell how an admitted call went. None, for one that was cancelled, counts as nothing and frees a trial.

        `wait_s` is the provider's own hint how long to stay away. A second word on the same permit (its reply was
        good, then its body broke) is one more result.
        """
        if permit.period != self._period:
            if self.state is CircuitState.OPEN and wait_s is not None and verdict not in _UNCOUNTED:
                self._until_s = max(self._until_s, now_s + wait_s)
                self._tell()
        elif self.state is CircuitState.CLOSED:
            if verdict is OK:
                self._consecutive = 0
                self._window.count(now_s)
            elif verdict not in _UNCOUNTED:
                self._settle_closed(verdict, now_s, wait_s)
        elif self.state is CircuitState.HALF_OPEN:
            self._settle_trial(permit, verdict, now_s, wait_s)

    def force(self, state: CircuitState | None, until_s: float | None = None) -> None:
        """Hold it `FORCED_OPEN` or `FORCED_CLOSED` until `until_s`, or None for ever; None as state lets it go."""
        if state is None:
            self._unforce("let go by hand")
        else:
            self._until_s = inf if until_s is None else until_s
            self._move(state, "forced by hand")

    @property
    def memory(self) -> CircuitMemory | None:
        """What another process needs, to go on where this one is; None while it is closed, whatever it has counted."""
        if self.state is CircuitState.CLOSED:
            return None
        return CircuitMemory(self.history[-1], self._until_s, self._failed_trials)

    def snapshot(self, now_s: float) -> dict[str, object]:
        """What admin shows; moves nothing."""
        self._window.turn(now_s)
        left_s = None if self.state in _UNTIMED else self._until_s - now_s
        return {
            "state": str(self.state),
            "since": self._since_wall_s,
            "left_s": None if left_s is None or left_s == inf else round(max(0.0, left_s), 3),
            "consecutive_failures": self._consecutive,
            "window_s": self._window.span_s,
            "calls": self._window.plain + self._window.marked,
            "failures": self._window.marked,
            "failed_trials": self._failed_trials,
            "trials_under_way": sum(lease.lease_until_s > now_s for lease in self._leases),
            "refused": self.refused,
            "history": [
                {"at": move.at_wall_s, "from": move.before, "to": move.after, "cause": move.cause}
                for move in self.history
            ],
        }

    def _admit_guarded(self, now_s: float) -> Permit | Refusal:
        match self.state:
            case CircuitState.OPEN if now_s >= self._until_s:
                self._move(CircuitState.HALF_OPEN, "the open time is over")
                return self._admit_trial(now_s)
            case CircuitState.HALF_OPEN:
                return self._admit_trial(now_s)
            case CircuitState.FORCED_OPEN | CircuitState.FORCED_CLOSED if now_s >= self._until_s:
                self._unforce("the forced time is over")
                return self.admit(now_s)
            case CircuitState.FORCED_CLOSED:
                return self._pass
            case _:
                return self._refuse(self._until_s - now_s)

    def _admit_trial(self, now_s: float) -> Permit | Refusal:
        leases = self._leases = [lease for lease in self._leases if lease.lease_until_s > now_s]
        if len(leases) < self.settings.trials:
            permit = Permit(self._period, now_s + self.settings.lease_s)
            leases.append(permit)
            return permit
        # A trial is usually over long before its lease.
        soonest_s = min(lease.lease_until_s for lease in leases) - now_s
        return self._refuse(min(self.settings.open_base_s, soonest_s))

    def _refuse(self, wait_s: float) -> Refusal:
        self.refused += 1
        return Refusal(None if wait_s == inf else wait_s)

    def _settle_closed(self, verdict: Verdict | None, now_s: float, wait_s: float | None) -> None:
        if verdict not in TRIPS:
            self._consecutive = 0
            self._window.count(now_s)
            return
        self._consecutive += 1
        self._window.mark(now_s)
        cause = self._trip_cause()
        if cause is not None:
            self._open(now_s, wait_s, cause)

    def _trip_cause(self) -> str | None:
        settings, window = self.settings, self._window
        if settings.consecutive is not None and self._consecutive >= settings.consecutive:
            return f"{self._consecutive} failures in a row"
        calls = window.plain + window.marked
        if settings.failure_ratio is None or calls < settings.min_calls:
            return None
        if window.marked <= settings.failure_ratio * calls:
            return None
        return f"{window.marked} of {calls} calls failed within {settings.window_s:g} s"

    def _settle_trial(self, permit: Permit, verdict: Verdict | None, now_s: float, wait_s: float | None) -> None:
        if permit in self._leases:
            self._leases.remove(permit)
        if verdict in _UNCOUNTED:
            return
        if verdict in TRIPS:
            self._failed_trials += 1
            self._open(now_s, wait_s, "a trial failed")
        elif verdict in _HOLDS and wait_s is not None:
            # It is well but wants quiet: no failure, so the open time does not grow, but no reason to close either.
            self._until_s = now_s + max(wait_s, self.settings.open_base_s)
            self._move(CircuitState.OPEN, "the provider asked to be left alone")
        else:
            self._succeeded_trials += 1
            if self._succeeded_trials >= self.settings.trials:
                self._move(CircuitState.CLOSED, "trial succeeded")
                # Its body may still break, which then counts in the period that it began.
                permit.period = self._period

    def _open(self, now_s: float, wait_s: float | None, cause: str) -> None:
        settings = self.settings
        open_s = doubled_s(settings.open_base_s, self._failed_trials, settings.open_cap_s)
        open_s *= 1 - JITTER_RATIO * self._draw()
        self._until_s = now_s + max(open_s, wait_s or 0.0)
        self._move(CircuitState.OPEN, cause)

    def _unforce(self, cause: str) -> None:
        if self.state is CircuitState.FORCED_OPEN:
            self._move(CircuitState.HALF_OPEN, cause)
        elif self.state is CircuitState.FORCED_CLOSED:
            self._move(CircuitState.CLOSED, cause)

    def _move(self, state: CircuitState, cause: str) -> None:
        self._next = (state, cause)
        _MOVES[state](self._pybreaker)

    def _moved(self) -> None:
        """pybreaker has changed state: a new period begins, and nothing of the last one counts in it."""
        before, (self.state, cause) = self.state, self._next
        self._since_wall_s = self._wall()
        self.history.append(Transition(self._since_wall_s, before, self.state, cause))
        self._period += 1
        self._pass = Permit(self._period)
        self._leases = []
        self._succeeded_trials = 0
        if self.state is CircuitState.CLOSED:
            self._consecutive = self._failed_trials = 0
            self._window.clear()
        self._tell()

    def _recall(self, memory: CircuitMemory) -> None:
        """Trials that were under way are nobody's any more, and begin anew."""
        last = memory.last
        self._move(CircuitState(last.after), last.cause)
        self.history[-1] = last
        self._since_wall_s = last.at_wall_s
        self._until_s = memory.until_s
        self._failed_trials = memory.failed_trials

    def _tell(self) -> None:
        if self._changed is not None:
            self._changed(self)


_UNTIMED: Final = frozenset({CircuitState.CLOSED, CircuitState.HALF_OPEN})
