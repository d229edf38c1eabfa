import asyncio

import orjson
import pytest

from sidecar.call import Call, Failure, Outcome, Reply
from sidecar.errors import Reason, Verdict, WireError
from sidecar.http1.message import Body
from sidecar.rules.classify import PEEK_BYTES, BodyTest, HeaderTest, Rule, glob
from sidecar.rules.hint import HintField, HintSettings
from sidecar.steps.classify import Classify
from tests.fakes import FakeClock, FakeProvider, make_call, make_failure, make_reply, turn_loop

HINT = HintSettings((HintField(b"retry-after"), HintField(b"x-ratelimit-reset")), cap_s=60.0)
JSON = {"Content-Type": "application/json"}
LOCKED = Rule(Verdict.TRANSIENT, frozenset({409}), body=(BodyTest(("code",), ("lock",)),), wait_s=2.0)
NOT_OK = Rule(Verdict.THROTTLED, frozenset({200}), body=(BodyTest(("ok",), (False,)),))
NO_RETRY = Rule(Verdict.REJECTED, headers=(HeaderTest(b"should-retry", glob("false")),))
RULES = (LOCKED, NOT_OK, NO_RETRY)


async def classify(
    outcome: Outcome,
    *,
    rules: tuple[Rule, ...] = RULES,
    hint: HintSettings | None = HINT,
    call: Call | None = None,
    dry_run: bool = False,
) -> Outcome:
    step = Classify(rules, hint, FakeClock(), dry_run=dry_run)
    return await step.bind(FakeProvider(outcome))(call or make_call())


def judged(outcome: Outcome) -> tuple[Verdict, float | None]:
    return outcome.verdict, outcome.wait_s


@pytest.mark.parametrize("rules", [(), RULES])
async def test_built_in_rules_and_hints(rules: tuple[Rule, ...]) -> None:
    async def verdict(status: int, **headers: str) -> tuple[Verdict, float | None]:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return judged(await classify(make_reply(status, fields), rules=rules))

    assert await verdict(200, Retry_After="5") == (Verdict.OK, None)
    assert await verdict(404, Retry_After="5") == (Verdict.REJECTED, None)
    assert await verdict(429, Retry_After="5") == (Verdict.THROTTLED, 5.0)
    assert await verdict(429, X_RateLimit_Reset="7") == (Verdict.THROTTLED, 7.0)
    assert await verdict(429, Retry_After="1000") == (Verdict.THROTTLED, 60.0)
    assert await verdict(503, Retry_After="5") == (Verdict.TRANSIENT, 5.0)
    assert await verdict(500, X_RateLimit_Reset="7") == (Verdict.TRANSIENT, None), "said of the quota, not of the fault"


async def test_failures_have_their_verdict_already() -> None:
    failure = make_failure()
    assert await classify(failure) is failure
    assert await classify(failure, rules=()) is failure


async def test_no_hints_when_none_are_to_be_believed() -> None:
    assert judged(await classify(make_reply(429, {"Retry-After": "5"}), hint=None)) == (Verdict.THROTTLED, None)


async def test_a_rule_without_body_reads_none() -> None:
    body = Body()
    reply = await classify(make_reply(500, {"Should-Retry": "false"}, body))
    assert judged(reply) == (Verdict.REJECTED, None)
    assert not body.done


async def test_a_rule_on_the_body_leaves_it_unread() -> None:
    data = orjson.dumps({"code": "lock"})
    reply = await classify(make_reply(409, JSON, data))
    assert isinstance(reply, Reply)
    assert judged(reply) == (Verdict.TRANSIENT, 2.0)
    assert reply.body.whole() == data
    other = await classify(make_reply(409, JSON, b'{"code": "other"}'))
    assert judged(other) == (Verdict.REJECTED, None)


async def test_a_reply_that_names_its_wait_is_believed_before_the_rule() -> None:
    reply = make_reply(409, {**JSON, "Retry-After": "9"}, b'{"code": "lock"}')
    assert judged(await classify(reply)) == (Verdict.TRANSIENT, 9.0)


