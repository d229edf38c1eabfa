import asyncio
from typing import Any

import pytest

from sidecar.call import Call, Outcome
from sidecar.errors import Reason, Verdict
from sidecar.http1.message import Body
from sidecar.rules.backoff import BackoffSettings, Jitter
from sidecar.rules.budget import Budget, BudgetSettings
from sidecar.rules.safe import Repeat
from sidecar.steps.retry import Retry, RetrySettings
from tests.fakes import HANG, FakeClock, FakeProvider, make_call, make_failure, make_reply, turn_loop

PLAIN = BackoffSettings(base_s=0.1, cap_s=10.0, jitter=Jitter.NONE)
UNREACHABLE = make_failure(Verdict.UNREACHABLE)
LOST = make_failure(Verdict.TRANSIENT, Reason.CONNECTION_LOST)
BUSY = make_reply(503, verdict=Verdict.TRANSIENT)
SLOW_DOWN = make_reply(429, verdict=Verdict.THROTTLED, wait_s=2.0)
OK = make_reply(200)


def make_retry(clock: FakeClock, *, budget: Budget | None = None, dry_run: bool = False, **settings: Any) -> Retry:
    settings.setdefault("backoff", PLAIN)
    return Retry(RetrySettings(**settings), budget, clock, lambda: 0.5, dry_run=dry_run)


async def check(
    *script: Any, attempts: int, slept: list[float], outcome: Outcome, call: Call | None = None, **settings: Any
) -> Call:
    """Send a call through retry and a provider that follows the script; compare attempts, delays and outcome."""
    clock, provider, call = FakeClock(), FakeProvider(*script), call or make_call()
    assert await make_retry(clock, **settings).bind(provider)(call) is outcome
    assert (provider.attempts, clock.slept) == (attempts, pytest.approx(slept))
    assert call.attempt == attempts
    assert call.waited_s == pytest.approx(sum(slept))
    return call


async def test_a_good_reply_passes() -> None:
    call = await check(OK, attempts=1, slept=[], outcome=OK)
    assert not call.final
    assert call.decisions is None


async def test_tries_again_until_it_is_good() -> None:
    call = await check(BUSY, LOST, OK, attempts=3, slept=[0.1, 0.2], outcome=OK)
    assert not call.final
    assert [decision for _, decision, _ in call.decisions or ()] == [
        "attempt 1 transient, next in 0.1 s",
        "attempt 2 transient, next in 0.2 s",
    ]


@pytest.mark.parametrize("settings", [{}, {"attempts": 1}])
async def test_every_attempt_is_told_what_time_it_is(settings: dict[str, int]) -> None:
    clock, told_s = FakeClock(1234.5), list[float]()

    def tell(call: Call) -> Outcome:
        told_s.append(call.now_s)
        return BUSY

    await make_retry(clock, **settings).bind(FakeProvider(tell))(make_call())
    assert told_s == pytest.approx([1234.5, 1234.6, 1234.8][: settings.get("attempts", 3)])


async def test_the_last_outcome_is_returned_as_it_is() -> None:
    call = await check(LOST, BUSY, BUSY, attempts=3, slept=[0.1, 0.2], outcome=BUSY)
    assert call.final


@pytest.mark.parametrize("verdict", [Verdict.REJECTED, Verdict.CREDENTIAL, Verdict.EXHAUSTED, Verdict.LOCAL])
async def test_what_will_not_pass_is_not_repeated(verdict: Verdict) -> None:
    refused = make_reply(400, verdict=verdict)
    call = await check(refused, attempts=1, slept=[], outcome=refused)
    assert not call.final


async def test_waits_at_least_as_long_as_the_provider_asks() -> None:
    await check(SLOW_DOWN, OK, attempts=2, slept=[2.0], outcome=OK)


async def test_stops_when_a_later_attempt_is_refused_by_ourselves() -> None:
    refused = make_failure(Verdict.LOCAL, Reason.BREAKER_OPEN)
    await check(BUSY, refused, attempts=2, slept=[0.1], outcome=refused)


async def test_never_sleeps_past_the_deadline() -> None:
    call = await check(SLOW_DOWN, OK, attempts=1, slept=[], outcome=SLOW_DOWN, call=make_call(deadline_s=1002.0))
    assert call.final
    assert call.decisions == [("retry", "gives up: waiting 2 s would pass the deadline", 1000.0)]
    await check(SLOW_DOWN, OK, attempts=2, slept=[2.0], outcome=OK, call=make_call(deadline_s=1002.01))


