"""What the parts of the cache step share: the ports of one route's cache, and one call as it sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, final

from sidecar.call import Call
from sidecar.clock import Clock
from sidecar.rules.cache.asked import Asked
from sidecar.rules.cache.entry import Entry, Key
from sidecar.rules.cache.health import Health
from sidecar.rules.cache.key import Keys
from sidecar.steps.base import CacheStore
from sidecar.steps.flight import Flight, Flights, Landing


class CacheBook(Protocol):
    """Who counts what came of looking into the cache. Must be quick, and must not raise."""

    def count(self, result: str) -> None:
        """`hit`, `stale`, `while`, `miss`, `validated`, `refreshed`, `bypass` or `coalesced`."""
        ...


@dataclass(frozen=True, slots=True)
class CachePorts:
    """What one route's cache acts through."""

    store: CacheStore
    flights: Flights
    health: Health
    keys: Keys
    clock: Clock
    book: CacheBook
    origin: str
    """Such as `https://api.stripe.com`."""
    tags: Callable[[Call], tuple[str, ...]]
    """The tags that the policy gives a call's entry."""
    refresh_s: float
    """How long a refresh behind a caller's back may take."""


@final
class Lookup:
    """A call that what is kept does not answer."""

    __slots__ = ("asked", "call", "entry", "flight", "key", "requested_s", "unchanged", "why")

    def __init__(  # noqa: PLR0917
        self,
        call: Call,
        key: Key,
        asked: Asked,
        entry: Entry | None,
        why: str,
        unchanged: bool = False,
        flight: Flight | None = None,
    ) -> None:
        self.call = call
        self.key = key
        self.asked = asked
        self.entry = entry
        """What may be confirmed, or stand in."""
        self.why = why
        """`fwd` of RFC 9211: why it takes the provider to answer."""
        self.unchanged = unchanged
        """The application has this very entry, and asks only whether it is still good."""
        self.flight = flight
        """Those who wait for the answer, too."""
        self.requested_s = 0.0
        """When the provider was asked, Unix time."""

    def land(self, flights: Flights, landing: Landing) -> None:
        """Tell those who wait what became of it."""
        if self.flight is not None:
            flights.end(self.key, self.flight)
            self.flight.land(landing)
