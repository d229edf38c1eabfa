"""What is written down of every call: counts, the ring of last calls, a span if it is sampled, a line if it failed.

One book for each route, made at compile time with its children found, so that a call costs additions only.
"""

from __future__ import annotations

import logging
from typing import Final

from sidecar.call import Call, Failure, Outcome, Reply, Served
from sidecar.errors import Reason, Verdict
from sidecar.telemetry.calls import CallEntry
from sidecar.telemetry.desk import CANCELLED, Desk, broken_off, method_label, not_answered
from sidecar.telemetry.meters import Tally
from sidecar.telemetry.spans import SpanRecord

_log = logging.getLogger("sidecar.calls")

DRY_RUN: Final = "would "
"""How a step's decision begins when it only says what it would have done."""
WAITED: Final = "waited "
"""How a step's decision begins when it made the call wait."""
UNTROUBLED: Final = frozenset(("", "max-stale", "revalidating"))
"""Reasons to serve what is kept while the provider is well."""
EVENTS_MAX: Final = 128


class RouteBook:
    """`steps.trace.CallBook` for one route."""

    __slots__ = ("_active", "_append", "_counts", "_desk", "_now", "_offer_span", "_provider", "_route", "_served")

    def __init__(self, desk: Desk, provider: str, route: str) -> None:
        meters = desk.meters
        self._desk = desk
        self._provider = provider
        self._route = route
        self._now = desk.clock.now
        self._append = desk.calls.append
        self._offer_span = desk.offer_span
        self._active = meters.calls_active.child(provider)
        self._counts: dict[tuple[str, str], Tally] = {}
        self._served: dict[tuple[str, str], Tally] = {}

    def began(self, call: Call) -> None:
        self._active.value += 1

    def ended(self, call: Call, outcome: Outcome | None, error: BaseException | None, complete: bool) -> None:
        now_s = self._now()
        self._active.value -= 1
        result: str
        status: int | None = None
        reason: str | None = None
        served: Served | None = None
        if isinstance(outcome, Reply):
            status, result, served = outcome.status, outcome.verdict, outcome.served
            if not complete:
                result, reason = broken_off(error)
        elif outcome is not None:
            result, reason = outcome.verdict, outcome.reason
        else:
            result, reason = not_answered(error)
        count = self._counts.get((result, call.mode))
        if count is None:
            count = self._counts[result, call.mode] = self._counter(str(result), str(call.mode))
        count.value += 1
        trace = call.trace
        entry = CallEntry(
            call.id,
            None if trace is None else trace.trace_id,
            call.started_s,
            now_s - call.started_s,
            call.waited_s,
            self._provider,
            self._route,
            call.mode,
            method_label(call.method),
            status,
            result,
            reason,
            call.attempt,
            call.decisions,
            served,
        )
        self._append(entry)
        if served is not None:
            self._record_served(entry, served)
        if call.attempt > 1 or call.waited_s or call.decisions is not None or reason is not None:
            self._record_trouble(entry, outcome)
        if trace is not None and trace.sampled and self._offer_span is not None:
            self._offer_span(self._span(call, entry, now_s))

    def _counter(self, outcome: str, mode: str) -> Tally:
        return self._desk.meters.calls.child(self._provider, self._route, outcome, mode)

    def _record_trouble(self, entry: CallEntry, outcome: Outcome | None) -> None:
        """What only calls have that did not simply pass."""
        meters, provider, route = self._desk.meters, self._provider, self._route
        if entry.attempts > 1:
            meters.retries.child(provider, route).add(entry.attempts - 1)
        if entry.waited_s:
            meters.call_wait.child(provider, route).observe(entry.waited_s)
        for step, decision, _ in entry.decisions or ():
            dry_run = "true" if decision.startswith(DRY_RUN) else "false"
            meters.decisions.child(provider, route, step, dry_run).add()
            if step == "limit" and decision.startswith(WAITED):
                meters.limit_waits.child(provider, route).add()
        if isinstance(outcome, Failure):
            meters.failures.child(provider, route, str(entry.reason)).add()
        if entry.reason is not None and entry.outcome != CANCELLED:
            self._warn("a call failed", entry, entry.reason)

    def _record_served(self, entry: CallEntry, served: Served) -> None:
        """What only replies have that the provider did not just give."""
        count = self._served.get((served.source, served.reason))
        if count is None:
            labels = (self._provider, self._route, served.source, str(served.reason) or None)
            count = self._served[served.source, served.reason] = self._desk.meters.served.child(*labels)
        count.value += 1
        if served.reason not in UNTROUBLED:
            self._warn("a reply stands in", entry, served.reason)

    def _warn(self, message: str, entry: CallEntry, reason: str) -> None:
        """A line about a call, unless the same was said of the route often enough of late."""
        served, age_s = entry.shown_served
        key = (message, self._provider, self._route, reason, served)
        held_back = self._desk.repeats.admit(key, self._now())
        if held_back is None:
            return
        extra = {
            "provider": self._provider,
            "route": self._route,
            "mode": entry.mode,
            "method": entry.method,
            "status": entry.status,
            "outcome": entry.outcome,
            "reason": reason,
            "served": served,
            "age_s": age_s,
            "attempts": entry.attempts,
            "duration_s": round(entry.duration_s, 6),
            "trace_id": entry.trace_id,
            "span_id": entry.id,
            "call_id": entry.id,
            "suppressed": held_back or None,
        }
        _log.warning(message, extra=extra)

    def _span(self, call: Call, entry: CallEntry, now_s: float) -> SpanRecord:
        trace = call.trace
        assert trace is not None
        attributes: dict[str, str | int | float | bool] = {
            "http.request.method": entry.method,
            "sidecar.provider": self._provider,
            "sidecar.route": self._route,
            "sidecar.mode": str(entry.mode),
            "sidecar.outcome": str(entry.outcome),
            "sidecar.attempts": entry.attempts,
        }
        if entry.status is not None:
            attributes["http.response.status_code"] = entry.status
        if entry.waited_s:
            attributes["sidecar.wait"] = entry.waited_s
        if entry.reason is not None:
            attributes["sidecar.reason"] = str(entry.reason)
            if entry.reason == Reason.BREAKER_OPEN:
                attributes["sidecar.breaker"] = "open"
        if entry.served is not None:
            attributes |= _served_attributes(entry.served)
        failed = entry.outcome not in (Verdict.OK, CANCELLED)
        if failed:
            attributes["error.type"] = str(entry.reason or entry.status)
        unix_ns = self._desk.unix_ns
        return SpanRecord(
            name=f"{'HTTP' if entry.method == '_OTHER' else entry.method} {self._route}",
            client=False,
            trace_id=trace.trace_id,
            span_id=call.id,
            parent_id=trace.parent_id,
            parent_remote=True,
            state=trace.state,
            start_ns=unix_ns(call.started_s),
            end_ns=unix_ns(now_s),
            failed=failed,
            attributes=attributes,
            events=[
                (f"sidecar.{step}", unix_ns(when_s), {"sidecar.decision": decision})
                for step, decision, when_s in (call.decisions or ())[:EVENTS_MAX]
            ],
        )


def _served_attributes(served: Served) -> dict[str, str | float]:
    attributes: dict[str, str | float] = {"sidecar.served": served.source}
    if served.age_s is not None:
        attributes["sidecar.served.age"] = served.age_s
    if served.reason:
        attributes["sidecar.served.reason"] = str(served.reason)
        if served.reason == Reason.BREAKER_OPEN:
            attributes["sidecar.breaker"] = "open"
    return attributes
