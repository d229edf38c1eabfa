from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sidecar.call import Call, Outcome
from sidecar.errors import Reason, WireError
from sidecar.http1.message import Body
from sidecar.steps.trace import Sampler, TraceCalls, TraceSettings
from tests.fakes import HANG, FakeProvider, make_call, make_failure, make_reply, turn_loop

TRACE = "12345678901234567890123456789012"
SPAN = "1234567890123456"
PARENT = {"traceparent": f"00-{TRACE}-{SPAN}-01"}


class Book:
    def __init__(self) -> None:
        self.active = 0
        self.ends: list[tuple[Outcome | None, BaseException | None, bool]] = []

    def began(self, call: Call) -> None:
        self.active += 1

    def ended(self, call: Call, outcome: Outcome | None, error: BaseException | None, complete: bool) -> None:
        self.active -= 1
        self.ends.append((outcome, error, complete))


def always(trace_id: str, parent: bool | None) -> bool:
    return True


async def traced(
    provider: FakeProvider, headers: Any = (), *, sample: Sampler = always, mint: bool = True
) -> tuple[Call, Book, Outcome]:
    book, call = Book(), make_call(headers=headers)
    outcome = await TraceCalls(TraceSettings(sample, mint), book).bind(provider)(call)
    return call, book, outcome


async def test_continues_the_applications_trace() -> None:
    call, _, _ = await traced(FakeProvider(), {**PARENT, "tracestate": "foo=1, bar=2", "accept": "*/*"})
    assert call.trace is not None
    assert (call.trace.trace_id, call.trace.parent_id, call.trace.state) == (TRACE, SPAN, "foo=1,bar=2")
    assert call.headers.fields == [(b"accept", b"*/*")]


async def test_joins_several_states_in_order() -> None:
    fields = [(b"traceparent", PARENT["traceparent"].encode()), (b"Tracestate", b"a=1"), (b"tracestate", b"b=2,a=3")]
    call, _, _ = await traced(FakeProvider(), fields)
    assert call.trace is not None
    assert call.trace.state == "a=1,b=2"


async def test_starts_a_trace_when_there_is_none() -> None:
    first, _, _ = await traced(FakeProvider())
    second, _, _ = await traced(FakeProvider())
    assert first.trace is not None
    assert second.trace is not None
    assert first.trace.parent_id is None
    assert len(first.trace.trace_id) == 32
    assert int(first.trace.trace_id, 16) != int(second.trace.trace_id, 16)


@pytest.mark.parametrize(
    "fields",
    [
        [(b"traceparent", b"nonsense"), (b"tracestate", b"foo=1")],
        [(b"tracestate", b"foo=1")],
        [(b"Traceparent", PARENT["traceparent"].encode())] * 2,
        [(b"traceparent", b"")],
    ],
)
async def test_a_bad_parent_starts_anew_and_nothing_of_it_goes_on(fields: list[tuple[bytes, bytes]]) -> None:
    call, _, _ = await traced(FakeProvider(), fields)
    assert call.trace is not None
    assert call.trace.trace_id != TRACE
    assert (call.trace.parent_id, call.trace.state) == (None, "")
    assert call.headers.fields == []


@pytest.mark.parametrize(("flags", "parent"), [("01", True), ("00", False), ("03", True)])
async def test_the_sampler_is_asked_with_the_parents_decision(flags: str, parent: bool) -> None:
    asked: list[tuple[str, bool | None]] = []

    def sample(trace_id: str, given: bool | None) -> bool:
        asked.append((trace_id, given))
        return not parent

    call, _, _ = await traced(FakeProvider(), {"traceparent": f"00-{TRACE}-{SPAN}-{flags}"}, sample=sample)
    assert asked == [(TRACE, parent)]
    assert call.trace is not None
    assert call.trace.sampled is not parent


async def test_mints_nothing_when_told_not_to() -> None:
    call, _, _ = await traced(FakeProvider(), mint=False)
    assert call.trace is None
    call, _, _ = await traced(FakeProvider(), {"traceparent": "nonsense"}, mint=False)
    assert call.trace is None
    assert call.headers.fields == []
    call, _, _ = await traced(FakeProvider(), PARENT, mint=False)
    assert call.trace is not None
    assert call.trace.trace_id == TRACE


async def test_a_failure_ends_the_call_at_once() -> None:
    failure = make_failure()
    _, book, outcome = await traced(FakeProvider(failure))
    assert outcome is failure
    assert book.ends == [(failure, None, True)]


async def test_a_streaming_reply_ends_the_call_with_its_last_byte() -> None:
    body = Body()
    reply = make_reply(body=body)
    _, book, _ = await traced(FakeProvider(reply))
    assert (book.active, book.ends) == (1, [])
    body.feed(b"some")
    assert book.active == 1
    body.finish()
    assert (book.active, book.ends) == (0, [(reply, None, True)])


async def test_a_reply_that_breaks_off_is_told_with_its_error() -> None:
    body, error = Body(), WireError(Reason.REPLY_INCOMPLETE, "gone")
    reply = make_reply(body=body)
    _, book, _ = await traced(FakeProvider(reply))
    body.fail(error)
    assert book.ends == [(reply, error, False)]
    _, book, _ = await traced(FakeProvider(reply))
    assert book.ends == [(reply, error, False)]


async def test_a_reply_that_nobody_reads_to_the_end_is_incomplete() -> None:
    body = Body()
    reply = make_reply(body=body)
    _, book, _ = await traced(FakeProvider(reply))
    body.discard()
    assert book.ends == [(reply, None, False)]


async def test_cancellation_passes_through_and_is_told() -> None:
    book, provider = Book(), FakeProvider(HANG)
    task = asyncio.ensure_future(TraceCalls(TraceSettings(always), book).bind(provider)(make_call()))
    await turn_loop()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert provider.cancelled == 1
    [(outcome, error, complete)] = book.ends
    assert (book.active, outcome, complete) == (0, None, False)
    assert isinstance(error, asyncio.CancelledError)


async def test_a_fault_of_ours_passes_through_and_is_told() -> None:
    fault, book = ValueError("bug"), Book()
    with pytest.raises(ValueError, match="bug"):
        await TraceCalls(TraceSettings(always), book).bind(FakeProvider(fault))(make_call())
    assert book.ends == [(None, fault, False)]
