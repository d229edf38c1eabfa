"""Our meters' snapshots as the Prometheus and OpenMetrics text formats, through prometheus_client's encoders.

Names follow OpenTelemetry's rules for Prometheus: dots become underscores, units and `_total` are appended. Imports the
client, which is slow and large: import this file when somebody scrapes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final

from prometheus_client import ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder

from sidecar.telemetry.meters import Distribution, Kind, Labels, Snapshot

_FAMILIES: Final[Mapping[Kind, Any]] = {
    Kind.COUNTER: CounterMetricFamily,
    Kind.LEVEL: GaugeMetricFamily,
    Kind.GAUGE: GaugeMetricFamily,
    Kind.HISTOGRAM: HistogramMetricFamily,
}

_UNITS: Final[Mapping[str, str]] = {"s": "seconds", "By": "bytes"}
"""UCUM's symbols that OpenTelemetry spells out in a name; annotations such as `{call}` are left off."""


def expose(snapshots: Sequence[Snapshot], resource: Mapping[str, str], accept: str) -> tuple[bytes, str]:
    """(body, content type) in the best format that an Accept header takes."""
    encode, content_type = choose_encoder(accept)
    return encode(_Collected(snapshots, resource)), content_type


class _Collected:
    """Looks like a registry to the encoders, which ask nothing of one but this."""

    def __init__(self, snapshots: Sequence[Snapshot], resource: Mapping[str, str]) -> None:
        self._snapshots = snapshots
        self._resource = resource

    def collect(self) -> Iterator[Any]:
        labels = {_flat(name): value for name, value in self._resource.items()}
        yield InfoMetricFamily("target", "What these metrics are about.", labels)
        yield from map(_family, self._snapshots)
        yield from ProcessCollector(registry=None).collect()


def _family(snapshot: Snapshot) -> Any:
    instrument = snapshot.instrument
    unit = _UNITS.get(instrument.unit, "")
    name = _flat(instrument.name) + (f"_{unit}" if unit else "")
    names = [_flat(attribute) for attribute in instrument.attributes]
    family = _FAMILIES[instrument.kind](name, instrument.description, labels=names, unit=unit)
    for labels, reading in snapshot.points:
        if isinstance(reading, Distribution):
            family.add_metric(_texts(labels), _running(reading), reading.total)
        else:
            family.add_metric(_texts(labels), reading)
    return family


def _running(reading: Distribution) -> list[tuple[str, float]]:
    """(upper bound, how many at or below it)."""
    bounds = [*map(str, reading.bounds), "+Inf"]
    return list(zip(bounds, accumulate(reading.counts), strict=True))


def _texts(labels: Labels) -> list[str]:
    """An empty label is as good as none."""
    return ["" if label is None else str(label) for label in labels]


def _flat(name: str) -> str:
    return name.replace(".", "_").replace("-", "_")
