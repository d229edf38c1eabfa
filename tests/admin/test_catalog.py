"""The catalog: sums over what was counted, and a status from the breakers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.admin.catalog import catalog
from sidecar.errors import Verdict
from sidecar.policy.model import ProviderPolicy
from sidecar.telemetry.instruments import Meters

STRIPE = ProviderPolicy.model_validate(
    {"provider": "stripe", "hosts": ["api.stripe.com"], "about": {"owner": "payments-team"}}
)


def row(meters: Meters | None = None, breakers: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    meters = meters or Meters()
    snapshots = (meters.attempts.collect(), meters.request_duration.collect(), meters.served.collect())
    (only,) = catalog([STRIPE], breakers or [], *snapshots)
    return dict(only)


def breaker(state: str, scope: str = "all", provider: str = "stripe") -> dict[str, Any]:
    return {"provider": provider, "scope": scope, "state": state}


def observe(meters: Meters, provider: str, *seconds: float) -> None:
    child = meters.request_duration.child("GET", "api.stripe.com", 443, 200, None, "http", provider, "-")
    for each in seconds:
        child.observe(each)


def test_a_provider_that_nobody_has_called_is_operational() -> None:
    found = row()

    assert (found["provider"], found["owner"], found["upstream"]) == (
        "stripe",
        "payments-team",
        "https://api.stripe.com",
    )
    assert (found["status"], found["attempts"], found["success_ratio"], found["p99_s"]) == (
        "operational",
        0,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("breakers", "status", "broken"),
    [
        ([breaker("closed"), breaker("forced-closed", "b")], "operational", []),
        ([breaker("open"), breaker("closed", "b")], "degraded", ["all"]),
        ([breaker("half-open")], "degraded", ["all"]),
        ([breaker("open"), breaker("forced-open", "b")], "down", ["all", "b"]),
        ([breaker("open", provider="sendgrid")], "operational", []),
    ],
)
def test_the_status_is_what_the_breakers_say(breakers: list[dict[str, Any]], status: str, broken: list[str]) -> None:
    found = row(breakers=breakers)

    assert (found["status"], found["breakers_open"]) == (status, broken)


def test_only_the_providers_own_failures_count_against_it() -> None:
    meters = Meters()
    for verdict, count in ((Verdict.OK, 6), (Verdict.REJECTED, 2), (Verdict.TRANSIENT, 1), (Verdict.THROTTLED, 1)):
        meters.attempts.child("stripe", "a", verdict).add(count)
    meters.attempts.child("sendgrid", "-", Verdict.TRANSIENT).add(50)

    assert (row(meters)["attempts"], row(meters)["success_ratio"]) == (10, 0.8)


def test_what_stood_in_for_the_provider_is_summed_up() -> None:
    meters = Meters()
    meters.served.child("stripe", "a", "cache", None).add(5)
    meters.served.child("stripe", "a", "stale", "breaker-open").add(2)
    meters.served.child("stripe", "b", "stale", "status-503").add(1)
    meters.served.child("sendgrid", "-", "fallback", "connect-failed").add(9)

    assert row(meters)["served"] == {"cache": 5, "stale": 3, "fallback": 0}


def test_quantiles_are_read_from_the_buckets() -> None:
    meters = Meters()
    observe(meters, "stripe", *[0.02] * 90, *[0.2] * 9, 60.0)
    observe(meters, "sendgrid", *[5.0] * 100)
    found = row(meters)

    assert 0.01 < found["p50_s"] <= 0.025
    assert 0.1 < found["p95_s"] <= 0.25
    assert found["p99_s"] <= 0.25


@given(st.lists(st.floats(0, 30), min_size=1))
def test_quantiles_are_in_order_and_within_the_bounds(seconds: list[float]) -> None:
    meters = Meters()
    observe(meters, "stripe", *seconds)
    found = row(meters)

    assert 0 <= found["p50_s"] <= found["p95_s"] <= found["p99_s"] <= 10.0
