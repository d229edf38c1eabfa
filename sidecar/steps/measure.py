"""The step around each attempt: what goes up to say which trace it is, and how long the provider took."""

from __future__ import annotations

from dataclasses import dataclass
from random import getrandbits
from typing import Protocol, final

from sidecar.call import Call, Handler, Outcome, Reply
from sidecar.rules.tracecontext import format_traceparent


class AttemptBook(Protocol):
    """Who is told of the attempts at one origin for one route. Must be quick, and must not raise."""

    def ended(self, attempt: Attempt, outcome: Outcome | None, error: BaseException | None) -> None:
        """The last byte of the reply has come, or none will; an upgraded connection counts up to its 101.

        `outcome` is None if the attempt was cancelled or broke. A reply may have an `error` that its body ended with.
        """
        ...


@final
class Attempt:
    """One try at the provider, as it was when it began."""

    __slots__ = ("call", "number", "span_id", "started_s")

    def __init__(self, call: Call, number: int, span_id: str, started_s: float) -> None:
        self.call = call
        self.number = number
        """From 1."""
        self.span_id = span_id
        self.started_s = started_s
        """On the monotonic clock."""


@dataclass(frozen=True, slots=True)
class MeasureSettings:
    spans: bool
    """Sampled attempts are given a span id of their own, because someone makes the span."""
    own_ids: bool = True
    """False to send the application's span on as the parent, as if we were not there (OTEL_SDK_DISABLED)."""


class MeasureAttempts:
    """Names the attempt to the provider by `traceparent`, and reports how it ended."""

    name = "measure"

    def __init__(self, settings: MeasureSettings, book: AttemptBook) -> None:
        self._settings = settings
        self._book = book

    def bind(self, inner: Handler) -> Handler:
        spans, own_ids = self._settings.spans, self._settings.own_ids
        ended = self._book.ended

        async def measure(call: Call) -> Outcome:
            span_id = call.id
            trace = call.trace
            if trace is not None:
                # Without a span of its own, an attempt is known by the call's id: random, and the one that we log.
                if trace.sampled and spans:
                    span_id = (getrandbits(64) or 1).to_bytes(8, "big").hex()
                elif not own_ids and trace.parent_id is not None:
                    span_id = trace.parent_id
                fields = call.attempt_fields
                fields.append((b"traceparent", format_traceparent(trace.trace_id, span_id, trace.sampled)))
                if trace.state:
                    fields.append((b"tracestate", trace.state.encode("ascii")))
            attempt = Attempt(call, call.attempt, span_id, call.now_s)
            try:
                outcome = await inner(call)
            except BaseException as error:
                ended(attempt, None, error)
                raise
            if not isinstance(outcome, Reply):
                ended(attempt, outcome, None)
            elif outcome.body.done or outcome.tunnel is not None:
                ended(attempt, outcome, outcome.body.error)
            else:
                reply = outcome
                # A body that is thrown away ends without an error: the status stands for how the attempt went.
                reply.body.when_done(lambda _: ended(attempt, reply, reply.body.error))
            return outcome

        return measure
