"""The last resort: marked for what it is, and of no cost while all is well."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.call import Call, Outcome, Reply, Served
from sidecar.errors import Reason, Verdict
from sidecar.http1.message import Body
from sidecar.rules.fallback import READS, Condition, Rung
from sidecar.rules.placeholder import PathValues, Template, for_field, for_text
from sidecar.steps.fallback import Fallback
from tests.fakes import FakeClock, FakeProvider, make_call, make_failure, make_reply

BREAKER = Rung(
    Condition(reasons=frozenset({Reason.BREAKER_OPEN})),
    203,
    b"Non-Authoritative Information",
    ((b"X-Item", Template.of_text("{id}", for_field)),),
    Template.of_text("{id} is away", for_text),
)
REST = Rung(Condition(methods=READS), 200, b"OK", ((b"Content-Type", Template([b"text/plain"])),), Template([b"later"]))
OPEN = make_failure(Verdict.LOCAL, Reason.BREAKER_OPEN)


async def send(
    outcome: Outcome | BaseException, call: Call | None = None, *, dry_run: bool = False, host: str | None = "a.test"
) -> Outcome:
    step = Fallback((BREAKER, REST), PathValues("/v1/{id}"), FakeClock(), host, dry_run=dry_run)
    return await step.bind(FakeProvider(outcome))(call or make_call(target="/v1/7%22?x=1"))


async def test_what_goes_well_passes_untouched() -> None:
    reply = make_reply(200)
    call = make_call()
    assert await send(reply, call) is reply
    assert (reply.served, reply.extra, call.decisions) == (None, None, None)


async def test_the_first_rung_that_holds_answers() -> None:
    call = make_call(target="/v1/7%22?x=1")
    outcome = await send(OPEN, call)
    assert isinstance(outcome, Reply)
    assert (outcome.status, outcome.phrase, outcome.verdict) == (203, b"Non-Authoritative Information", Verdict.OK)
    assert outcome.headers.fields == [(b"X-Item", b"7%22"), (b"Content-Length", b"10")]
    assert outcome.body.whole() == b'7" is away'
    assert call.decisions == [("fallback", "answers 203 (fallback 1 of 2) instead of breaker-open", 1000.0)]


async def test_it_says_what_it_stands_in_for() -> None:
    refused = await send(OPEN)
    assert isinstance(refused, Reply)
    assert refused.served == Served("fallback", None, "breaker-open")
    details = b'details="The provider cannot be reached."'
    assert refused.extra == [
        (b"Proxy-Status", b'sidecar; error=destination_unavailable; next-hop="a.test"; ' + details)
    ]
    replaced = await send(make_reply(503, verdict=Verdict.TRANSIENT), host=None)
    assert isinstance(replaced, Reply)
    assert replaced.served == Served("fallback", None, "status-503")
    assert replaced.extra == [(b"Proxy-Status", b"sidecar; received-status=503")]


async def test_the_reply_that_it_replaces_is_given_up() -> None:
    body = Body()
    body.feed(b"half")
    outcome = await send(make_reply(503, body=body, verdict=Verdict.TRANSIENT))
    assert isinstance(outcome, Reply)
    assert outcome.body.whole() == b"later"
    assert body.done


@pytest.mark.parametrize(
    "outcome",
    [
        make_reply(404, verdict=Verdict.REJECTED),
        make_reply(401, verdict=Verdict.CREDENTIAL),
        make_failure(Verdict.LOCAL, Reason.ADDRESS_DENIED),
    ],
    ids=["rejected", "credential", "denied"],
)
async def test_what_no_rung_is_for_passes(outcome: Outcome) -> None:
    call = make_call()
    assert await send(outcome, call) is outcome
    assert call.decisions is None


async def test_a_write_is_not_answered_by_what_is_for_reads() -> None:
    failure = make_failure()
    assert await send(failure, make_call("POST")) is failure
    assert await send(failure, make_call("GET")) is not failure


async def test_a_head_has_the_fields_without_the_body() -> None:
    outcome = await send(make_failure(), make_call("HEAD"))
    assert isinstance(outcome, Reply)
    assert outcome.headers.fields == [(b"Content-Type", b"text/plain"), (b"Content-Length", b"5")]
    assert outcome.body.whole() == b""


async def test_a_dry_run_only_says_so() -> None:
    body = Body()
    failed = make_reply(503, body=body, verdict=Verdict.TRANSIENT)
    call = make_call()
    assert await send(failed, call, dry_run=True) is failed
    assert not body.done
    assert call.decisions == [("fallback", "would answer 200 (fallback 2 of 2) instead of status-503", 1000.0)]


async def test_two_calls_share_nothing() -> None:
    first, second = await send(make_failure()), await send(make_failure())
    assert isinstance(first, Reply)
    assert isinstance(second, Reply)
    first.headers.add(b"Sidecar", b"x")
    assert b"sidecar" not in second.headers
    assert (first.body.whole(), second.body.whole()) == (b"later", b"later")


async def test_cancellation_is_no_failure() -> None:
    with pytest.raises(asyncio.CancelledError):
        await send(asyncio.CancelledError())
