"""The daemon's telemetry in one piece: where a compile gets its steps, and what starts and stops with the process."""

from __future__ import annotations

import asyncio
import sys
from importlib import import_module
from typing import Any, Final

from sidecar.clock import Alarm, Clock
from sidecar.steps.base import Step
from sidecar.steps.measure import MeasureAttempts, MeasureSettings
from sidecar.steps.trace import TraceCalls, TraceSettings
from sidecar.telemetry.attempt_book import AttemptBook, make_origin
from sidecar.telemetry.cache_book import CacheBook
from sidecar.telemetry.calls import CALLS_KEPT, CallLog
from sidecar.telemetry.desk import Desk
from sidecar.telemetry.instruments import MAX_CHILDREN, Meters
from sidecar.telemetry.logs import LineWriter, Repeats
from sidecar.telemetry.meters import Snapshot
from sidecar.telemetry.pump import Pump, PumpSettings, Sender
from sidecar.telemetry.route_book import RouteBook
from sidecar.telemetry.sampling import follow_parent, make_sampler
from sidecar.telemetry.settings import Destination, TelemetrySettings
from sidecar.telemetry.spans import SpanRecord

_SWITCH_INTERVAL_S: Final = 0.0005
"""How long an exporting thread may keep the interpreter while the loop has work; 5 ms would show in every p99."""


class Telemetry:
    """`meters` is for whoever counts, `calls` for `/calls`. Nothing runs and nothing is imported before `start`."""

    def __init__(
        self,
        settings: TelemetrySettings,
        clock: Clock,
        *,
        calls_kept: int = CALLS_KEPT,
        max_children: int = MAX_CHILDREN,
    ) -> None:
        self.meters = Meters(max_children)
        self.calls = CallLog(clock, calls_kept)
        self._settings = settings
        self._clock = clock
        self._next_export: Alarm | None = None
        self._spans = self._span_pump(settings.traces) if settings.traces else None
        self._metrics = self._metric_pump(settings.metrics) if settings.metrics else None
        offer_span = self._spans.offer if self._spans is not None else None
        self._desk = Desk(self.meters, self.calls, clock, Repeats(), offer_span)
        self._trace_settings = TraceSettings(
            # Somebody must make the spans that a sampled trace promises.
            sample=make_sampler(settings.sampler, settings.sample_ratio) if self._spans else follow_parent,
            mint=not settings.disabled,
        )
        self._measure_settings = MeasureSettings(spans=self._spans is not None, own_ids=not settings.disabled)

    def trace_step(self, provider: str, route: str) -> Step:
        """The outermost step of a route's pipeline."""
        return TraceCalls(self._trace_settings, RouteBook(self._desk, provider, route))

    def measure_step(
        self, provider: str, route: str, host: str, port: int, *, scheme: str = "https", template: str | None = None
    ) -> Step:
        """The step around each attempt. `template` is the route's path as the policy has it, None when none matched."""
        origin = make_origin(scheme, host, port, template)
        book = AttemptBook(self._desk, provider, route, origin)
        return MeasureAttempts(self._measure_settings, book)

    def cache_book(self, provider: str, route: str) -> CacheBook:
        """Where a route's cache step counts what becomes of its requests."""
        return CacheBook(self.meters, provider, route)

    def count_log_drops(self, writer: LineWriter) -> None:
        """Report the lines that `writer` gave up among the drops."""
        drops = self.meters.telemetry_drops.child("logs", "queue-full")
        writer.on_drop = drops.add

    def start(self) -> None:
        """Begin to export, if the settings name a collector."""
        if self._spans is None and self._metrics is None:
            return
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        if self._spans is not None:
            self._spans.start()
        if self._metrics is not None:
            self._metrics.start()
            self._arm()

    async def shutdown(self, timeout_s: float = 5.0) -> None:
        """Send what is left, for at most about `timeout_s`; the loop goes on meanwhile."""
        if self._next_export is not None:
            self._next_export.cancel()
        self._export_metrics()
        pumps = [pump for pump in (self._spans, self._metrics) if pump is not None]
        await asyncio.gather(*(asyncio.to_thread(pump.close, timeout_s) for pump in pumps))

    async def expose(self, accept: str = "") -> tuple[bytes, str]:
        """`/metrics`: (body, content type) in the format that an `Accept` header asks for."""
        snapshots = self.meters.collect()
        return await asyncio.to_thread(_expose, snapshots, self._settings.resource, accept)

    def _arm(self) -> None:
        self._next_export = self._clock.at(self._clock.now() + self._settings.metrics_interval_s, self._tick)

    def _tick(self) -> None:
        self._export_metrics()
        self._arm()

    def _export_metrics(self) -> None:
        if self._metrics is not None:
            self._metrics.offer(self.meters.collect())

    def _span_pump(self, destination: Destination) -> Pump[SpanRecord]:
        settings = self._settings
        pump = PumpSettings("traces", settings.spans_queued, settings.spans_per_export, settings.spans_delay_s)

        def connect() -> Sender[SpanRecord]:
            sender: Sender[SpanRecord] = _late("otlp_spans").SpanSender(destination, settings.resource)
            return sender

        return Pump(pump, connect, *self._drops("traces"))

    def _metric_pump(self, destination: Destination) -> Pump[list[Snapshot]]:
        settings = self._settings
        # Cumulative readings: while one collection waits for a slow collector, newer ones may be left out.
        pump = PumpSettings("metrics", 1, 1, settings.metrics_interval_s)

        def connect() -> Sender[list[Snapshot]]:
            make = _late("otlp_metrics").MetricSender
            sender: Sender[list[Snapshot]] = make(destination, settings.resource, settings.temporality)
            return sender

        return Pump(pump, connect, *self._drops("metrics"))

    def _drops(self, signal: str) -> tuple[Any, Any]:
        drops = self.meters.telemetry_drops
        return drops.child(signal, "queue-full"), drops.child(signal, "undelivered")


def _late(module: str) -> Any:
    """Modules that import an SDK cost megabytes and tenths of a second: only those who use one pay, on its thread."""
    return import_module(f"sidecar.telemetry.{module}")


def _expose(snapshots: list[Snapshot], resource: Any, accept: str) -> tuple[bytes, str]:
    body, content_type = _late("prometheus").expose(snapshots, resource, accept)
    return body, content_type
