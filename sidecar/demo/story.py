"""What the application saw, call by call, and the arithmetic on it.

What may live here: records and sums over them. No sockets, no clock, no screen.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import ceil, inf
from typing import Final

from sidecar.demo.provider import Arrival
from sidecar.demo.script import Health, act_at

SERVED: Final = re.compile(r"(?:^|[,;]\s*)served=([a-z]+)")
"""What a `Sidecar` field says of a reply that is not the provider's fresh word."""
SEVERAL: Final = re.compile(r"(?:^|,\s*)attempts=(?:[2-9]|\d\d)")


class How(StrEnum):
    """What became of a call, from the best to the worst."""

    FRESH = "fresh"
    RETRIED = "retried"
    """Fresh, after more than one attempt."""
    CACHE = "cache"
    STALE = "stale"
    FALLBACK = "fallback"
    WAITING = "waiting"
    ERROR = "error"


@dataclass(slots=True)
class Sent:
    """One call of the application. Times are the story's."""

    began_s: float
    label: str
    """Method and path."""
    how: How = How.WAITING
    status: int | None = None
    """None when the application gave up or was cut off."""
    ended_s: float = inf
    took_s: float = 0.0
    """By the clock, not the story's."""
    field: str = ""
    """The reply's `Sidecar` field."""

    @property
    def sick(self) -> bool:
        """The provider was not well when the call began."""
        return act_at(self.began_s).health is not Health.WELL

    def end(self, status: int | None, sidecar: str, ended_s: float, took_s: float) -> None:
        self.status, self.field, self.ended_s, self.took_s = status, sidecar, ended_s, took_s
        self.how = how_served(status, sidecar)


def how_served(status: int | None, sidecar: str) -> How:
    """What a reply is to the application; `sidecar` is its field of that name, or empty."""
    if status is None or status >= 400:
        return How.ERROR
    served = SERVED.search(sidecar)
    if served is not None:
        return How(served[1])
    return How.RETRIED if SEVERAL.search(sidecar) else How.FRESH


@dataclass(frozen=True, slots=True)
class Tally:
    """Some calls, summed up."""

    by_how: Counter[How]
    p50_s: float
    """Of all that ended, errors included: the application waited for those, too. 0 if none has."""
    p99_s: float

    @property
    def ended(self) -> int:
        return self.by_how.total() - self.by_how[How.WAITING]

    @property
    def errors(self) -> int:
        return self.by_how[How.ERROR]

    @property
    def answered_ratio(self) -> float:
        """The share that got an answer that it can use; 1 as long as none has ended."""
        return 1.0 if not self.ended else 1.0 - self.errors / self.ended


