"""A daemon's telemetry around a provider that follows a script."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from sidecar.call import Call, Failure, Handler, Outcome, Reply
from sidecar.errors import Verdict
from sidecar.telemetry.settings import read_settings
from sidecar.telemetry.telemetry import Telemetry
from tests.fakes import FakeClock, FakeProvider


def make_telemetry(environ: dict[str, str], clock: FakeClock | None = None, **options: Any) -> Telemetry:
    return Telemetry(read_settings(environ, version="0.0.0"), clock or FakeClock(), **options)


def pipeline(
    telemetry: Telemetry,
    provider: FakeProvider,
    *,
    name: str = "stripe",
    route: str = "get-customer",
    template: str | None = "/v1/customers/{id}",
    host: str = "api.stripe.com",
) -> Handler:
    """trace, a bare retry, measure, a bare classify, the provider."""
    now = telemetry._clock.now

    async def classify(call: Call) -> Outcome:
        outcome = await provider(call)
        if isinstance(outcome, Reply) and outcome.status >= 500:
            outcome.verdict = Verdict.TRANSIENT
        return outcome

    measured = telemetry.measure_step(name, route, host, 443, template=template).bind(classify)

    async def retry(call: Call) -> Outcome:
        while True:
            call.attempt += 1
            call.attempt_fields = []
            outcome = await measured(call)
            if isinstance(outcome, Failure) or outcome.verdict is not Verdict.TRANSIENT or call.attempt == 3:
                return outcome
            call.note("retry", f"attempt {call.attempt} transient", now())
            outcome.body.discard()

    return telemetry.trace_step(name, route).bind(retry)


async def until(condition: Callable[[], object], deadline_s: float = 10.0) -> None:
    """Wait for another thread to have done something."""
    end_s = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end_s, "it did not happen"
        await asyncio.sleep(0.01)
