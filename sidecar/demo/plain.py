"""The demo without a screen: a line a second, then the comparison. For pipes, logs and terminals that cannot redraw."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TextIO

from sidecar.demo.script import act_at
from sidecar.demo.story import How, Story, comparison, minutes, remarks, seconds

HEAD: Final = (
    "                  |                with the sidecar                  |     without it     | provider gets",
    " time  provider   | fresh retried cache stale fallback error     p99 |   ok error     p99 |  with without | open",
)
WIDTHS: Final = {How.FRESH: 5, How.RETRIED: 7, How.CACHE: 5, How.STALE: 5, How.FALLBACK: 8, How.ERROR: 5}
"""As `HEAD` has it."""


def line(story: Story, now_s: float) -> str:
    """The last second."""
    act = act_at(now_s - 0.5)
    with_it, without = (story.recent(calls, now_s, 1.0) for calls in (story.with_it, story.without))
    counts = " ".join(f"{with_it.by_how[how]:{width}d}" for how, width in WIDTHS.items())
    reaching = [story.reaching_per_s(through, now_s, 1.0) for through in (True, False)]
    opened = [breaker.scope for breaker in story.breakers if breaker.state != "closed"]
    return (
        f" {minutes(now_s)}  {act.title:<11}| {counts} {seconds(with_it.p99_s):>7} |"
        f" {without.by_how[How.FRESH]:4d} {without.errors:5d} {seconds(without.p99_s):>7} |"
        f" {reaching[0]:3.0f}/s {reaching[1]:5.0f}/s | {' '.join(opened) or '-'}"
    )


def summary(story: Story) -> Iterator[str]:
    """What the application saw and what it would have seen, line by line."""
    rows = comparison(story)
    width = max(len(row.title) for row in rows)
    yield f" {'':<{width}}  {'with the sidecar':>16}  {'without it':>10}"
    for row in rows:
        yield f" {row.title:<{width}}  {row.with_it:>16}  {row.without:>10}"
    yield ""
    for said in remarks(story):
        yield f" {said}"


class Lines:
    """`show.Stage` on a stream."""

    every_s = 1.0

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._begun = False

    async def show(self, story: Story, now_s: float) -> None:
        if not self._begun:
            self._begun = True
            self.say("\n".join(HEAD))
        self.say(line(story, now_s))

    def finish(self, story: Story) -> None:
        self.say("\n".join(["", *summary(story)]))

    def say(self, line: str) -> None:
        self._out.write(f"{line}\n")
        self._out.flush()

    def close(self) -> None:
        """Nothing to put back."""