async def test_a_post_is_repeated_only_with_a_key_or_when_it_was_never_sent() -> None:
    call = await check(BUSY, OK, attempts=1, slept=[], outcome=BUSY, call=make_call("POST", body=b"{}"))
    assert not call.final, "the application may know better whether it is safe"
    keyed = make_call("POST", headers={"Idempotency-Key": "1"}, body=b"{}")
    await check(BUSY, OK, attempts=2, slept=[0.1], outcome=OK, call=keyed)
    await check(UNREACHABLE, OK, attempts=2, slept=[0.1], outcome=OK, call=make_call("POST", body=b"{}"))
    await check(BUSY, OK, attempts=2, slept=[0.1], outcome=OK, call=make_call("POST"), methods=Repeat.ALL)


async def test_a_body_that_was_not_kept_cannot_be_repeated() -> None:
    call = make_call("PUT", body=b"x" * 100, keep_bytes=10)
    await call.body.read()
    await check(UNREACHABLE, OK, attempts=1, slept=[], outcome=UNREACHABLE, call=call)


async def test_a_reply_that_is_dropped_is_discarded() -> None:
    dropped = make_reply(503, body=Body(), verdict=Verdict.TRANSIENT)
    await check(dropped, OK, attempts=2, slept=[0.1], outcome=OK)
    assert dropped.body.done


async def test_a_final_reply_is_not_discarded() -> None:
    streaming = make_reply(503, body=Body(), verdict=Verdict.TRANSIENT)
    await check(streaming, attempts=1, slept=[], outcome=streaming, call=make_call(deadline_s=1000.1))
    assert not streaming.body.done


async def test_each_attempt_has_its_own_fields() -> None:
    seen: list[list[tuple[bytes, bytes]]] = []

    def provider(call: Call) -> Outcome:
        call.attempt_fields.append((b"traceparent", str(call.attempt).encode()))
        seen.append(call.attempt_fields)
        return BUSY if call.attempt == 1 else OK

    await check(provider, attempts=2, slept=[0.1], outcome=OK)
    assert seen == [[(b"traceparent", b"1")], [(b"traceparent", b"2")]]


async def test_no_more_retries_than_the_budget_has() -> None:
    budget = Budget(BudgetSettings(ratio=0.0, floor_per_s=0.1))
    await check(BUSY, OK, attempts=2, slept=[0.1], outcome=OK, budget=budget)
    call = await check(BUSY, OK, attempts=1, slept=[], outcome=BUSY, budget=budget)
    assert call.final
    assert call.decisions == [("retry", "gives up: the provider's retry budget is spent", 1000.0)]


async def test_calls_pay_into_the_budget_and_the_sdks_retries_draw_on_it() -> None:
    budget = Budget(BudgetSettings(ratio=1.0, floor_per_s=0.0))
    await check(OK, attempts=1, slept=[], outcome=OK, budget=budget)
    assert budget.left(1000.0) == 1
    again = make_call(headers={"X-Stainless-Retry-Count": "1"})
    await check(BUSY, OK, attempts=1, slept=[], outcome=BUSY, budget=budget, call=again)
    assert budget.left(1000.0) == 0
    assert again.final


async def test_cancelled_while_waiting_it_makes_no_further_attempt() -> None:
    clock, provider = FakeClock(park=True), FakeProvider(BUSY)
    task = asyncio.create_task(make_retry(clock).bind(provider)(make_call()))
    await turn_loop()
    assert clock.slept == [0.1]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert provider.attempts == 1


async def test_cancellation_of_an_attempt_passes_through() -> None:
    provider = FakeProvider(HANG)
    task = asyncio.create_task(make_retry(FakeClock()).bind(provider)(make_call()))
    await turn_loop()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (provider.attempts, provider.cancelled) == (1, 1)


async def test_dry_run_says_what_it_would_do() -> None:
    call = await check(BUSY, OK, attempts=1, slept=[], outcome=BUSY, dry_run=True)
    assert call.decisions == [("retry", "would try again in 0.1 s: transient", 1000.0)]
    assert not call.final


async def test_dry_run_says_when_it_would_give_up() -> None:
    call = await check(
        SLOW_DOWN, attempts=1, slept=[], outcome=SLOW_DOWN, dry_run=True, call=make_call(deadline_s=1001)
    )
    assert call.decisions == [("retry", "would give up: waiting 2 s would pass the deadline", 1000.0)]
    assert not call.final


async def test_switched_off_it_only_counts() -> None:
    call = make_call()
    assert await make_retry(FakeClock(), attempts=1).bind(FakeProvider(BUSY))(call) is BUSY
    assert (call.attempt, call.final, call.decisions) == (1, False, None)
