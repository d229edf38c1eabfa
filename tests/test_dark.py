"""Ten minutes in the dark under a steady load: the whole pipeline, compiled from a policy, its clock turned by hand.

`tests/wire/test_cache_dark.py` is the same for a few seconds over real sockets.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import log2
from pathlib import Path

import pytest

from sidecar.call import Call, Failure, Handler, Outcome, Reply, Served
from sidecar.errors import Reason, Verdict
from sidecar.policy.compile import CacheGround, Pipelines, Ports
from sidecar.policy.keep import Keep
from sidecar.policy.model import ProviderPolicy, Route
from sidecar.policy.sources import load_policies
from sidecar.rules.breaker import CircuitState
from sidecar.rules.cache.entry import Entry
from sidecar.rules.cache.stale import expires_at_s
from sidecar.steps.flight import Flights
from sidecar.stores.shelf import Shelf
from sidecar.stores.tiers import Tiers
from tests.fakes import FakeClock, make_call, make_reply, turn_loop

ATTEMPT_S = 2.0
DARK_S = 600.0
TICK_S = 0.25
OPEN_BASE_S, OPEN_CAP_S = 1.0, 32.0
POLICY = f"""
provider: stripe
hosts: [api.stripe.com]
timeouts: {{connect: 1s, attempt: {ATTEMPT_S}s, total: 30s}}
retry: {{attempts: 4, backoff: {{base: 200ms, jitter: none}}}}
breaker: {{consecutive: 5, open: {{base: {OPEN_BASE_S}s, cap: {OPEN_CAP_S}s}}, scope: operation}}
cache: {{store: private, stale: 1h}}
routes:
  - name: customer
    match: {{method: GET, path: "/v1/customers/{{id}}"}}
  - name: charges
    match: {{method: GET, path: /v1/charges}}
  - name: price
    match: {{method: GET, path: "/v1/prices/{{id}}"}}
    cache: {{ttl: 60s}}
