"""What is written down of every request that comes to a route's cache step."""

from __future__ import annotations

from sidecar.telemetry.instruments import Meters
from sidecar.telemetry.meters import Tally


class CacheBook:
    """`steps.cache.CacheBook` for one route. A result that never occurs has no child, and so no line in `/metrics`."""

    __slots__ = ("_meters", "_provider", "_route", "_tallies")

    def __init__(self, meters: Meters, provider: str, route: str) -> None:
        self._meters = meters
        self._provider = provider
        self._route = route
        self._tallies: dict[str, Tally] = {}

    def count(self, result: str) -> None:
        tally = self._tallies.get(result)
        if tally is None:
            tally = self._tallies[result] = self._meters.cache_requests.child(self._provider, self._route, result)
        tally.value += 1
