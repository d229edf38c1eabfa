from __future__ import annotations

import asyncio

import pytest

from sidecar.call import Call, Outcome, Trace
from sidecar.errors import Reason, WireError
from sidecar.http1.message import Body
from sidecar.rules.tracecontext import parse_traceparent
from sidecar.steps.measure import Attempt, MeasureAttempts, MeasureSettings
from tests.fakes import HANG, FakeProvider, make_call, make_failure, make_reply, turn_loop

TRACE = "12345678901234567890123456789012"
APP_SPAN = "1234567890123456"


class Book:
    def __init__(self) -> None:
        self.ends: list[tuple[Attempt, Outcome | None, BaseException | None]] = []

    def ended(self, attempt: Attempt, outcome: Outcome | None, error: BaseException | None) -> None:
        self.ends.append((attempt, outcome, error))


def traced_call(*, sampled: bool, state: str = "") -> Call:
    call = make_call()
    call.attempt = 1
    call.trace = Trace(TRACE, APP_SPAN, sampled, state)
    return call


async def measured(
    call: Call, provider: FakeProvider, *, spans: bool = True, own_ids: bool = True
) -> tuple[Book, dict[bytes, bytes]]:
    book = Book()
    step = MeasureAttempts(MeasureSettings(spans, own_ids), book)
    await step.bind(provider)(call)
    return book, dict(call.attempt_fields)


async def test_a_sampled_attempt_goes_up_under_a_span_of_its_own() -> None:
    call = traced_call(sampled=True, state="foo=1,bar=2")
    book, fields = await measured(call, FakeProvider())
    [(attempt, _, _)] = book.ends
    assert parse_traceparent(fields[b"traceparent"]) == (TRACE, attempt.span_id, True)
    assert attempt.span_id not in (call.id, APP_SPAN)
    assert fields[b"tracestate"] == b"foo=1,bar=2"


async def test_each_sampled_attempt_has_another_span() -> None:
    call = traced_call(sampled=True)
    _, first = await measured(call, FakeProvider(503))
    call.attempt, call.attempt_fields = 2, []
    book, second = await measured(call, FakeProvider())
    assert first != second
    assert book.ends[0][0].number == 2


async def test_an_unsampled_attempt_goes_up_under_the_calls_id() -> None:
    call = traced_call(sampled=False)
    _, fields = await measured(call, FakeProvider())
    assert fields == {b"traceparent": f"00-{TRACE}-{call.id}-00".encode()}


async def test_the_applications_decision_goes_on_when_nobody_makes_spans() -> None:
    call = traced_call(sampled=True)
    _, fields = await measured(call, FakeProvider(), spans=False)
    assert fields == {b"traceparent": f"00-{TRACE}-{call.id}-01".encode()}


async def test_the_applications_span_goes_on_when_we_have_no_ids() -> None:
    _, fields = await measured(traced_call(sampled=True), FakeProvider(), spans=False, own_ids=False)
    assert fields == {b"traceparent": f"00-{TRACE}-{APP_SPAN}-01".encode()}


async def test_a_call_without_a_trace_sends_none() -> None:
    book, fields = await measured(make_call(), FakeProvider())
    assert fields == {}
    assert len(book.ends) == 1


async def test_other_steps_fields_stay() -> None:
    call = traced_call(sampled=False)
    call.attempt_fields.append((b"authorization", b"x"))
    _, fields = await measured(call, FakeProvider())
    assert list(fields) == [b"authorization", b"traceparent"]


async def test_a_streaming_reply_counts_until_its_last_byte() -> None:
    body = Body()
    reply = make_reply(body=body)
    book, _ = await measured(traced_call(sampled=False), FakeProvider(reply))
    assert book.ends == []
    body.finish()
    assert [end[1:] for end in book.ends] == [(reply, None)]


async def test_a_discarded_reply_has_no_error() -> None:
    body = Body()
    reply = make_reply(503, body=body)
    book, _ = await measured(traced_call(sampled=False), FakeProvider(reply))
    body.discard()
    assert [end[1:] for end in book.ends] == [(reply, None)]


async def test_a_reply_that_breaks_off_has_its_error() -> None:
    body, error = Body(), WireError(Reason.REPLY_INCOMPLETE, "gone")
    reply = make_reply(body=body)
    book, _ = await measured(traced_call(sampled=False), FakeProvider(reply))
    body.fail(error)
    assert [end[1:] for end in book.ends] == [(reply, error)]


async def test_an_upgraded_connection_counts_until_its_head() -> None:
    class Line:
        async def send(self, data: bytes) -> None: ...
        def finish(self) -> None: ...
        def abort(self) -> None: ...

    reply = make_reply(101, body=Body())
    reply.tunnel = Line()
    book, _ = await measured(traced_call(sampled=False), FakeProvider(reply))
    assert [end[1:] for end in book.ends] == [(reply, None)]


async def test_a_failure_counts_at_once() -> None:
    failure = make_failure()
    book, _ = await measured(traced_call(sampled=False), FakeProvider(failure))
    assert [end[1:] for end in book.ends] == [(failure, None)]


async def test_cancellation_passes_through_and_counts() -> None:
    book, provider = Book(), FakeProvider(HANG)
    step = MeasureAttempts(MeasureSettings(True), book)
    task = asyncio.ensure_future(step.bind(provider)(traced_call(sampled=True)))
    await turn_loop()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    [(_, outcome, error)] = book.ends
    assert outcome is None
    assert isinstance(error, asyncio.CancelledError)