"""
TARGETS = {
    "customer": [f"/v1/customers/{number}" for number in range(4)],
    "charges": ["/v1/charges?limit=3", "/v1/charges?limit=100"],
    "price": [f"/v1/prices/{number}" for number in range(3)],
}
CREDENTIALS = ("Bearer one", "Bearer two")


class Passing:
    """Of what telemetry does nothing is wanted here."""

    name = "trace"

    def bind(self, inner: Handler) -> Handler:
        return inner

    def count(self, result: str) -> None:
        pass

    def trace_step(self, _provider: str, _route: str) -> Passing:
        return self

    def measure_step(self, *_: object, **__: object) -> Passing:
        return self

    def cache_book(self, _provider: str, _route: str) -> Passing:
        return self


@dataclass
class Seen:
    """One call, as its caller saw it."""

    route: str
    target: str
    began_s: float
    waited_s: float
    status: int
    body: bytes
    served: Served | None
    fields: dict[bytes, bytes] = field(default_factory=dict)


class World:
    """A provider that can go dark, and applications that call it without end."""

    def __init__(self, policy: ProviderPolicy) -> None:
        self.clock = FakeClock(park=True)
        self.keep = Keep(self.clock, lambda: 1.0)
        self.dark = False
        self.attempts: dict[str, list[tuple[float, CircuitState]]] = defaultdict(list)
        """By route, when each reached the provider and what its breaker was then."""
        self.seen: list[Seen] = []
        self._calling: set[asyncio.Task[None]] = set()
        shelf = Shelf(1024 * 1024, self.keep.is_sick)
        self._ground = CacheGround(Tiers(shelf, (), self.clock, until_useless_s), Flights(), b"k" * 32)
        telemetry = Passing()
        ports = Ports(
            self.clock, lambda: 1.0, self.keep, lambda _policy, _settings: self.provide, telemetry, lambda: self._ground
        )
        self._pipelines = Pipelines(policy, "digest", ports)
        self._routes: dict[str, Route] = {route.name: route for route in policy.routes}

    async def provide(self, call: Call) -> Outcome:
        """The provider and the wire to it: an attempt ends with its timeout."""
        circuit = self.keep.find_circuit("stripe", call.route)
        assert circuit is not None
        self.attempts[call.route].append((self.clock.now(), circuit.state))
        if self.dark:
            await self.clock.sleep(min(ATTEMPT_S, call.deadline_s - self.clock.now()))
            return Failure(Reason.ATTEMPT_TIMEOUT, "it did not answer", Verdict.TRANSIENT)
        return make_reply(200, {"Cache-Control": "max-age=30"}, call.target)

    def start_calls(self) -> None:
        """Every target, for every credential."""
        for route, targets in TARGETS.items():
            for target in targets:
                for credential in CREDENTIALS:
                    task = asyncio.create_task(self._call(route, target, credential))
                    self._calling.add(task)
                    task.add_done_callback(self._calling.discard)

    async def _call(self, route: str, target: str, credential: str) -> None:
        began_s = self.clock.now()
        call = make_call(target=target, headers={"Authorization": credential}, route=route, started_s=began_s)
        outcome = await self._pipelines.of(self._routes[route]).handle(call)
        assert isinstance(outcome, Reply), outcome
        body = outcome.body.whole() or b""
        waited_s = self.clock.now() - began_s
        fields = dict(outcome.extra or ())
        self.seen.append(Seen(route, target, began_s, waited_s, outcome.status, body, outcome.served, fields))

    async def pass_time(self, seconds: float, each_s: float = 1.0) -> list[Seen]:
        """Let everybody call once in `each_s` for that long; what was seen of it. All calls have ended then."""
        self.seen = []
        for tick in range(round(seconds / TICK_S)):
            if tick % round(each_s / TICK_S) == 0:
                self.start_calls()
            await turn_loop()
            self.clock.advance(TICK_S)
            await turn_loop()
        while self._calling:
            self.clock.advance(TICK_S)
            await turn_loop()
        return self.seen

    async def close(self) -> None:
        for task in list(self._ground.flights.tasks):
            task.cancel()
        await turn_loop()


def until_useless_s(entry: Entry) -> float:
    assert entry.terms is not None
    return expires_at_s(entry, entry.terms)


@pytest.fixture
async def world(tmp_path: Path):
    file = tmp_path / "stripe.yaml"
    file.write_text(POLICY)
    loaded = load_policies([file])
    assert loaded.problems == ()
    world = World(loaded.providers[0])
    yield world
    await world.close()


def by_route(seen: Iterable[Seen], wanted: Callable[[Seen], bool] = lambda _: True) -> dict[str, list[Seen]]:
    found: dict[str, list[Seen]] = defaultdict(list)
    for one in seen:
        if wanted(one):
            found[one.route].append(one)
    return found


async def test_ten_minutes_in_the_dark(world: World) -> None:
    well = await world.pass_time(40.0)
    assert {one.status for one in well} == {200}
    before = {route: len(attempts) for route, attempts in world.attempts.items()}

    world.dark = True
    dark_from_s = world.clock.now()
    seen = await world.pass_time(DARK_S)

    # Each caller gets 200, the reply to what it asked, and is told how old it is.
    assert len(seen) == DARK_S * len(CREDENTIALS) * sum(map(len, TARGETS.values()))
    for one in seen:
        assert (one.status, one.body) == (200, one.target.encode())
        assert one.served is not None
        assert one.served.source in {"cache", "stale"}
        assert one.served.age_s is not None
        assert int(one.fields[b"Age"]) == int(one.served.age_s)
        assert b"Cache-Status" in one.fields

    # Nobody waits longer than one attempt, and only those who came before its first failure was known.
    for route, calls in by_route(seen, lambda one: one.waited_s > 0).items():
        began = [one.began_s for one in calls]
        assert max(one.waited_s for one in calls) <= ATTEMPT_S + TICK_S, route
        assert max(began) - min(began) <= ATTEMPT_S + TICK_S, route
    old = by_route(seen, lambda one: one.served is not None and one.served.source == "stale")
    assert old.keys() == TARGETS.keys(), "it was dark for longer than anything is fresh"
    assert {one.served.reason for calls in old.values() for one in calls if one.served} <= {
        "attempt-timeout",
        "breaker-open",
    }

    # Once its breaker has opened, the provider is asked by trials alone, and ever less often.
    trials_at_most = log2(OPEN_CAP_S / OPEN_BASE_S) + 2 + DARK_S / OPEN_CAP_S
    for route, targets in TARGETS.items():
        attempts = [(at_s, state) for at_s, state in world.attempts[route][before[route] :] if at_s >= dark_from_s]
        states = [state for _, state in attempts]
        first_trial = states.index(CircuitState.HALF_OPEN)
        assert set(states[first_trial:]) == {CircuitState.HALF_OPEN}, route
        assert len(states) - first_trial <= trials_at_most, route
        assert first_trial <= len(targets) * len(CREDENTIALS) + 5, route

    # Well again, it is found within one more wait of the breaker, and nobody notices.
    world.dark = False
    waited = await world.pass_time(OPEN_CAP_S + 5.0)
    assert {one.status for one in waited} == {200}
    assert max(one.waited_s for one in waited) == 0
    fresh = await world.pass_time(5.0)
    assert all(one.served is None or one.served.source == "cache" for one in fresh)
