"""From a policy's words to the settings that rules and steps take. Off is None.

What may live here: one function a step, model in, settings out. No state and no steps.
"""

from __future__ import annotations

from math import ceil
from typing import Final

from sidecar.policy import model
from sidecar.policy.fields import Present
from sidecar.policy.model import Settings
from sidecar.rules.backoff import BackoffSettings, Jitter
from sidecar.rules.breaker import BreakerSettings
from sidecar.rules.budget import BudgetSettings
from sidecar.rules.classify import BodyTest, HeaderTest, Rule, glob, pointer_tokens
from sidecar.rules.hint import HintField, HintSettings, HintUnit
from sidecar.rules.limiter import LimitSettings
from sidecar.rules.safe import Repeat
from sidecar.steps.deadline import DeadlineSettings
from sidecar.steps.retry import RetrySettings

LEASE_MARGIN_S: Final = 1.0
"""A trial's lease outlasts what its attempt may take, so that only lost trials run into its end."""
LEASE_WITHOUT_TIMEOUT_S: Final = 60.0
_ONCE: Final = RetrySettings(attempts=1)


def deadline(settings: Settings) -> DeadlineSettings | None:
    return None if settings.timeouts is None else DeadlineSettings(settings.timeouts.total)


def retry(settings: Settings) -> RetrySettings:
    """A single attempt when it is off."""
    said = settings.retry
    if said is None or said.attempts == 1:
        return _ONCE
    backoff = BackoffSettings(said.backoff.base, said.backoff.cap, Jitter(said.backoff.jitter))
    methods = Repeat(said.methods) if isinstance(said.methods, str) else frozenset(said.methods)
    return RetrySettings(said.attempts, backoff, methods)


def budget(settings: Settings) -> BudgetSettings | None:
    said = settings.retry
    if said is None or said.attempts == 1 or said.budget is None:
        return None
    return BudgetSettings(said.budget.ratio, said.budget.floor)


def breaker(settings: Settings) -> BreakerSettings | None:
    said = settings.breaker
    if said is None:
        return None
    ratio = said.failure_ratio
    shown = ratio or model.FailureRatio()  # without that rule the window is still counted, for admin to show
    return BreakerSettings(
        consecutive=said.consecutive,
        failure_ratio=None if ratio is None else ratio.over,
        window_s=shown.window,
        min_calls=shown.min_calls,
        open_base_s=said.open.base,
        open_cap_s=said.open.cap,
        trials=said.trials,
        lease_s=_lease_s(settings),
    )


def limit(settings: Settings) -> LimitSettings | None:
    said = settings.limit
    if said is None or (said.rate is None and said.concurrency is None):
        return None
    burst = said.burst or (1 if said.rate is None else max(1, ceil(said.rate)))
    return LimitSettings(said.rate, burst, said.concurrency, said.max_wait, said.learn)


def hint(settings: Settings) -> HintSettings | None:
    """Without retry there is still a breaker to be prolonged, so the usual field is believed."""
    if settings.retry is None:
        return HintSettings()
    said = settings.retry.hint
    if said is None:
        return None
    fields = tuple(HintField(one.header.lower().encode(), HintUnit(one.unit.value)) for one in said.headers)
    return HintSettings(fields, said.cap)


def rules(settings: Settings) -> tuple[Rule, ...]:
    return tuple(_rule(said) for said in settings.classify or ())


def _rule(said: model.ClassifyRule) -> Rule:
    when = said.when
    headers = tuple(
        HeaderTest(name.lower().encode(), None, test.present)
        if isinstance(test, Present)
        else HeaderTest(name.lower().encode(), glob(test))
        for name, test in when.header.items()
    )
    body = tuple(BodyTest(pointer_tokens(pointer), values) for pointer, values in when.body.items())
    return Rule(said.verdict, when.status, headers, body, said.wait)


def _lease_s(settings: Settings) -> float:
    attempt_s = LEASE_WITHOUT_TIMEOUT_S if settings.timeouts is None else settings.timeouts.attempt
    queue_s = 0.0 if settings.limit is None else settings.limit.max_wait
    return attempt_s + queue_s + LEASE_MARGIN_S
