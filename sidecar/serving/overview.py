"""What the daemon can tell of itself, gathered from those who know (`admin.port.State`)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from sidecar.admin.catalog import catalog
from sidecar.admin.port import Check, Row, Selection, Trouble
from sidecar.clock import Clock
from sidecar.policy.keep import Keep
from sidecar.rules.breaker import CircuitState
from sidecar.serving.directory import Directory
from sidecar.serving.opening import Opening
from sidecar.serving.reload import PoliciesInForce
from sidecar.serving.unknown import UnknownHosts
from sidecar.telemetry.telemetry import Telemetry

if TYPE_CHECKING:
    from sidecar.serving.cached import CachedReplies

log = logging.getLogger(__name__)

FORCED: Final = {
    "forced-open": CircuitState.FORCED_OPEN,
    "forced-closed": CircuitState.FORCED_CLOSED,
    "auto": None,
}
PROBLEMS_SHOWN: Final = 20
"""What fits a probe's answer; `/policies` has them all."""


class Life:
    """How far the process has come: starting, serving, draining."""

    def __init__(self) -> None:
        self.serving = False
        """Calls are taken."""
        self.waiting = False
        """Calls are refused until the first policies are fit."""
        self.stopped_by = ""
        """The signal that ends it; empty before one came."""
        self.started = False
        """It has been ready once."""


class Overview:
    """`State` for one daemon."""

    def __init__(
        self,
        *,
        life: Life,
        policies: PoliciesInForce[Directory],
        keep: Keep,
        unknown: UnknownHosts,
        opening: Opening,
        telemetry: Telemetry,
        clock: Clock,
        troubles: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """`troubles` tells what each part that may be done without lacks; empty texts for those that are well."""
        self._life = life
        self._troubles = troubles
        self._policies = policies
        self._keep = keep
        self._unknown = unknown
        self._opening = opening
        self._telemetry = telemetry
        self._clock = clock
        self.cached_replies: CachedReplies | None = None
        """Set once a policy caches anything."""

    @property
    def started(self) -> bool:
        return self._life.started

    def checks(self) -> Sequence[Check]:
        life = self._life
        not_taken = "calls are refused until there are policies" if life.waiting else "calls are not taken"
        return (
            Check("policies", self._policies.loaded is not None, self._unfit()),
            Check("listener", life.serving, "" if life.serving else not_taken),
            Check("drain", not life.stopped_by, life.stopped_by and f"stopping, because of {life.stopped_by}"),
        )

    def _unfit(self) -> str:
        """Why there are no policies; empty where there are."""
        if self._policies.loaded is not None:
            return ""
        problems = self._policies.problems
        said = ["no policies are in force yet", *(one.text() for one in problems[:PROBLEMS_SHOWN])]
        if len(problems) > PROBLEMS_SHOWN:
            said.append(f"{len(problems) - PROBLEMS_SHOWN} more stand on /policies")
        return "; ".join(said)

    def troubles(self) -> Sequence[Trouble]:
        parts = [Trouble(part, detail) for part, detail in self._troubles().items() if detail]
        return [*parts, *(Trouble("policies", one.text()) for one in self._policies.warnings)]

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        return await self._telemetry.expose(accept)

    def policies(self) -> Row:
        return self._policies.as_json()

    async def reload(self) -> bool:
        return await self._policies.reload()

    def breakers(self) -> Sequence[Row]:
        now_s = self._clock.now()
        return [
            {"provider": provider, "scope": scope, **circuit.snapshot(now_s)}
            for provider, scope, circuit in self._keep.circuits()
        ]

    def force_breaker(self, provider: str, scope: str, state: str, for_s: float | None) -> Row | None:
        circuit = self._keep.find_circuit(provider, scope)
        if circuit is None:
            return None
        now_s = self._clock.now()
        circuit.force(FORCED[state], None if for_s is None else now_s + for_s)
        log.warning("a breaker was set by hand", extra={"provider": provider, "scope": scope, "breaker": state})
        return {"provider": provider, "scope": scope, **circuit.snapshot(now_s)}

    def limits(self) -> Sequence[Row]:
        now_s = self._clock.now()
        return [
            {"provider": provider, "scope": scope, **limiter.snapshot(now_s)}
            for provider, scope, limiter in self._keep.limiters()
        ]

    def unknown(self) -> Sequence[Row]:
        return self._unknown.as_json()

    def authority(self) -> Row:
        return self._opening.as_json()

    def calls(self) -> Sequence[Row]:
        return self._telemetry.calls.as_json()

    async def cache(self, which: Selection, limit: int) -> Row:
        if self.cached_replies is None:
            return {"stores": [], "providers": [], "entries": []}
        return await self.cached_replies.overview(which, limit)

    async def cached(self, key: str) -> Sequence[Row]:
        return [] if self.cached_replies is None else await self.cached_replies.find(key)

    async def purge(self, which: Selection, soft: bool) -> int | None:
        return 0 if self.cached_replies is None else await self.cached_replies.purge(which, soft)

    def catalog(self) -> Sequence[Row]:
        loaded, meters = self._policies.loaded, self._telemetry.meters
        if loaded is None:
            return []
        snapshots = (meters.attempts.collect(), meters.request_duration.collect(), meters.served.collect())
        return catalog(loaded.providers, self.breakers(), *snapshots)