def tally(calls: Iterable[Sent]) -> Tally:
    by_how: Counter[How] = Counter()
    took: list[float] = []
    for sent in calls:
        by_how[sent.how] += 1
        if sent.how is not How.WAITING:
            took.append(sent.took_s)
    took.sort()
    return Tally(by_how, quantile(took, 0.5), quantile(took, 0.99))


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that `share` of them do not exceed (nearest rank); 0 of none."""
    return ordered[max(0, ceil(share * len(ordered)) - 1)] if ordered else 0.0


def columns(calls: Iterable[Sent], count: int, lasts_s: float) -> list[Counter[How]]:
    """The calls by when they began, in `count` equal parts of the story."""
    parts: list[Counter[How]] = [Counter() for _ in range(count)]
    for sent in calls:
        parts[min(count - 1, int(sent.began_s / lasts_s * count))][sent.how] += 1
    return parts


@dataclass(slots=True)
class Breaker:
    """One breaker as `/breakers` shows it."""

    scope: str
    state: str
    left_s: float | None
    """Until an open one lets a trial through."""


def states(history: Iterable[tuple[float, str]], count: int, lasts_s: float, now_s: float) -> list[str]:
    """A breaker's state in each of `count` equal parts of the story, as far as that has come: the last one seen in or
    before it, but `open` if it was that at any time; `closed` before anything was seen."""
    seen: dict[int, str] = {}
    for at_s, state in history:
        part = int(at_s / lasts_s * count)
        if seen.get(part) != "open":
            seen[part] = state
    found, state = [], "closed"
    for part in range(min(count, int(now_s / lasts_s * count))):
        state = seen.get(part, state)
        found.append(state)
    return found


@dataclass(slots=True)
class Story:
    """All that has happened so far. `arrivals` is the provider's own list."""

    arrivals: list[Arrival]
    with_it: list[Sent] = field(default_factory=list)
    """Calls through the sidecar."""
    without: list[Sent] = field(default_factory=list)
    """The same calls at the same times, straight to the provider."""
    breakers: list[Breaker] = field(default_factory=list)
    """As they are now."""
    breaker_states: dict[str, list[tuple[float, str]]] = field(default_factory=dict)
    """Each one's state whenever somebody looked, by its scope."""

    def look(self, breakers: list[Breaker], now_s: float) -> None:
        """Take down how the breakers are."""
        self.breakers = breakers
        for breaker in breakers:
            self.breaker_states.setdefault(breaker.scope, []).append((now_s, breaker.state))

    def recent(self, calls: Sequence[Sent], now_s: float, window_s: float) -> Tally:
        """Those that ended within the last `window_s`."""
        return tally(sent for sent in calls if now_s - window_s < sent.ended_s <= now_s)

    def reaching_per_s(self, through: bool, now_s: float, window_s: float) -> float:
        """Requests that reached the provider, on average over the last `window_s`."""
        recent = (a for a in reversed(self.arrivals) if a.at_s > now_s - window_s)
        return sum(a.through is through for a in recent) / window_s

    def load(self, through: bool, count: int, lasts_s: float) -> list[float]:
        """Requests a second that reached the provider, in `count` equal parts of the story."""
        parts = [0.0] * count
        for arrival in self.arrivals:
            if arrival.through is through:
                parts[min(count - 1, int(arrival.at_s / lasts_s * count))] += count / lasts_s
        return parts

    def last(self, count: int) -> list[Sent]:
        """The calls through the sidecar that ended last, newest first."""
        ended = sorted((sent for sent in self.with_it[-400:] if sent.ended_s < inf), key=lambda sent: -sent.ended_s)
        return ended[:count]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the comparison, ready to be shown."""

    title: str
    with_it: str
    without: str


def comparison(story: Story) -> list[Row]:
    """What the application saw, and what it would have seen."""
    sides = [(tally(calls), tally(filter(_was_sick, calls))) for calls in (story.with_it, story.without)]
    got = [sum(a.sick and a.through is through for a in story.arrivals) for through in (True, False)]

    def row(title: str, show: Callable[[Tally, Tally], str]) -> Row:
        return Row(title, *(show(whole, sick) for whole, sick in sides))

    return [
        row("calls", lambda whole, _: f"{whole.ended:,}"),
        row("answered", lambda whole, _: percent(whole.answered_ratio)),
        row("answered while the provider was sick", lambda _, sick: percent(sick.answered_ratio)),
        row("errors that the application saw", lambda whole, _: f"{whole.errors:,}"),
        row("latency, p50", lambda whole, _: seconds(whole.p50_s)),
        row("latency, p99", lambda whole, _: seconds(whole.p99_s)),
        Row("requests that the sick provider got", *(f"{count:,}" for count in got)),
    ]


def remarks(story: Story) -> list[str]:
    """What the numbers do not say by themselves."""
    by_how = tally(story.with_it).by_how
    answers = ", ".join(f"{by_how[how]:,} {how}" for how in How if by_how[how] and how is not How.ERROR)
    said = [f"With the sidecar: {answers}."]
    failed = [sent for sent in story.with_it if sent.how is How.ERROR]
    if failed:
        orders = sum(sent.label.startswith("POST") for sent in failed)
        within = seconds(tally(failed).p50_s)
        said.append(
            f"Its errors: {orders:,} orders, {len(failed) - orders:,} other calls; half of them came within {within}."
        )
    said.append("Both ways each call is made once and given up after three seconds.")
    return said


def _was_sick(sent: Sent) -> bool:
    return sent.sick


def percent(ratio: float) -> str:
    """Never rounded up to a whole that it is not."""
    return "100 %" if ratio == 1.0 else f"{min(ratio, 0.999):.1%}".replace("%", " %")


def seconds(value_s: float) -> str:
    return f"{value_s * 1e3:.0f} ms" if value_s < 0.9995 else f"{value_s:.2f} s"


def minutes(at_s: float) -> str:
    return f"{int(at_s) // 60}:{int(at_s) % 60:02d}"
