"""The outermost step: every call belongs to a trace, and its beginning and end are told to whoever keeps the books."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import getrandbits
from typing import Protocol, TypeAlias

from sidecar.call import Call, Handler, Outcome, Reply, Trace
from sidecar.rules.tracecontext import parse_traceparent, parse_tracestate

Sampler: TypeAlias = Callable[[str, bool | None], bool]
"""(trace id, the application's decision or None) -> is it sampled. Asked once a call, before any span exists."""


class CallBook(Protocol):
    """Who is told of one route's calls. Must be quick, and must not raise."""

    def began(self, call: Call) -> None: ...
    def ended(self, call: Call, outcome: Outcome | None, error: BaseException | None, complete: bool) -> None:
        """The last byte of the reply has come, or none will: `outcome` is None if the call was cancelled or broke.

        `complete` is False for a reply whose body broke off or was thrown away.
        """
        ...


@dataclass(frozen=True, slots=True)
class TraceSettings:
    sample: Sampler
    mint: bool = True
    """False to leave calls alone that bring no valid `traceparent` (OTEL_SDK_DISABLED)."""


class TraceCalls:
    """Continues the application's trace or starts one, and takes the two fields off the request."""

    name = "trace"

    def __init__(self, settings: TraceSettings, book: CallBook) -> None:
        self._settings = settings
        self._book = book

    def bind(self, inner: Handler) -> Handler:
        sample, mint = self._settings.sample, self._settings.mint
        began, ended = self._book.began, self._book.ended

        async def trace(call: Call) -> Outcome:
            headers = call.headers
            given = headers.get(b"traceparent")
            if given is not None or b"tracestate" in headers:
                call.trace = _continued(call, given, sample)
            if call.trace is None and mint:
                trace_id = (getrandbits(128) or 1).to_bytes(16, "big").hex()
                call.trace = Trace(trace_id, None, sample(trace_id, None))
            began(call)
            try:
                outcome = await inner(call)
            except BaseException as error:
                ended(call, None, error, False)
                raise
            if not isinstance(outcome, Reply):
                ended(call, outcome, None, True)
            elif outcome.body.done:
                ended(call, outcome, outcome.body.error, outcome.body.error is None)
            else:
                reply = outcome
                reply.body.when_done(lambda complete: ended(call, reply, reply.body.error, complete))
            return outcome

        return trace


def _continued(call: Call, given: bytes | None, sample: Sampler) -> Trace | None:
    """The trace that the request's fields name; both fields are gone from it, valid or not."""
    headers = call.headers
    parent = None if given is None else parse_traceparent(given)
    state = headers.get(b"tracestate")
    headers.remove(b"traceparent")
    headers.remove(b"tracestate")
    if parent is None:
        return None
    trace_id, parent_id, sampled = parent
    # A state without a valid parent says nothing about this trace (W3C Trace Context 3.3).
    return Trace(trace_id, parent_id, sample(trace_id, sampled), "" if state is None else parse_tracestate(state))
