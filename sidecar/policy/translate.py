"""From a policy's words to the settings that rules and steps take. Off is None.

What may live here: one function a step, model in, settings out. No state and no steps.
"""

from __future__ import annotations

from http import HTTPStatus
from math import ceil
from pathlib import PurePath
from typing import Final

from sidecar.errors import Reason, Verdict
from sidecar.policy import degrade, model
from sidecar.policy.bodies import Lifetime
from sidecar.policy.fields import Present
from sidecar.policy.model import ProviderPolicy, Route, Settings
from sidecar.rules.backoff import BackoffSettings, Jitter
from sidecar.rules.breaker import BreakerSettings
from sidecar.rules.budget import BudgetSettings
from sidecar.rules.cache.settings import CacheSettings, Rules
from sidecar.rules.classify import BodyTest, HeaderTest, Rule, glob, pointer_tokens
from sidecar.rules.fallback import READS, Condition, Rung
from sidecar.rules.hint import HintField, HintSettings, HintUnit
from sidecar.rules.limiter import LimitSettings
from sidecar.rules.placeholder import Template, for_field, for_text, json_template
from sidecar.rules.safe import Repeat
from sidecar.steps.deadline import DeadlineSettings
from sidecar.steps.retry import RetrySettings

LEASE_MARGIN_S: Final = 1.0
"""A trial's lease outlasts what its attempt may take, so that only lost trials run into its end."""
LEASE_WITHOUT_TIMEOUT_S: Final = 60.0
_ONCE: Final = RetrySettings(attempts=1)
MEDIA_TYPES: Final = {
    ".json": b"application/json",
    ".txt": b"text/plain; charset=utf-8",
    ".html": b"text/html; charset=utf-8",
    ".xml": b"application/xml",
    ".csv": b"text/csv; charset=utf-8",
    ".svg": b"image/svg+xml",
    ".png": b"image/png",
    ".jpg": b"image/jpeg",
    ".pdf": b"application/pdf",
}
"""What a fallback's file is by its ending; `application/octet-stream` otherwise."""
USUAL_TARGETS: Final[dict[Rules, tuple[bytes, ...]]] = {Rules.PRIVATE: (), Rules.SHARED: (b"cdn-cache-control",)}
"""The fields that a cache obeys in place of Cache-Control if its policy names none."""
PHRASES: Final = {status.value: status.phrase.encode() for status in HTTPStatus}


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


def cache(settings: Settings) -> CacheSettings | None:
    said = settings.cache
    if said is None or said.store is None:
        return None
    rules = Rules.PRIVATE if isinstance(said.store, Lifetime) else Rules(said.store)
    ttl_s = said.store.ttl_s if isinstance(said.store, Lifetime) else said.ttl
    stale = said.stale
    return CacheSettings(
        rules,
        ttl_s,
        stale_s=0.0 if stale is None else stale.length,
        override=stale is not None and stale.override,
        targets=USUAL_TARGETS[rules] if said.targets is None else _field_names(said.targets),
        vary_on=_field_names(said.vary_on),
        coalesce=said.coalesce,
        max_entry_bytes=said.max_entry,
        tags=said.tags,
    )


def _field_names(names: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(dict.fromkeys(name.lower().encode() for name in names))


def fallback(policy: ProviderPolicy, route: Route | None) -> tuple[Rung, ...]:
    """The ladder of a route, or of calls that match none, without rungs that none of the route's methods can reach."""
    settings = policy if route is None else route
    # A route that says nothing has the provider's own list, the very object.
    usual = READS if route is None or route.fallback is policy.fallback else frozenset()
    methods = frozenset(() if route is None else route.match.method)
    ladder = (_rung(said, usual) for said in settings.fallback or ())
    return tuple(
        rung for rung in ladder if not (methods and rung.when.methods and methods.isdisjoint(rung.when.methods))
    )


def rewrite(settings: Settings) -> frozenset[bytes]:
    """The fields to rewrite, in lower case."""
    return frozenset() if settings.rewrite_urls is None else frozenset(_field_names(settings.rewrite_urls.headers))


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


def _rung(said: degrade.Fallback, usual_methods: frozenset[str]) -> Rung:
    media_type, body = _body(said)
    fields = [(name.encode(), Template.of_text(value, for_field)) for name, value in said.headers.items()]
    if media_type and not any(name.lower() == "content-type" for name in said.headers):
        fields.insert(0, (b"Content-Type", Template([media_type])))
    when = _condition(said.when, usual_methods)
    return Rung(when, said.status, PHRASES.get(said.status, b""), tuple(fields), body)


def _condition(when: degrade.FallbackWhen | None, usual_methods: frozenset[str]) -> Condition:
    if when is None:
        return Condition(methods=usual_methods)
    return Condition(
        frozenset(map(Reason, when.reason)),
        frozenset(map(Verdict, when.outcome)),
        when.status,
        frozenset(when.method) or usual_methods,
    )


def _body(said: degrade.Fallback) -> tuple[bytes, Template | None]:
    """The media type, and the body."""
    if said.document is not None:
        return MEDIA_TYPES[".json"], json_template(said.document.value)
    if said.text is not None:
        return MEDIA_TYPES[".txt"], Template.of_text(said.text, for_text)
    if said.file is not None:
        ending = PurePath(said.file.path).suffix.lower()
        return MEDIA_TYPES.get(ending, b"application/octet-stream"), Template([said.file.data])
    return b"", None


def _lease_s(settings: Settings) -> float:
    attempt_s = LEASE_WITHOUT_TIMEOUT_S if settings.timeouts is None else settings.timeouts.attempt
    queue_s = 0.0 if settings.limit is None else settings.limit.max_wait
    return attempt_s + queue_s + LEASE_MARGIN_S
