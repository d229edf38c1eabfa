"""Metrics whose values others keep, and the news of breakers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sidecar.http1.server import Server
from sidecar.policy.keep import Keep
from sidecar.rules.breaker import Circuit, CircuitBreaker, CircuitBreakerListener
from sidecar.serving.directory import Directory
from sidecar.serving.opening import Opening
from sidecar.serving.reload import PoliciesInForce
from sidecar.serving.upstreams import Upstreams
from sidecar.telemetry.instruments import BREAKER_STATES, Meters
from sidecar.telemetry.meters import Readings

if TYPE_CHECKING:
    from sidecar.stores.tiers import Tiers

log = logging.getLogger(__name__)


class BreakerNews(CircuitBreakerListener):
    """Counts and logs every transition."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters
        self.find: Callable[[str, str], Circuit | None] = lambda _provider, _scope: None

    def state_change(self, cb: CircuitBreaker, old_state: Any, new_state: Any) -> None:
        provider, _, scope = str(cb.name).partition("/")
        circuit = self.find(provider, scope)
        if circuit is None or not circuit.history:
            return
        move = circuit.history[-1]
        self._meters.breaker_transitions.child(provider, scope, str(move.after)).add()
        extra = {"provider": provider, "scope": scope, "breaker": str(move.after), "decision": move.cause}
        log.warning("a breaker changed its state", extra=extra)


def watch(
    meters: Meters, policies: PoliciesInForce[Directory], keep: Keep, upstreams: Upstreams, server: Server
) -> None:
    """Have `meters` ask for what it does not count itself."""

    def connections() -> Readings:
        active = server.in_flight
        yield ("application", None, "active"), active
        yield ("application", None, "idle"), max(0, len(server.connections) - active)
        for provider, opened, idle in _by_provider(upstreams):
            yield ("provider", provider, "active"), opened - idle
            yield ("provider", provider, "idle"), idle

    meters.connections.watch(connections)
    meters.policy_age.watch(lambda: [] if policies.loaded is None else [((), policies.age_s)])
    meters.policy_problems.watch(lambda: [((), len(policies.problems))])
    meters.breaker_state.watch(
        lambda: [((provider, scope), BREAKER_STATES[one.state]) for provider, scope, one in keep.circuits()]
    )
    meters.breaker_refusals.watch(
        lambda: [((provider, scope), one.refused) for provider, scope, one in keep.circuits()]
    )
    meters.limit_refusals.watch(lambda: [((provider, scope), one.refused) for provider, scope, one in keep.limiters()])
    meters.retry_refusals.watch(lambda: _sums((provider, one.refused) for provider, _, one in keep.budgets()))


def watch_authority(meters: Meters, opening: Opening) -> None:
    """The same for who signs."""

    def expiry() -> Readings:
        authority = opening.authority
        return [] if authority is None else [((), authority.expires_in_s())]

    meters.authority_expiry.watch(expiry)


def watch_troubles(meters: Meters, troubles: Callable[[], Mapping[str, str]]) -> None:
    """The same for what is done without."""
    meters.troubles.watch(lambda: [((part,), int(bool(detail))) for part, detail in troubles().items()])


def watch_cache(meters: Meters, tiers: Tiers) -> None:
    """The same for what is kept."""

    def requests() -> Readings:
        for one in tiers.stats():
            yield (one.tier, "hit"), one.hits
            yield (one.tier, "miss"), one.misses
            yield (one.tier, "error"), one.errors

    meters.cache_entries.watch(lambda: _known((one.tier, one.entries) for one in tiers.stats()))
    meters.cache_size.watch(lambda: _known((one.tier, one.size_bytes) for one in tiers.stats()))
    meters.cache_limit.watch(lambda: _known((one.tier, one.bound_bytes) for one in tiers.stats()))
    meters.cache_evictions.watch(lambda: [((one.tier,), one.evictions) for one in tiers.stats()])
    meters.cache_drops.watch(lambda: [((one.tier,), one.dropped) for one in tiers.stats()])
    meters.cache_tier_requests.watch(requests)


def _known(values: Iterator[tuple[str, int | None]]) -> Readings:
    """What a tier can tell: not every one knows its size."""
    return [((tier,), value) for tier, value in values if value is not None]


def _by_provider(upstreams: Upstreams) -> Iterator[tuple[str, int, int]]:
    """(provider, open, idle), all of its origins together."""
    sums: dict[str, tuple[int, int]] = {}
    for provider, opened, idle in upstreams.connections():
        before = sums.get(provider, (0, 0))
        sums[provider] = before[0] + opened, before[1] + idle
    for provider, (opened, idle) in sums.items():
        yield provider, opened, idle


def _sums(counts: Iterator[tuple[str, int]]) -> Readings:
    sums: dict[str, int] = {}
    for provider, count in counts:
        sums[provider] = sums.get(provider, 0) + count
    return [((provider,), count) for provider, count in sums.items()]
