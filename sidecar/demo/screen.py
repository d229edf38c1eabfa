"""The demo on one screen: the acts, how calls were answered with and without the sidecar, and what it does about it.

Colours are of middling lightness, so that they can be told apart on light and dark terminals; text keeps the terminal's
own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from itertools import groupby
from math import ceil
from operator import itemgetter
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.style import Style
from rich.text import Text

from sidecar.demo.chart import BLOCKS, STEPS, Cell, stacked
from sidecar.demo.script import LASTS_S, Health, act_at, spans
from sidecar.demo.story import (
    How,
    Sent,
    Story,
    Tally,
    columns,
    comparison,
    minutes,
    percent,
    remarks,
    seconds,
    states,
    tally,
)

COLOURS: Final = {
    How.FRESH: "#2f9e78",
    How.RETRIED: "#83c9a8",
    How.CACHE: "#4a8cd0",
    How.STALE: "#d69e2e",
    How.FALLBACK: "#957cd3",
    How.WAITING: "#868c94",
    How.ERROR: "#d8503f",
}
HEALTH_COLOURS: Final = {
    Health.WELL: COLOURS[How.FRESH],
    Health.SLOW: COLOURS[How.STALE],
    Health.FAILING: COLOURS[How.ERROR],
    Health.DARK: COLOURS[How.WAITING],
}
BREAKER_COLOURS: Final = {"open": COLOURS[How.ERROR], "half-open": COLOURS[How.STALE]}
LABEL: Final = 14
"""Columns left of the charts."""
LEAST_SIZE: Final = (76, 23)
ROOMY_LINES: Final = 30
MOST_COLUMNS: Final = 116
RECENT_S: Final = 2.0
"""What counts as now."""


def playing(story: Story, now_s: float, width: int, height: int) -> Group:
    """The screen while the story goes on: at most `height` lines."""
    width = min(width, MOST_COLUMNS) - 2
    roomy = height >= ROOMY_LINES
    gap = [Text()]
    lines = [
        _title(now_s, width),
        *(gap if roomy else ()),
        *_acts(now_s, width),
        *_charts(story, width, 3 if not roomy else 4 if height < 36 else 6),
        _legend(width),
        *gap,
        *((*_load(story, now_s, width), *gap) if roomy else ()),
        *_breakers(story, now_s, width),
        *gap,
        *_numbers(story, now_s),
        *gap,
    ]
    return _indented([*lines, *(_call(sent, width) for sent in story.last(min(8, height - len(lines))))])


def closing(story: Story, width: int) -> Group:
    """What remains when the story is over."""
    width = min(width, MOST_COLUMNS) - 2
    gap = Text()
    return _indented(
        [
            *(_title(LASTS_S, width), gap, *_acts(LASTS_S, width), *_charts(story, width, 5), _legend(width)),
            *(gap, *_load(story, LASTS_S, width), gap, *_breakers(story, LASTS_S, width)),
            *(gap, *_comparison(story), gap, *(Text(said, "dim") for said in remarks(story))),
        ]
    )


def _indented(lines: Iterable[Text]) -> Group:
    return Group(*(Text(" ", no_wrap=True, overflow="crop").append_text(line) for line in lines))


def _title(now_s: float, width: int) -> Text:
    said = "one provider has a bad day" if now_s >= LASTS_S else act_at(now_s).says
    clock = f"{minutes(min(now_s, LASTS_S))} of {minutes(LASTS_S)}"
    line = Text.assemble(("sidecar demo", "bold"), "   ", said)
    return line.append(clock.rjust(width - line.cell_len), "dim")


# The acts, and the charts below them.


def _acts(now_s: float, width: int) -> list[Text]:
    """Titles, and under each a bar that fills as its act goes on."""
    across = width - LABEL - 1
    titles, bars = Text(" " * LABEL), Text(" " * LABEL)
    for act, begins_s, ends_s in spans():
        first, end = (round(at_s / LASTS_S * across) for at_s in (begins_s, ends_s))
        room = end - first
        done = min(room, max(0, round(now_s / LASTS_S * across) - first))
        current = begins_s <= now_s < ends_s
        titles.append(act.title[: room - 1].ljust(room), "bold" if current else "dim" if now_s < begins_s else "")
        colour = HEALTH_COLOURS[act.health]
        bars.append("━" * min(done, room - 1), colour).append("─" * (room - 1 - done), "dim").append(" ")
    return [titles, bars]


def _charts(story: Story, width: int, lines: int) -> list[Text]:
    shown = []
    for name, calls in (("with", story.with_it), ("without", story.without)):
        whole = tally(calls)
        labels = [(name, "bold"), ("sidecar", "bold"), (percent(whole.answered_ratio), ""), *[("", "")] * lines]
        parts = columns(calls, width - LABEL - 1, LASTS_S)
        for label, cells in zip(labels, stacked(parts, tuple(How), lines), strict=False):
            shown.append(_labelled(*label).append_text(_cells(cells)))
        shown.append(Text())
    return shown


def _cells(cells: Sequence[Cell]) -> Text:
    line = Text()
    # Equal neighbours in one piece: that is less for a terminal to read, and for the picture to hold.
    for style, run in groupby(map(_drawn, cells), key=itemgetter(1)):
        line.append("".join(char for char, _ in run), style)
    return line


def _drawn(cell: Cell) -> tuple[str, Style]:
    """A full cell is all background: no font leaves gaps in that."""
    lower, upper = (COLOURS[kind] if isinstance(kind, How) else None for kind in (cell.lower, cell.upper))
    if lower == upper:
        return " ", Style(bgcolor=lower)
    return cell.char, Style(color=lower, bgcolor=upper)


def _legend(width: int) -> Text:
    line = Text()
    for how in How:
        line.append("  ", Style(bgcolor=COLOURS[how])).append(f" {how}  ")
    return Text(" " * min(LABEL, max(0, width - line.cell_len))).append_text(line)


def _labelled(label: str, style: str = "") -> Text:
    return Text().append(label.ljust(LABEL), style)


# What is going on.


def _load(story: Story, now_s: float, width: int) -> list[Text]:
    """How many requests reach the provider, one line a way, on the charts' scale of time."""
    across = width - LABEL - 1
    loads = {through: story.load(through, across, LASTS_S) for through in (True, False)}
    most = max(map(max, loads.values())) or 1.0
    so_far = min(across, int(now_s / LASTS_S * across))
    shown = []
    for label, (through, load) in zip(("load, with", "load, without"), loads.items(), strict=True):
        blocks = "".join(BLOCKS[ceil(value / most * STEPS)] for value in load[:so_far])
        line = _labelled(label).append(blocks, "dim")
        if now_s < LASTS_S:
            line.append(f" {story.reaching_per_s(through, now_s, RECENT_S):.0f}/s", "dim")
            line.truncate(width)
        shown.append(line)
    return shown


