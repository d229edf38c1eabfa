"""The model: defaults as documented, normal forms, and what `off` does."""

from __future__ import annotations

from datetime import date
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from sidecar.errors import Reason, Verdict
from sidecar.policy.bodies import JsonBody, Lifetime
from sidecar.policy.degrade import FallbackOutcome, FallbackReason
from sidecar.policy.fields import Present
from sidecar.policy.model import ClassifyRule, HintUnit, ProviderPolicy, Settings
from sidecar.policy.names import Origin


def provider(**keys: Any) -> ProviderPolicy:
    return ProviderPolicy.model_validate({"provider": "acme", "hosts": ["api.acme.com"], **keys})


def rule(**when: Any) -> ClassifyRule:
    return ClassifyRule.model_validate({"when": when, "as": "transient"})


def test_defaults() -> None:
    policy = provider()
    assert policy.timeouts is not None
    assert policy.retry is not None
    assert policy.breaker is not None
    assert policy.breaker.failure_ratio is not None
    assert policy.retry.budget is not None
    assert policy.retry.hint is not None
    timeouts, retry, breaker = policy.timeouts, policy.retry, policy.breaker
    assert (timeouts.connect, timeouts.attempt, timeouts.total, timeouts.idle) == (2.0, 10.0, 30.0, 60.0)
    assert (retry.attempts, retry.methods, retry.backoff.base, retry.backoff.cap) == (3, "safe", 0.2, 10.0)
    assert (retry.budget.ratio, retry.budget.floor) == (0.2, 3.0)
    assert [(one.header, one.unit) for one in retry.hint.headers] == [("Retry-After", HintUnit.RETRY_AFTER)]
    assert (breaker.consecutive, breaker.trials, breaker.scope) == (7, 1, "operation")
    assert (breaker.failure_ratio.over, breaker.failure_ratio.window, breaker.failure_ratio.min_calls) == (
        0.5,
        10.0,
        20,
    )
    assert (policy.limit, policy.classify, policy.dry_run, policy.routes) == (None, (), (), ())
    assert (policy.cache, policy.fallback) == (None, ())
    assert policy.tls.min == "1.2"


@pytest.mark.parametrize("word", [False, "off"])
@pytest.mark.parametrize("step", ["timeouts", "classify", "retry", "breaker", "limit", "cache", "fallback"])
def test_every_step_can_be_off(step: str, word: object) -> None:
    assert getattr(provider(**{step: word}), step) is None


def test_parts_of_steps_can_be_off() -> None:
    policy = provider(
        retry={"hint": False, "budget": "off"},
        breaker={"consecutive": False, "failure_ratio": False},
        limit={"rate": False, "concurrency": False},
    )
    assert policy.retry is not None
    assert policy.breaker is not None
    assert policy.limit is not None
    assert (policy.retry.hint, policy.retry.budget) == (None, None)
    assert (policy.breaker.consecutive, policy.breaker.failure_ratio) == (None, None)
    assert (policy.limit.rate, policy.limit.concurrency) == (None, None)


@pytest.mark.parametrize(
    ("written", "statuses"),
    [
        (409, {409}),
        ("409", {409}),
        ("5xx", set(range(500, 600))),
        ("4XX", set(range(400, 500))),
        ("500-502", {500, 501, 502}),
        ([409, "423-424"], {409, 423, 424}),
        ((477,), {477}),
    ],
)
def test_statuses(written: object, statuses: set[int]) -> None:
    assert rule(status=written).when.status == statuses


@pytest.mark.parametrize("written", [99, 600, "6xx", "xx", "5x", "502-500", "500-", True, None, [[409]], "٤٠٩"])
def test_no_statuses(written: object) -> None:
    with pytest.raises(ValidationError):
        rule(status=written)


def test_headers_and_bodies() -> None:
    when = rule(
        header={"Stripe-Should-Retry": "false", "X": {"present": False}},
        body={"/error/code": "lock", "/n": [1, True], "": 0.5},
    ).when
    assert when.header == {"Stripe-Should-Retry": "false", "X": Present(False)}
    assert when.body == {"/error/code": ("lock",), "/n": (1, True), "": (0.5,)}


@pytest.mark.parametrize("written", [{"present": "yes"}, {"present": True, "x": 1}, {}, 3, None, ["a"]])
def test_no_header_tests(written: object) -> None:
    with pytest.raises(ValidationError):
        rule(header={"X": written})