async def test_rules_are_picked_by_status_once() -> None:
    handle = Classify(RULES, HINT, FakeClock()).bind(
        FakeProvider(lambda call: make_reply(409, JSON, b'{"code": "lock"}'), 200)
    )
    assert (await handle(make_call())).verdict is Verdict.TRANSIENT
    assert (await handle(make_call())).verdict is Verdict.OK
    handle = Classify((LOCKED,), HINT, FakeClock()).bind(FakeProvider(200))
    assert [(await handle(make_call())).verdict for _ in range(2)] == [Verdict.OK, Verdict.OK]


async def test_an_error_that_calls_itself_200() -> None:
    assert judged(await classify(make_reply(200, JSON, b'{"ok": false}'))) == (Verdict.THROTTLED, None)
    assert judged(await classify(make_reply(200, JSON, b'{"ok": true}'))) == (Verdict.OK, None)


@pytest.mark.parametrize(
    "headers",
    [{"Content-Type": "text/event-stream"}, {}, {**JSON, "Content-Length": str(PEEK_BYTES + 1)}],
)
async def test_streams_and_long_bodies_are_not_waited_for(headers: dict[str, str]) -> None:
    body = Body()
    reply = await classify(make_reply(200, headers, body))
    assert judged(reply) == (Verdict.OK, None)
    assert not body.done


async def test_waits_for_a_body_that_is_still_coming() -> None:
    body, clock = Body(), FakeClock()
    step = Classify(RULES, HINT, clock).bind(FakeProvider(make_reply(409, JSON, body)))
    task = asyncio.ensure_future(step(make_call(deadline_s=1030.0)))
    for piece in (b'{"code"', b': "lock"}'):
        await turn_loop()
        assert not task.done()
        body.feed(piece)
    await turn_loop()
    body.finish()
    reply = await task
    assert isinstance(reply, Reply)
    assert reply.verdict is Verdict.TRANSIENT
    assert await reply.body.read() == b'{"code": "lock"}'
    assert clock.pending == 0


async def test_looks_at_so_much_and_no_more() -> None:
    body = Body()
    body.feed(b'{"code": "' + b"x" * PEEK_BYTES)
    reply = await classify(make_reply(409, JSON, body))
    assert isinstance(reply, Reply)
    assert judged(reply) == (Verdict.REJECTED, None)
    assert not body.done
    assert len(await reply.body.read()) > PEEK_BYTES


async def test_a_body_that_breaks_before_anything_went_on_is_a_failure_to_repeat() -> None:
    body = Body()
    body.feed(b'{"co')
    body.fail(WireError(Reason.REPLY_INCOMPLETE, "The provider stopped half-way."))
    outcome = await classify(make_reply(409, JSON, body))
    assert outcome == Failure(Reason.REPLY_INCOMPLETE, "The provider stopped half-way.", Verdict.TRANSIENT)


@pytest.mark.parametrize(("deadline_s", "reason"), [(1030.0, Reason.ATTEMPT_TIMEOUT), (1010.0, Reason.TOTAL_TIMEOUT)])
async def test_a_body_that_does_not_come_in_time_is_a_failure_to_repeat(deadline_s: float, reason: Reason) -> None:
    body, clock = Body(), FakeClock()
    call = make_call(deadline_s=deadline_s)
    call.attempt_deadline_s = 1010.0
    task = asyncio.ensure_future(Classify(RULES, HINT, clock).bind(FakeProvider(make_reply(409, JSON, body)))(call))
    await turn_loop()
    clock.advance(10.0)
    outcome = await task
    assert isinstance(outcome, Failure)
    assert (outcome.reason, outcome.verdict) == (reason, Verdict.TRANSIENT)
    assert body.done


async def test_dry_run_says_what_the_policy_would_have_made_of_it() -> None:
    call = make_call()
    reply = await classify(make_reply(409, JSON, b'{"code": "lock"}'), call=call, dry_run=True)
    assert judged(reply) == (Verdict.REJECTED, None)
    assert call.decisions == [("classify", "would be transient instead of rejected", 1000.0)]