def _breakers(story: Story, now_s: float, width: int) -> list[Text]:
    """One line each: when it was open, and how it is now."""
    across = width - LABEL - 1
    shown = []
    for breaker in story.breakers:
        line = _labelled(breaker.scope)
        for state in states(story.breaker_states[breaker.scope], across, LASTS_S, now_s):
            line.append("─" if state == "closed" else "━", BREAKER_COLOURS.get(state, "dim"))
        left = f" {breaker.left_s:.1f} s" if breaker.left_s else ""
        if now_s < LASTS_S:
            line.append(f" {breaker.state}{left}", BREAKER_COLOURS.get(breaker.state, "dim"))
        line.truncate(width)
        shown.append(line)
    return shown


def _numbers(story: Story, now_s: float) -> list[Text]:
    """The last seconds in figures, one line a way."""
    lines = [_labelled("now", "dim").append(f"{'p50':>8}{'p99':>10}{'errors':>10}{'reach the provider':>22}", "dim")]
    for name, calls, through in (("with", story.with_it, True), ("without", story.without, False)):
        recent = story.recent(calls, now_s, RECENT_S)
        line = _labelled(name).append(f"{seconds(recent.p50_s):>8}{seconds(recent.p99_s):>10}")
        line.append(_per_s(recent).rjust(10), COLOURS[How.ERROR] if recent.errors else "")
        lines.append(line.append(f"{story.reaching_per_s(through, now_s, RECENT_S):>20.0f}/s"))
    return lines


def _per_s(recent: Tally) -> str:
    return f"{recent.errors / RECENT_S:.0f}/s" if recent.errors else "none"


def _call(sent: Sent, width: int) -> Text:
    """One call, with what its `Sidecar` field says besides the names and the id."""
    status = str(sent.status or "---")
    line = Text().append(f"{sent.label:<{LABEL + 2}}")
    line.append(f"{status} ", Style(color=COLOURS[sent.how])).append(f"{seconds(sent.took_s):>7}  ")
    line.append(_said(sent.field), "dim")
    line.truncate(width, overflow="ellipsis")
    return line


def _said(field: str) -> str:
    """The field without what the line shows already, and the id."""
    hidden = ("provider=", "route=", "id=", "outcome=ok")
    return ", ".join(member for member in field.split(", ") if not member.startswith(hidden))


# What it came to.


def _comparison(story: Story) -> list[Text]:
    rows = comparison(story)
    width = max(len(row.title) for row in rows)
    lines = [Text(f"{'':<{width}}{'with the sidecar':>19}{'without it':>14}", "bold")]
    lines += [
        Text(f"{row.title:<{width}}").append(f"{row.with_it:>19}", "bold").append(f"{row.without:>14}") for row in rows
    ]
    return lines


class Screen:
    """`show.Stage` on a terminal: the alternate screen while the story goes on, what it came to on the usual one."""

    every_s = 0.15

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, screen=True)

    @property
    def fits(self) -> bool:
        """Whether there is room to draw it; else a line a second says more."""
        return self._console.width >= LEAST_SIZE[0] and self._console.height >= LEAST_SIZE[1]

    async def show(self, story: Story, now_s: float) -> None:
        if not self._live.is_started:
            self._live.start()
        shown = playing(story, now_s, self._console.width, self._console.height)
        # In a thread, so that drawing does not make calls look slow.
        await asyncio.to_thread(self._live.update, shown, refresh=True)

    def finish(self, story: Story) -> None:
        self._live.stop()
        self._console.print(closing(story, self._console.width))

    def say(self, line: str) -> None:
        self._console.print(Text(f"\n {line}"), soft_wrap=True)

    def close(self) -> None:
        self._live.stop()