def test_a_rule_reads_as() -> None:
    found = ClassifyRule.model_validate({"when": {"status": 409}, "as": "throttled", "wait": "2s"})
    assert (found.verdict, found.wait) == (Verdict.THROTTLED, 2.0)


@pytest.mark.parametrize(("written", "methods"), [("all", "all"), (["POST", "PATCH"], ("POST", "PATCH")), ([], ())])
def test_methods(written: object, methods: object) -> None:
    policy = provider(retry={"methods": written})
    assert policy.retry is not None
    assert policy.retry.methods == methods


def test_hint_headers() -> None:
    policy = provider(retry={"hint": {"headers": ["Retry-After", {"header": "X-Reset", "unit": "epoch_s"}]}})
    assert policy.retry is not None
    assert policy.retry.hint is not None
    assert [(one.header, one.unit) for one in policy.retry.hint.headers] == [
        ("Retry-After", HintUnit.RETRY_AFTER),
        ("X-Reset", HintUnit.EPOCH_S),
    ]


def test_a_cache_has_its_defaults() -> None:
    cache = provider(cache={}).cache
    assert cache is not None
    assert (cache.store, cache.ttl, cache.stale, cache.targets, cache.vary_on) == ("private", None, None, None, ())
    assert (cache.coalesce, cache.max_entry, cache.tags) == (True, 1024 * 1024, ())


@pytest.mark.parametrize(
    ("written", "seconds", "override"),
    [("24h", 86400.0, False), ({"for": "1h", "override": True}, 3600.0, True), ({"for": "1h"}, 3600.0, False)],
)
def test_how_long_a_reply_may_stand_in(written: object, seconds: float, override: bool) -> None:
    cache = provider(cache={"stale": written}).cache
    assert cache is not None
    assert cache.stale is not None
    assert (cache.stale.length, cache.stale.override) == (seconds, override)


@pytest.mark.parametrize(
    ("written", "store"),
    [("private", "private"), ("shared", "shared"), (False, None), ("off", None), ({"ttl": "1m"}, Lifetime(60.0))],
)
def test_what_is_kept(written: object, store: object) -> None:
    cache = provider(cache={"store": written}).cache
    assert cache is not None
    assert cache.store == store


def test_a_fallback_has_its_defaults() -> None:
    (rung,) = provider(fallback=[{}]).fallback or ()
    assert (rung.when, rung.status, rung.headers) == (None, 200, {})
    assert (rung.document, rung.text, rung.file) == (None, None, None)


def test_a_lone_word_is_a_list_of_one() -> None:
    when = {"reason": "breaker-open", "outcome": "transient", "status": "5xx", "method": "GET"}
    (rung,) = provider(fallback=[{"when": when}]).fallback or ()
    assert rung.when is not None
    assert (rung.when.reason, rung.when.outcome, rung.when.method) == (("breaker-open",), ("transient",), ("GET",))


def test_a_json_document_is_kept_as_it_is() -> None:
    document = {"a": [None, True, 1, 1.5, "x", {}], "at": date(2026, 11, 22)}
    (rung,) = provider(fallback=[{"json": document}]).fallback or ()
    assert rung.document == JsonBody({"a": [None, True, 1, 1.5, "x", {}], "at": "2026-11-22"})


def test_reasons_and_outcomes_are_words_of_the_pipeline() -> None:
    assert set(get_args(FallbackReason)) <= set(Reason)
    assert set(get_args(FallbackOutcome)) == set(Verdict) - {Verdict.OK, Verdict.LOCAL}


def test_the_deadline_step_goes_by_both_names() -> None:
    assert provider(dry_run=["timeouts", "deadline", "limit"]).dry_run == ("deadline", "deadline", "limit")


def test_where_calls_go() -> None:
    assert provider().origin == Origin("https", "api.acme.com", 443)
    assert provider(upstream="http://127.0.0.1:9").origin == Origin("http", "127.0.0.1", 9)
    several = provider(hosts=["a.com", "b.com:8443"])
    assert several.origin == Origin("https", "a.com", 443)
    assert several.origin_for("b.com:8443") == Origin("https", "b.com", 8443)
    wild = provider(hosts=["*.acme.com", "login.acme.com"])
    assert wild.origin is None
    assert wild.origin_for("x.acme.com") == Origin("https", "x.acme.com", 443)
    assert provider(upstream="https://u.com").origin_for("api.acme.com") == Origin("https", "u.com", 443)


def test_nothing_changes_afterwards() -> None:
    with pytest.raises(ValidationError):
        Settings().retry = None  # type: ignore[misc]
