"""Every provider on one line: whose it is, what for, and how it is doing.

What may live here: summing up what others counted. Counts and times are since the process started.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sidecar.admin.port import Row
from sidecar.errors import Verdict
from sidecar.policy.model import ProviderPolicy
from sidecar.telemetry.meters import Distribution, Snapshot

BLAMED: Final = frozenset({Verdict.TRANSIENT, Verdict.UNREACHABLE, Verdict.THROTTLED, Verdict.EXHAUSTED})
"""Verdicts that are the provider's failures; a request that it rejects is none of them."""
QUANTILES: Final = {"p50_s": 0.5, "p95_s": 0.95, "p99_s": 0.99}
SOUND: Final = frozenset({"closed", "forced-closed"})
SOURCES: Final = ("cache", "stale", "fallback")
OPEN: Final = frozenset({"open", "forced-open"})


def catalog(
    policies: Iterable[ProviderPolicy],
    breakers: Sequence[Row],
    attempts: Snapshot,
    durations: Snapshot,
    served: Snapshot,
) -> list[Row]:
    """One row a provider, in the policies' order."""
    counts = _counts(attempts)
    times = _times(durations)
    stood_in = _counts(served)
    return [
        {
            **_about(policy),
            **_health([row for row in breakers if row["provider"] == policy.provider]),
            **_successes(counts.get(policy.provider, {})),
            **_quantiles(times.get(policy.provider)),
            "served": _served(stood_in.get(policy.provider, {})),
        }
        for policy in policies
    ]


def _about(policy: ProviderPolicy) -> Row:
    about, origin = policy.about, policy.origin
    return {
        "provider": policy.provider,
        "purpose": about.purpose,
        "owner": about.owner,
        "docs": about.docs,
        "updated": about.updated,
        "hosts": policy.hosts,
        "upstream": None if origin is None else str(origin),
    }


def _health(breakers: Sequence[Row]) -> Row:
    """`down` when every breaker is open, `degraded` when not all are closed."""
    broken = [row["scope"] for row in breakers if row["state"] not in SOUND]
    if not broken:
        return {"status": "operational", "breakers_open": []}
    down = all(row["state"] in OPEN for row in breakers)
    return {"status": "down" if down else "degraded", "breakers_open": broken}


def _counts(snapshot: Snapshot) -> Mapping[str, dict[str, int]]:
    """By provider and the attribute behind the route (a verdict, a source), everything else together."""
    counts: dict[str, dict[str, int]] = {}
    for (provider, _, kind, *_), count in snapshot.points:
        by_kind = counts.setdefault(str(provider), {})
        by_kind[str(kind)] = by_kind.get(str(kind), 0) + int(count)  # type: ignore[arg-type]
    return counts


def _served(by_source: Mapping[str, int]) -> Row:
    return {source: by_source.get(source, 0) for source in SOURCES}


def _successes(by_verdict: Mapping[str, int]) -> Row:
    total = sum(by_verdict.values())
    failed = sum(by_verdict.get(verdict, 0) for verdict in BLAMED)
    return {"attempts": total, "success_ratio": round(1 - failed / total, 4) if total else None}


def _times(snapshot: Snapshot) -> Mapping[str, Distribution]:
    """Attempts' durations by provider, everything else together."""
    at = snapshot.instrument.attributes.index("sidecar.provider")
    times: dict[str, Distribution] = {}
    for labels, reading in snapshot.points:
        assert isinstance(reading, Distribution)
        known = times.get(str(labels[at]))
        times[str(labels[at])] = reading if known is None else _together(known, reading)
    return times


def _together(one: Distribution, other: Distribution) -> Distribution:
    counts = tuple(a + b for a, b in zip(one.counts, other.counts, strict=True))
    return Distribution(one.bounds, counts, one.total + other.total)


def _quantiles(times: Distribution | None) -> dict[str, Any]:
    return {name: None if times is None else _quantile(times, share) for name, share in QUANTILES.items()}


def _quantile(times: Distribution, share: float) -> float | None:
    """Estimated by a straight line within its bucket, as Prometheus does; the last bucket has only a lower bound."""
    rank = share * times.count
    seen, low = 0, 0.0
    for count, high in zip(times.counts, times.bounds, strict=False):
        if count and seen + count >= rank:
            return round(low + (high - low) * (rank - seen) / count, 6)
        seen, low = seen + count, high
    return low if times.count else None
