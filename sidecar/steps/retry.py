"""Another attempt, when the last one failed in a way that may pass, it is safe, and there is time and budget for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from sidecar.call import Call, Handler, Outcome, Reply
from sidecar.clock import Clock
from sidecar.errors import Verdict
from sidecar.rules.backoff import BackoffSettings, backoff_s
from sidecar.rules.budget import Budget
from sidecar.rules.safe import Repeat, is_sdk_retry, may_repeat

REPEATABLE: Final = frozenset({Verdict.TRANSIENT, Verdict.THROTTLED, Verdict.UNREACHABLE})


@dataclass(frozen=True, slots=True)
class RetrySettings:
    attempts: int = 3
    """The first included."""
    backoff: BackoffSettings = field(default_factory=BackoffSettings)
    methods: Repeat | frozenset[str] = Repeat.SAFE
    """What may be repeated once it may have reached the provider."""


class Retry:
    """Counts the call's attempts and makes more of them. `budget` is the provider's; None for no bound."""

    name = "retry"

    def __init__(
        self,
        settings: RetrySettings,
        budget: Budget | None,
        clock: Clock,
        draw: Callable[[], float],
        *,
        dry_run: bool = False,
    ) -> None:
        self._settings = settings
        self._budget = budget
        self._clock = clock
        self._draw = draw
        self._dry_run = dry_run

    def bind(self, inner: Handler) -> Handler:
        if self._settings.attempts == 1:
            return _once(inner, self._clock)
        budget, now = self._budget, self._clock.now
        again = self._bind_again(inner)

        async def retry(call: Call) -> Outcome:
            now_s = call.now_s = now()
            if budget is not None:
                if is_sdk_retry(call.headers):
                    budget.charge(now_s)
                else:
                    budget.deposit(now_s)
            call.attempt = 1
            outcome = await inner(call)
            return await again(call, outcome) if outcome.verdict in REPEATABLE else outcome

        return retry

    def _bind_again(self, inner: Handler) -> Callable[[Call, Outcome], Awaitable[Outcome]]:
        sleep, now, dry_run = self._clock.sleep, self._clock.now, self._dry_run
        next_delay_s = self._next_delay_s

        async def again(call: Call, outcome: Outcome) -> Outcome:
            while outcome.verdict in REPEATABLE:
                delay_s = next_delay_s(call, outcome)
                if delay_s is None:
                    break
                if dry_run:
                    call.note("retry", f"would try again in {delay_s:.3g} s: {outcome.verdict}", now())
                    break
                call.note("retry", f"attempt {call.attempt} {outcome.verdict}, next in {delay_s:.3g} s", now())
                if isinstance(outcome, Reply):
                    outcome.body.discard()
                await sleep(delay_s)
                call.now_s = now()
                call.waited_s += delay_s
                call.attempt += 1
                call.attempt_fields = []
                outcome = await inner(call)
            return outcome

        return again

    def _next_delay_s(self, call: Call, outcome: Outcome) -> float | None:
        """How long to wait before the next attempt; None if there must be none. Draws on the budget."""
        settings, budget, now_s = self._settings, self._budget, self._clock.now()
        unsafe = self._unsafe(call, outcome.verdict)
        if unsafe is not None:
            call.note("retry", unsafe, now_s)
            return None
        delay_s = backoff_s(settings.backoff, call.attempt, self._draw(), outcome.wait_s)
        if call.attempt >= settings.attempts:
            spent = f"{call.attempt} attempts were made"
        elif call.standby:
            spent = "a kept reply can stand in"
        elif now_s + delay_s >= call.deadline_s:
            spent = f"waiting {delay_s:.3g} s would pass the deadline"
        elif budget is not None and not budget.withdraw(now_s):
            spent = "the provider's retry budget is spent"
        else:
            return delay_s
        call.final = not self._dry_run
        call.note("retry", f"{'would give up' if self._dry_run else 'gives up'}: {spent}", now_s)
        return None

    def _unsafe(self, call: Call, verdict: Verdict) -> str | None:
        if not call.body.replayable:
            return "not repeated: the body is too large to be kept"
        if verdict is Verdict.UNREACHABLE or may_repeat(self._settings.methods, call.method, call.headers):
            return None
        return "not repeated: the provider may have acted on it, and it carries no idempotency key"


def _once(inner: Handler, clock: Clock) -> Handler:
    now = clock.now

    def first_attempt(call: Call) -> Awaitable[Outcome]:
        call.now_s = now()
        call.attempt = 1
        return inner(call)

    return first_attempt
