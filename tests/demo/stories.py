"""Stories that never happened, for tests of what is made of them."""

from __future__ import annotations

from sidecar.demo.provider import Arrival
from sidecar.demo.script import LASTS_S, Health, act_at
from sidecar.demo.story import Breaker, Sent, Story

SIDECAR = 'provider=acme, route="get-product", attempts={}, outcome=ok, id="4f1c8e0a9b7d2e63"{}'


def sent(
    began_s: float,
    status: int | None,
    took_s: float = 0.01,
    *,
    attempts: int = 1,
    served: str = "",
    label: str = "GET /x",
) -> Sent:
    """A call that has ended; its `Sidecar` field says how it was served."""
    call = Sent(began_s, label)
    call.end(status, SIDECAR.format(attempts, served and f", served={served}"), began_s + took_s, took_s)
    return call


def bad_day(until_s: float = LASTS_S) -> Story:
    """Ten calls a second: with the sidecar all are answered but orders while the provider is sick."""
    story = Story([])
    for number in range(int(until_s * 10)):
        at_s = number / 10
        health = act_at(at_s).health
        sick = health is not Health.WELL
        order = number % 10 == 0
        story.with_it.append(
            sent(at_s, 503 if sick and order else 200, served="stale;age=4;reason=breaker-open" if sick else "",
                 label="POST /orders" if order else "GET /products/1")
        )  # fmt: skip
        story.without.append(sent(at_s, 500 if sick else 200, 2.0 if sick else 0.01))
        story.arrivals.append(Arrival(at_s, False, sick))
        if not sick:
            story.arrivals.append(Arrival(at_s, True, sick))
        if number % 3 == 0:
            story.look([Breaker("get-product", "open" if sick else "closed", 1.5 if sick else None)], at_s)
    return story
