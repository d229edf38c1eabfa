"""Every metric that the daemon has, and the name by which the daemon's parts know it.

`docs/telemetry.md` has a row for each, and a test says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

from sidecar.telemetry.meters import Child, Family, Instrument, Kind, Metric, Observed, Snapshot, Spread, Tally

MAX_CHILDREN: Final = 2000
"""Children of one instrument, as many as OpenTelemetry's SDKs allow by default."""

DURATION_BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""The semantic conventions' advice for `http.client.request.duration`."""

BREAKER_STATES: Final[Mapping[str, int]] = MappingProxyType(
    {"closed": 0, "half-open": 1, "open": 2, "forced-open": 3, "forced-closed": 4}
)
"""`sidecar.breaker.state` as numbers."""

_PROVIDER: Final = "sidecar.provider"
_ROUTE: Final = (_PROVIDER, "sidecar.route")

REQUEST_DURATION: Final = Instrument(
    Kind.HISTOGRAM,
    "http.client.request.duration",
    "s",
    "Time of one attempt, until the last byte of the reply.",
    (
        "http.request.method",
        "server.address",
        "server.port",
        "http.response.status_code",
        "error.type",
        "network.protocol.name",
        *_ROUTE,
    ),
)
CALLS: Final = Instrument(
    Kind.COUNTER, "sidecar.calls", "{call}", "Calls that ended.", (*_ROUTE, "sidecar.outcome", "sidecar.mode")
)
CALLS_ACTIVE: Final = Instrument(Kind.LEVEL, "sidecar.calls.active", "{call}", "Calls in flight.", (_PROVIDER,))
CALL_WAIT: Final = Instrument(
    Kind.HISTOGRAM,
    "sidecar.call.wait",
    "s",
    "Time that calls waited on purpose, in backoff or for the limiter; calls that did not wait are left out.",
    _ROUTE,
)
FAILURES: Final = Instrument(
    Kind.COUNTER, "sidecar.failures", "{call}", "Calls that the sidecar answered itself.", (*_ROUTE, "sidecar.reason")
)
SERVED: Final = Instrument(
    Kind.COUNTER,
    "sidecar.served",
    "{call}",
    "Calls answered with something other than the provider's fresh reply, and why nothing fresher was to be had.",
    (*_ROUTE, "sidecar.served", "sidecar.reason"),
)
ATTEMPTS: Final = Instrument(
    Kind.COUNTER, "sidecar.attempts", "{attempt}", "Attempts that ended.", (*_ROUTE, "sidecar.verdict")
)
RETRIES: Final = Instrument(Kind.COUNTER, "sidecar.retries", "{attempt}", "Attempts after a call's first.", _ROUTE)
RETRY_REFUSALS: Final = Instrument(
    Kind.COUNTER,
    "sidecar.retry.refusals",
    "{call}",
    "Calls that were not tried again because the provider's retry budget was spent.",
    (_PROVIDER,),
)
DECISIONS: Final = Instrument(
    Kind.COUNTER,
    "sidecar.decisions",
    "{decision}",
    "What steps decided beyond letting a call pass, or in a dry run would have decided.",
    (*_ROUTE, "sidecar.step", "sidecar.dry_run"),
)
BREAKER_REFUSALS: Final = Instrument(
    Kind.COUNTER,
    "sidecar.breaker.refusals",
    "{attempt}",
    "Attempts that a breaker refused, or in a dry run would have refused.",
    (_PROVIDER, "sidecar.scope"),
)
BREAKER_TRANSITIONS: Final = Instrument(
    Kind.COUNTER,
    "sidecar.breaker.transitions",
    "{transition}",
    "Breakers that changed their state, by the state they went to.",
    (_PROVIDER, "sidecar.scope", "sidecar.breaker"),
)
BREAKER_STATE: Final = Instrument(
    Kind.GAUGE,
    "sidecar.breaker.state",
    "{state}",
    "Breakers' states: 0 closed, 1 half-open, 2 open, 3 forced open, 4 forced closed.",
    (_PROVIDER, "sidecar.scope"),
)
LIMIT_WAITS: Final = Instrument(
    Kind.COUNTER, "sidecar.limit.waits", "{attempt}", "Attempts that waited for the limiter.", _ROUTE
)
LIMIT_REFUSALS: Final = Instrument(
    Kind.COUNTER,
    "sidecar.limit.refusals",
    "{attempt}",
    "Attempts that the limiter refused, or in a dry run would have refused.",
    (_PROVIDER, "sidecar.scope"),
)
CACHE_REQUESTS: Final = Instrument(
    Kind.COUNTER,
    "sidecar.cache.requests",
    "{request}",
    "Requests that came to the cache step, by what became of them there.",
    (*_ROUTE, "sidecar.cache.result"),
)
CACHE_SIZE: Final = Instrument(
    Kind.GAUGE, "sidecar.cache.size", "By", "What the kept replies weigh.", ("sidecar.cache.tier",)
)
CACHE_LIMIT: Final = Instrument(
    Kind.GAUGE, "sidecar.cache.limit", "By", "What they may weigh at most.", ("sidecar.cache.tier",)
)
CACHE_ENTRIES: Final = Instrument(
    Kind.GAUGE, "sidecar.cache.entries", "{entry}", "Replies that are kept.", ("sidecar.cache.tier",)
)
CACHE_EVICTIONS: Final = Instrument(
    Kind.COUNTER,
    "sidecar.cache.evictions",
    "{entry}",
    "Replies that made room for others.",
    ("sidecar.cache.tier",),
)
CACHE_DROPS: Final = Instrument(
    Kind.COUNTER,
    "sidecar.cache.drops",
    "{entry}",
    "Replies that a slower store was not given, because too many were waiting for it.",
    ("sidecar.cache.tier",),
)
CACHE_TIER_REQUESTS: Final = Instrument(
    Kind.COUNTER,
    "sidecar.cache.tier.requests",
    "{request}",
    "Lookups in the stores of replies, by what came of them.",
    ("sidecar.cache.tier", "sidecar.cache.result"),
)
UNKNOWN_HOSTS: Final = Instrument(
    Kind.COUNTER, "sidecar.unknown_hosts", "{call}", "Calls to hosts without a policy.", ("sidecar.action",)
)
HANDSHAKES: Final = Instrument(
    Kind.COUNTER, "sidecar.handshakes", "{handshake}", "Connections that came with TLS.", ("sidecar.result",)
)
AUTHORITY_EXPIRY: Final = Instrument(
    Kind.GAUGE, "sidecar.authority.expiry", "s", "Time until the authority's certificate ends.", ()
)
CONNECTIONS: Final = Instrument(
    Kind.GAUGE,
    "sidecar.connections",
    "{connection}",
    "Open connections, on the application's or the provider's side, active or idle.",
    ("sidecar.side", _PROVIDER, "sidecar.state"),
)
RELOADS: Final = Instrument(
    Kind.COUNTER,
    "sidecar.policy.reloads",
    "{reload}",
    "Loads of the policies, the first included.",
    ("sidecar.result",),
)
POLICY_AGE: Final = Instrument(
    Kind.GAUGE, "sidecar.policy.age", "s", "Time since the policies in force were loaded.", ()
)
POLICY_PROBLEMS: Final = Instrument(
    Kind.GAUGE, "sidecar.policy.problems", "{problem}", "Problems in the policy files as they are now.", ()
)
TROUBLES: Final = Instrument(
    Kind.GAUGE,
    "sidecar.troubles",
    "{trouble}",
    "What is done without just now, such as a file that cannot be written: 1, or 0 while all is well.",
    ("sidecar.part",),
)
TELEMETRY_DROPS: Final = Instrument(
    Kind.COUNTER,
    "sidecar.telemetry.drops",
    "{item}",
    "Spans, metric exports and log lines that were given up.",
    ("sidecar.signal", "sidecar.reason"),
)
OVERFLOWS: Final = Instrument(
    Kind.COUNTER,
    "sidecar.telemetry.overflows",
    "{lookup}",
    "Lookups of a child that an instrument had no room for.",
    ("sidecar.metric",),
)


