"""Counters, gauges and histograms of our own: a recording is an attribute and an addition.

What may live here: numbers in memory and how they are kept. What is counted is `instruments.py`'s, who reads it
`prometheus.py`'s and `otlp.py`'s. A step finds its child once and keeps it; a child is written by one thread only.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Generic, Protocol, TypeAlias, TypeVar

_log = logging.getLogger("sidecar.telemetry")

Labels: TypeAlias = tuple[str | int | None, ...]
"""One value for each of the instrument's attributes; None where it does not apply."""
OTHER: Final = "other"
"""Every label of the child that takes what goes beyond an instrument's cardinality."""


class Kind(Enum):
    COUNTER = "counter"
    """Only grows."""
    LEVEL = "level"
    """Goes up and down by additions."""
    GAUGE = "gauge"
    """Whatever it is just now."""
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Instrument:
    """What is measured, in OpenTelemetry's terms: dotted names, UCUM units."""

    kind: Kind
    name: str
    unit: str
    description: str
    attributes: tuple[str, ...]


class Tally:
    """One number."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def add(self, amount: int = 1) -> None:
        self.value += amount


class Spread:
    """How often values fell between bounds. The last bucket has no upper bound."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        bucket = 0
        for bound in self.bounds:  # They are few, and this is compiled: sooner done than a search is asked for.
            if value <= bound:
                break
            bucket += 1
        self.counts[bucket] += 1
        self.total += value


@dataclass(frozen=True, slots=True)
class Distribution:
    """A histogram's child as it was when collected; `counts` are each bucket's own, not running sums."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float

    @property
    def count(self) -> int:
        return sum(self.counts)


Reading: TypeAlias = int | float | Distribution


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One instrument with everything that it held at one moment."""

    instrument: Instrument
    points: list[tuple[Labels, Reading]]


class Metric(Protocol):
    """What can be collected."""

    instrument: Instrument

    def collect(self) -> Snapshot: ...


Child = TypeVar("Child", bound=Tally | Spread)


class Family(Generic[Child]):
    """An instrument's children by their labels, at most `max_children` and one for all others."""

    def __init__(
        self,
        instrument: Instrument,
        make: Callable[[], Child],
        max_children: int,
        on_overflow: Callable[[str], None],
    ) -> None:
        self.instrument = instrument
        self._make = make
        self._max_children = max_children
        self._on_overflow = on_overflow
        self._children: dict[Labels, Child] = {}
        self._other: Child | None = None

    def child(self, *labels: str | int | None) -> Child:
        """The child of these labels, in the order of the instrument's attributes."""
        found = self._children.get(labels)
        if found is not None:
            return found
        if len(self._children) >= self._max_children:
            return self._overflowed()
        made = self._children[labels] = self._make()
        return made

    def _overflowed(self) -> Child:
        self._on_overflow(self.instrument.name)
        if self._other is None:
            self._other = self._make()
        return self._other

    def collect(self) -> Snapshot:
        children = list(self._children.items())
        if self._other is not None:
            children.append(((OTHER,) * len(self.instrument.attributes), self._other))
        return Snapshot(self.instrument, [(labels, _reading(child)) for labels, child in children])


def _reading(child: Tally | Spread) -> Reading:
    if isinstance(child, Tally):
        return child.value
    return Distribution(child.bounds, tuple(child.counts), child.total)


Readings: TypeAlias = Iterable[tuple[Labels, float]]


class Observed:
    """An instrument whose values others keep, and are asked for. One that fails is left out of that collection."""

    def __init__(self, instrument: Instrument, max_children: int, on_overflow: Callable[[str], None]) -> None:
        self.instrument = instrument
        self._max_children = max_children
        self._on_overflow = on_overflow
        self._readers: list[Callable[[], Readings]] = []

    def watch(self, read: Callable[[], Readings]) -> None:
        """Ask `read` at every collection, on the loop's thread, for (labels, value) pairs; totals, if it counts."""
        self._readers.append(read)

    def collect(self) -> Snapshot:
        points: list[tuple[Labels, Reading]] = []
        for read in self._readers:
            try:
                points += read()
            except Exception:
                _log.exception("a metric could not be read", extra={"metric": self.instrument.name})
        if len(points) > self._max_children:
            self._on_overflow(self.instrument.name)
            del points[self._max_children :]
        return Snapshot(self.instrument, points)
