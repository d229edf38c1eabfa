"""Every metric that the daemon has, by the name under which the parts of the daemon know it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

from sidecar.telemetry.meters import Family, Gauge, Instrument, Kind, Snapshot, Spread, Tally

MAX_CHILDREN: Final = 2000
"""Children of one instrument, as many as OpenTelemetry's SDKs allow by default."""

DURATION_BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""The semantic conventions' advice for `http.client.request.duration`."""

BREAKER_STATES: Final[Mapping[str, int]] = MappingProxyType(
    {"closed": 0, "half-open": 1, "open": 2, "forced-open": 3, "forced-closed": 4}
)
"""`sidecar.breaker.state` as numbers."""

_KNOWN_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"))


def method_label(method: str) -> str:
    """`http.request.method`: methods that no standard names share one value, as anyone can make them up."""
    return method if method in _KNOWN_METHODS else "_OTHER"


class Meters:
    """One attribute for each metric; `docs/telemetry.md` has a row for each. Labels go in the order given here."""

    def __init__(self, max_children: int = MAX_CHILDREN) -> None:
        self._all: list[Family[Tally] | Family[Spread] | Gauge] = []
        overflow = Instrument(
            Kind.COUNTER,
            "sidecar.telemetry.overflows",
            "{lookup}",
            "Lookups that went to an instrument's `other` child because it has as many children as it may.",
            ("sidecar.metric",),
        )
        # Its own labels are metric names, so it cannot overflow.
        self._overflows: Family[Tally] = Family(overflow, Tally, max_children, lambda _: None)
        self._all.append(self._overflows)
        self._max_children = max_children
        counter = partial(self._family, Kind.COUNTER)
        provider_route = ("sidecar.provider", "sidecar.route")

        self.request_duration = self._histogram(
            "http.client.request.duration",
            "Time of one attempt, until the last byte of the reply.",
            "http.request.method",
            "server.address",
            "server.port",
            "http.response.status_code",
            "error.type",
            "network.protocol.name",
            *provider_route,
        )
        self.calls = counter(
            "sidecar.calls", "{call}", "Calls that ended.", *provider_route, "sidecar.outcome", "sidecar.mode"
        )
        self.calls_active = self._family(
            Kind.LEVEL, "sidecar.calls.active", "{call}", "Calls in flight.", "sidecar.provider"
        )
        self.call_wait = self._histogram(
            "sidecar.call.wait",
            "Time that calls waited on purpose, in backoff or for the limiter; calls that did not are not in it.",
            *provider_route,
        )
        self.failures = counter(
            "sidecar.failures", "{call}", "Calls that the sidecar answered itself.", *provider_route, "sidecar.reason"
        )
        self.attempts = counter(
            "sidecar.attempts", "{attempt}", "Attempts that ended.", *provider_route, "sidecar.verdict"
        )
        self.retries = counter("sidecar.retries", "{attempt}", "Attempts after a call's first.", *provider_route)
        self.retries_refused = counter(
            "sidecar.retries.refused",
            "{call}",
            "Calls that would have been tried again, but were not: the retry budget was spent.",
            "sidecar.provider",
        )
        self.dry_run_decisions = counter(
            "sidecar.dry_run.decisions",
            "{decision}",
            "What steps in a dry run would have done.",
            *provider_route,
            "sidecar.step",
        )
        self.breaker_transitions = counter(
            "sidecar.breaker.transitions",
            "{transition}",
            "Breakers that changed their state, by the state they went to.",
            "sidecar.provider",
            "sidecar.scope",
            "sidecar.breaker",
        )
        self.breaker_state = self._gauge(
            "sidecar.breaker.state",
            "{state}",
            "Breakers' states: 0 closed, 1 half-open, 2 open, 3 forced open, 4 forced closed.",
            "sidecar.provider",
            "sidecar.scope",
        )
        self.limit_waits = counter(
            "sidecar.limit.waits", "{attempt}", "Attempts that waited for the limiter.", "sidecar.provider"
        )
        self.limit_refusals = counter(
            "sidecar.limit.refusals",
            "{attempt}",
            "Attempts that the limiter refused.",
            "sidecar.provider",
            "sidecar.reason",
        )
        self.unknown_hosts = counter(
            "sidecar.unknown_hosts", "{call}", "Calls to hosts without a policy.", "sidecar.action"
        )
        self.connections = self._gauge(
            "sidecar.connections",
            "{connection}",
            "Open connections: `sidecar.side` is `app` or `provider`, `sidecar.state` is `active` or `idle`.",
            "sidecar.side",
            "sidecar.provider",
            "sidecar.state",
        )
        self.reloads = counter(
            "sidecar.policy.reloads", "{reload}", "Policy loads: `ok` or `failed`.", "sidecar.result"
        )
        self.policy_age = self._gauge("sidecar.policy.age", "s", "Time since the policies in force were loaded.")
        self.policy_problems = self._gauge(
            "sidecar.policy.problems", "{problem}", "Problems in the policy files as they are now."
        )
        self.telemetry_drops = counter(
            "sidecar.telemetry.drops",
            "{item}",
            "Spans, metric exports and log lines that were given up.",
            "sidecar.signal",
            "sidecar.reason",
        )

    def collect(self) -> list[Snapshot]:
        """Everything, now. On the loop's thread, so that nothing changes meanwhile."""
        return [snapshot for metric in self._all if (snapshot := metric.collect()).points]

    @property
    def instruments(self) -> list[Instrument]:
        return [metric.instrument for metric in self._all]

    def _family(self, kind: Kind, name: str, unit: str, description: str, *attributes: str) -> Family[Tally]:
        return self._add(Instrument(kind, name, unit, description, attributes), Tally)

    def _histogram(self, name: str, description: str, *attributes: str) -> Family[Spread]:
        family: Family[Spread] = Family(
            Instrument(Kind.HISTOGRAM, name, "s", description, attributes),
            partial(Spread, DURATION_BOUNDS_S),
            self._max_children,
            self._overflowed,
        )
        self._all.append(family)
        return family

    def _gauge(self, name: str, unit: str, description: str, *attributes: str) -> Gauge:
        gauge = Gauge(Instrument(Kind.GAUGE, name, unit, description, attributes), self._max_children, self._overflowed)
        self._all.append(gauge)
        return gauge

    def _add(self, instrument: Instrument, make: Callable[[], Tally]) -> Family[Tally]:
        family: Family[Tally] = Family(instrument, make, self._max_children, self._overflowed)
        self._all.append(family)
        return family

    def _overflowed(self, metric: str) -> None:
        self._overflows.child(metric).add()
