"""Span records as the SDK's spans, through its OTLP exporter. Imports the SDK: for a pump's thread only.

Spans are built finished, since ids, times and the sampling decision were ours: the call's span has the id that the
application reads in the `Sidecar` header.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from sidecar.telemetry.otlp import exporter_options, make_resource, make_scope
from sidecar.telemetry.settings import Destination
from sidecar.telemetry.spans import SpanRecord

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_ERROR = Status(StatusCode.ERROR)
_UNSET = Status(StatusCode.UNSET)


class SpanSender:
    def __init__(self, destination: Destination, resource: Mapping[str, str]) -> None:
        self._exporter = OTLPSpanExporter(**exporter_options(destination))
        self._resource = make_resource(resource)
        self._scope = make_scope(resource)

    def send(self, batch: Sequence[SpanRecord]) -> bool:
        return self._exporter.export([self._span(record) for record in batch]) is SpanExportResult.SUCCESS

    def stop(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def _span(self, record: SpanRecord) -> ReadableSpan:
        trace_id, state = int(record.trace_id, 16), _state(record.state)
        parent = None
        if record.parent_id is not None:
            parent = SpanContext(trace_id, int(record.parent_id, 16), record.parent_remote, _SAMPLED, state)
        return ReadableSpan(
            name=record.name,
            context=SpanContext(trace_id, int(record.span_id, 16), False, _SAMPLED, state),
            parent=parent,
            resource=self._resource,
            attributes=record.attributes,
            events=[Event(name, attributes, when_ns) for name, when_ns, attributes in record.events],
            kind=SpanKind.CLIENT if record.client else SpanKind.INTERNAL,
            status=_ERROR if record.failed else _UNSET,
            start_time=record.start_ns,
            end_time=record.end_ns,
            instrumentation_scope=self._scope,
        )


def _state(state: str) -> TraceState | None:
    """Members were checked when they came; keys that only Level 2 allows are the SDK's to leave out."""
    if not state:
        return None
    members = (member.partition("=") for member in state.split(","))
    return TraceState([(key, value) for key, _, value in members])
