"""Our meters' snapshots as the SDK's metric data, through its OTLP exporter. Imports the SDK: for a pump's thread only.

The SDK's asynchronous instruments cannot hand over histograms, and its synchronous ones cost more than a call may; so
the data is built from the SDK's own types and goes straight to its exporter.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)

from sidecar.telemetry.meters import Distribution, Instrument, Kind, Labels, Reading, Snapshot
from sidecar.telemetry.otlp import exporter_options, make_resource, make_scope
from sidecar.telemetry.settings import Destination

Collection: TypeAlias = list[Snapshot]
"""All metrics at one moment."""


class MetricSender:
    def __init__(self, destination: Destination, resource: Mapping[str, str], temporality: str) -> None:
        self._exporter = OTLPMetricExporter(**exporter_options(destination))
        # `lowmemory` differs from `delta` for asynchronous instruments only, and ours are all synchronous.
        self._convert = MetricConverter(resource, temporality != "cumulative", time.time_ns())

    def send(self, batch: Sequence[Collection]) -> bool:
        results = [self._exporter.export(self._convert(collection, time.time_ns())) for collection in batch]
        return all(result is MetricExportResult.SUCCESS for result in results)

    def stop(self) -> None:
        self._exporter.shutdown()


class MetricConverter:
    """Cumulative readings in; cumulative or delta points out. Levels and gauges are never deltas."""

    def __init__(self, resource: Mapping[str, str], delta: bool, since_ns: int) -> None:
        self._resource = make_resource(resource)
        self._scope = make_scope(resource)
        self._delta = delta
        self._since_ns = since_ns
        self._last: dict[tuple[str, Labels], Reading] = {}

    def __call__(self, collection: Collection, now_ns: int) -> MetricsData:
        metrics = [self._metric(snapshot, now_ns) for snapshot in collection]
        if self._delta:
            self._since_ns = now_ns
        return MetricsData([ResourceMetrics(self._resource, [ScopeMetrics(self._scope, metrics, "")], "")])

    def _metric(self, snapshot: Snapshot, now_ns: int) -> Metric:
        instrument, points = snapshot.instrument, snapshot.points
        temporality = AggregationTemporality.CUMULATIVE
        if self._delta and instrument.kind in (Kind.COUNTER, Kind.HISTOGRAM):
            temporality = AggregationTemporality.DELTA
            points = [(labels, self._since_last(instrument, labels, reading)) for labels, reading in points]
        data: Sum | Gauge | Histogram
        if instrument.kind is Kind.HISTOGRAM:
            data = Histogram(self._distributions(instrument, points, now_ns), temporality)
        elif instrument.kind is Kind.GAUGE:
            data = Gauge(self._numbers(instrument, points, now_ns))
        else:
            data = Sum(self._numbers(instrument, points, now_ns), temporality, instrument.kind is Kind.COUNTER)
        return Metric(instrument.name, instrument.description, instrument.unit, data)

    def _since_last(self, instrument: Instrument, labels: Labels, reading: Reading) -> Reading:
        key = (instrument.name, labels)
        last = self._last.get(key)
        self._last[key] = reading
        return reading if last is None else _difference(reading, last)

    def _numbers(
        self, instrument: Instrument, points: Sequence[tuple[Labels, Reading]], now_ns: int
    ) -> list[NumberDataPoint]:
        return [
            NumberDataPoint(_named(instrument, labels), self._since_ns, now_ns, reading)
            for labels, reading in points
            if not isinstance(reading, Distribution)
        ]

    def _distributions(
        self, instrument: Instrument, points: Sequence[tuple[Labels, Reading]], now_ns: int
    ) -> list[HistogramDataPoint]:
        return [
            HistogramDataPoint(
                _named(instrument, labels),
                self._since_ns,
                now_ns,
                count=reading.count,
                sum=reading.total,
                bucket_counts=reading.counts,
                explicit_bounds=reading.bounds,
                # Not kept: over a process's whole life they say little, and each would cost a comparison a call.
                min=None,  # type: ignore[arg-type]
                max=None,  # type: ignore[arg-type]
            )
            for labels, reading in points
            if isinstance(reading, Distribution)
        ]


def _difference(now: Reading, before: Reading) -> Reading:
    if isinstance(now, Distribution) and isinstance(before, Distribution):
        counts = tuple(new - old for new, old in zip(now.counts, before.counts, strict=True))
        return Distribution(now.bounds, counts, now.total - before.total)
    assert not isinstance(now, Distribution)
    assert not isinstance(before, Distribution)
    return now - before


def _named(instrument: Instrument, labels: Labels) -> dict[str, str | int]:
    named = zip(instrument.attributes, labels, strict=True)
    return {name: value for name, value in named if value is not None}
