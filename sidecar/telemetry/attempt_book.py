"""What is written down of every attempt: its duration, its verdict, a span if the call is sampled."""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.call import Outcome, Reply
from sidecar.errors import Verdict, WireError
from sidecar.steps.measure import Attempt
from sidecar.telemetry.desk import CANCELLED, Desk, method_label, not_answered
from sidecar.telemetry.meters import Spread, Tally
from sidecar.telemetry.spans import SpanRecord


@dataclass(frozen=True, slots=True)
class Origin:
    """Whom an attempt talks to."""

    host: str
    port: int
    url: str
    """`url.full` of its spans: the origin and the route's template, nothing of the call's own target."""
    template: str | None


def make_origin(scheme: str, host: str, port: int, template: str | None) -> Origin:
    authority = f"[{host}]" if ":" in host else host
    if port != (443 if scheme == "https" else 80):
        authority += f":{port}"
    # Paths carry names, tokens and card numbers; the template says which route it was, and nothing about whom.
    return Origin(host, port, f"{scheme}://{authority}{template or '/REDACTED'}", template)


class AttemptBook:
    """`steps.measure.AttemptBook` for one route at one origin."""

    __slots__ = ("_children", "_desk", "_now", "_offer_span", "_origin", "_provider", "_route")

    def __init__(self, desk: Desk, provider: str, route: str, origin: Origin) -> None:
        self._desk = desk
        self._provider = provider
        self._route = route
        self._origin = origin
        self._now = desk.clock.now
        self._offer_span = desk.offer_span
        self._children: dict[tuple[str, int | None, str | None, str], tuple[Spread, Tally]] = {}

    def ended(self, attempt: Attempt, outcome: Outcome | None, error: BaseException | None) -> None:
        now_s = self._now()
        call = attempt.call
        verdict: str
        error_type: str | None
        status: int | None = None
        if isinstance(outcome, Reply):
            status, verdict = outcome.status, outcome.verdict
            error_type = str(status) if status >= 400 else None
            if error is not None and isinstance(error, WireError):
                verdict, error_type = Verdict.TRANSIENT, error.reason
        elif outcome is not None:
            verdict, error_type = outcome.verdict, outcome.reason
        else:
            verdict, error_type = not_answered(error)
        key = (call.method, status, error_type, verdict)
        children = self._children.get(key)
        if children is None:
            children = self._find(*key)
        children[0].observe(now_s - attempt.started_s)
        children[1].value += 1
        trace = call.trace
        if trace is not None and trace.sampled and self._offer_span is not None:
            self._offer_span(self._span(attempt, status, error_type, verdict, now_s))

    def _find(self, method: str, status: int | None, error_type: str | None, verdict: str) -> tuple[Spread, Tally]:
        meters, origin, label = self._desk.meters, self._origin, method_label(method)
        error_label = None if error_type is None else str(error_type)
        duration = meters.request_duration.child(
            label, origin.host, origin.port, status, error_label, "http", self._provider, self._route
        )
        children = (duration, meters.attempts.child(self._provider, self._route, str(verdict)))
        # Methods that anyone can make up are looked up each time, so that nothing grows with them.
        if label == method:
            self._children[method, status, error_type, verdict] = children
        return children

    def _span(
        self, attempt: Attempt, status: int | None, error_type: str | None, verdict: str, now_s: float
    ) -> SpanRecord:
        call, origin = attempt.call, self._origin
        trace = call.trace
        assert trace is not None
        method = method_label(call.method)
        attributes: dict[str, str | int | float | bool] = {
            "http.request.method": method,
            "server.address": origin.host,
            "server.port": origin.port,
            "url.full": origin.url,
            "network.protocol.name": "http",
            "sidecar.provider": self._provider,
            "sidecar.route": self._route,
            "sidecar.verdict": str(verdict),
        }
        name = "HTTP" if method == "_OTHER" else method
        if origin.template is not None:
            attributes["url.template"] = origin.template
            name = f"{name} {origin.template}"
        if status is not None:
            attributes["http.response.status_code"] = status
        if error_type is not None:
            attributes["error.type"] = str(error_type)
        if attempt.number > 1:
            attributes["http.request.resend_count"] = attempt.number - 1
        return SpanRecord(
            name=name,
            client=True,
            trace_id=trace.trace_id,
            span_id=attempt.span_id,
            parent_id=call.id,
            parent_remote=False,
            state=trace.state,
            start_ns=self._desk.unix_ns(attempt.started_s),
            end_ns=self._desk.unix_ns(now_s),
            failed=error_type is not None and verdict != CANCELLED,
            attributes=attributes,
        )