class Meters:
    """The daemon's metrics. Labels go to `child` in the order of the instrument's attributes."""

    def __init__(self, max_children: int = MAX_CHILDREN) -> None:
        self._max_children = max_children
        self._all: list[Metric] = []
        seconds = partial(Spread, DURATION_BOUNDS_S)
        # Its own labels are metrics' names; were it to overflow, there would be nobody left to tell.
        self.overflows: Family[Tally] = Family(OVERFLOWS, Tally, max_children, lambda _: None)
        self._all.append(self.overflows)
        self.request_duration = self._family(REQUEST_DURATION, seconds)
        self.calls = self._family(CALLS, Tally)
        self.calls_active = self._family(CALLS_ACTIVE, Tally)
        self.call_wait = self._family(CALL_WAIT, seconds)
        self.failures = self._family(FAILURES, Tally)
        self.served = self._family(SERVED, Tally)
        self.attempts = self._family(ATTEMPTS, Tally)
        self.retries = self._family(RETRIES, Tally)
        self.retry_refusals = self._observed(RETRY_REFUSALS)
        self.decisions = self._family(DECISIONS, Tally)
        self.breaker_refusals = self._observed(BREAKER_REFUSALS)
        self.breaker_transitions = self._family(BREAKER_TRANSITIONS, Tally)
        self.breaker_state = self._observed(BREAKER_STATE)
        self.limit_waits = self._family(LIMIT_WAITS, Tally)
        self.limit_refusals = self._observed(LIMIT_REFUSALS)
        self.cache_requests = self._family(CACHE_REQUESTS, Tally)
        self.cache_size = self._observed(CACHE_SIZE)
        self.cache_limit = self._observed(CACHE_LIMIT)
        self.cache_entries = self._observed(CACHE_ENTRIES)
        self.cache_evictions = self._observed(CACHE_EVICTIONS)
        self.cache_drops = self._observed(CACHE_DROPS)
        self.cache_tier_requests = self._observed(CACHE_TIER_REQUESTS)
        self.unknown_hosts = self._family(UNKNOWN_HOSTS, Tally)
        self.handshakes = self._family(HANDSHAKES, Tally)
        self.authority_expiry = self._observed(AUTHORITY_EXPIRY)
        self.connections = self._observed(CONNECTIONS)
        self.reloads = self._family(RELOADS, Tally)
        self.policy_age = self._observed(POLICY_AGE)
        self.policy_problems = self._observed(POLICY_PROBLEMS)
        self.troubles = self._observed(TROUBLES)
        self.telemetry_drops = self._family(TELEMETRY_DROPS, Tally)

    @property
    def instruments(self) -> list[Instrument]:
        return [metric.instrument for metric in self._all]

    def collect(self) -> list[Snapshot]:
        """Every metric that has a value. Call it on the loop's thread, so that nothing changes meanwhile."""
        return [snapshot for metric in self._all if (snapshot := metric.collect()).points]

    def _family(self, instrument: Instrument, make: Callable[[], Child]) -> Family[Child]:
        family = Family(instrument, make, self._max_children, self._overflowed)
        self._all.append(family)
        return family

    def _observed(self, instrument: Instrument) -> Observed:
        observed = Observed(instrument, self._max_children, self._overflowed)
        self._all.append(observed)
        return observed

    def _overflowed(self, metric: str) -> None:
        self.overflows.child(metric).add()
