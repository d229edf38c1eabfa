from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sidecar.call import Call, Failure, Handler, Outcome, Reply
from sidecar.errors import Reason, Verdict
from sidecar.policy import translate
from sidecar.policy.compile import CacheGround, Pipelines, Ports, compile_pipeline, own_hosts, routes_of, step_names
from sidecar.policy.keep import WHOLE, Keep
from sidecar.policy.model import ProviderPolicy, Route, Settings
from sidecar.policy.order import ORDER
from sidecar.policy.sources import load_policies
from sidecar.rules.backoff import BackoffSettings, Jitter
from sidecar.rules.breaker import BreakerSettings, CircuitState
from sidecar.rules.cache.entry import Entry, Key, Variants
from sidecar.rules.classify import BodyTest, HeaderTest, Rule, glob
from sidecar.rules.hint import HintField, HintSettings, HintUnit
from sidecar.rules.limiter import LimitSettings
from sidecar.rules.safe import Repeat
from sidecar.steps.base import CacheStore
from sidecar.steps.flight import Flights
from tests.fakes import FakeClock, FakeProvider, make_call, make_reply

ALL_STEPS = tuple(row.step for row in ORDER)
HEAD = "provider: stripe\nhosts: [api.stripe.com]\n"


@dataclass
class Seen:
    """A step that writes down when it is passed."""

    name: str
    asked: tuple[Any, ...]
    passed: list[str] = field(default_factory=list)

    def bind(self, inner: Handler) -> Handler:
        async def seen(call: Call) -> Outcome:
            self.passed.append(self.name)
            return await inner(call)

        return seen


class FakeBook:
    def count(self, result: str) -> None:
        """Nobody looks."""


class FakeTelemetry:
    def __init__(self) -> None:
        self.steps: list[Seen] = []
        self.passed: list[str] = []

    def trace_step(self, provider: str, route: str) -> Seen:
        return self._step("trace", provider, route)

    def measure_step(
        self, provider: str, route: str, host: str, port: int, *, scheme: str = "https", template: str | None = None
    ) -> Seen:
        return self._step("measure", provider, route, host, port, scheme, template)

    def cache_book(self, provider: str, route: str) -> FakeBook:
        return FakeBook()

    def _step(self, name: str, *asked: Any) -> Seen:
        self.steps.append(Seen(name, asked, self.passed))
        return self.steps[-1]


class FakeStore(CacheStore):
    """Keeps everything and finds nothing."""

    def __init__(self) -> None:
        self.kept: list[Entry] = []
        self.invalidated = 0

    def peek(self, key: Key) -> Variants:
        return ()

    def is_behind(self, key: Key) -> bool:
        return False

    async def fetch(self, key: Key) -> Variants:
        raise AssertionError("there is nothing behind it")

    def put(self, key: Key, entry: Entry, replaced: Entry | None = None) -> None:
        self.kept.append(entry)

    def drop(self, key: Key, entry: Entry) -> None:
        self.kept.remove(entry)

    def invalidate(self, uri: bytes) -> int:
        self.invalidated += 1
        return 0


class Workshop:
    """Ports made of fakes, and a provider at the end of every pipeline."""

    def __init__(self, *script: Any) -> None:
        self.clock = FakeClock()
        self.keep = Keep(self.clock, lambda: 0.0)
        self.provider = FakeProvider(*script)
        self.telemetry = FakeTelemetry()
        self.store = FakeStore()
        self.grounds = 0
        self.transports: list[tuple[ProviderPolicy, Settings]] = []
        self.ports = Ports(self.clock, lambda: 0.0, self.keep, self.transport, self.telemetry, self.cache_ground)

    def cache_ground(self) -> CacheGround:
        self.grounds += 1
        return CacheGround(self.store, Flights(), b"secret")

    def transport(self, policy: ProviderPolicy, settings: Settings) -> Handler:
        self.transports.append((policy, settings))
        return self.provider

    def compile(self, policy: ProviderPolicy, route: str | None = None) -> Handler:
        return compile_pipeline(policy, find_route(policy, route), "digest", self.ports).handle


def find_route(policy: ProviderPolicy, name: str | None) -> Route | None:
    return None if name is None else next(route for route in policy.routes if route.name == name)


@pytest.fixture
def load(tmp_path: Path):
    def load(text: str) -> ProviderPolicy:
        path = tmp_path / "policy.yaml"
        path.write_text(text if text.startswith("provider:") else HEAD + text)
        loaded = load_policies([path])
        assert loaded.problems == ()
        return loaded.providers[0]

    return load


async def test_steps_are_passed_in_the_order_of_the_table(load) -> None:
    workshop, policy = Workshop(), load("limit: {rate: 100/s}\ncache: {}\nfallback: [{text: x}]\nrewrite_urls: {}\n")
    pipeline = compile_pipeline(policy, None, "d1", workshop.ports)
    assert pipeline.steps == ALL_STEPS
    assert (pipeline.provider, pipeline.route, pipeline.digest) == ("stripe", "-", "d1")
    call = make_call()
    outcome = await pipeline.handle(call)
    assert outcome.verdict is Verdict.OK
    assert workshop.telemetry.passed == ["trace", "measure"]
    assert call.attempt == 1
    assert call.deadline_s == 1030.0
    assert workshop.transports == [(policy, policy)]


async def test_steps_that_are_off_vanish(load) -> None:
    workshop = Workshop(503)
    policy = load("timeouts: off\nretry: off\nbreaker: off\nlimit: off\nclassify: off\n")
    pipeline = compile_pipeline(policy, None, "", workshop.ports)
    assert pipeline.steps == ("trace", "measure", "classify", "transport")
    call = make_call()
    assert (await pipeline.handle(call)).verdict is Verdict.TRANSIENT
    assert (call.attempt, workshop.provider.attempts) == (1, 1)
    assert [*workshop.keep.circuits(), *workshop.keep.limiters(), *workshop.keep.budgets()] == []


def test_one_attempt_is_no_retry_and_an_empty_limit_no_limit(load) -> None:
    policy = load("retry: {attempts: 1}\nlimit: {max_wait: 1s}\n")
    off = ("fallback", "rewrite", "cache", "retry", "limit")
    assert step_names(policy, None) == tuple(step for step in ALL_STEPS if step not in off)


def test_a_cache_is_passed_by_all_calls_of_a_provider_of_which_anything_is_kept(load) -> None:
    policy = load(
        "routes:\n  - {name: a, match: {method: PUT}}\n  - {name: b, match: {method: GET}, cache: {ttl: 1m}}\n"
    )
    assert policy.caches
    assert all("cache" in step_names(policy, route) for route in (None, *policy.routes))
    off = load("cache: {store: off}\nroutes:\n  - {name: a, match: {method: PUT}, cache: off}\n")
    assert not off.caches
    assert all("cache" not in step_names(off, route) for route in (None, *off.routes))


async def test_a_fallback_of_the_provider_answers_reads_only(load) -> None:
    policy = load(
        "retry: off\nfallback: [{text: later}]\nroutes: [{name: a, match: {method: POST, path: /v1/charges}}]\n"
    )
    workshop = Workshop(503)
    get = await workshop.compile(policy)(make_call())
    assert isinstance(get, Reply)
    assert (get.status, get.body.whole()) == (200, b"later")
    assert get.extra == [(b"Proxy-Status", b'sidecar; received-status=503; next-hop="api.stripe.com"')]
    post = await workshop.compile(policy)(make_call("POST"))
    assert post.verdict is Verdict.TRANSIENT
    assert "fallback" not in step_names(policy, policy.routes[0]), "no method of the route could reach it"


async def test_a_fallback_of_the_routes_own_answers_what_the_route_matches(load) -> None:
    policy = load(
        "retry: off\nfallback: [{text: later}]\nroutes:\n"
        '  - {name: a, match: {method: POST, path: "/v1/{kind}"}, fallback: [{text: "{kind} later"}]}\n'
        "  - {name: b, match: {method: PUT}, fallback: [{when: {method: GET}, text: never}]}\n"
        "  - {name: c, match: {method: PATCH}, fallback: off}\n"
    )
    outcome = await Workshop(503).compile(policy, "a")(make_call("POST"))
    assert isinstance(outcome, Reply)
    assert outcome.body.whole() == b"charges later"
    assert ["fallback" in step_names(policy, route) for route in policy.routes] == [True, False, False]


async def test_what_a_route_keeps_has_its_tags(load) -> None:
    policy = load(
        "cache: {ttl: 1m, tags: [all]}\n"
        'routes: [{name: a, match: {path: "/v1/{kind}/{id}"}, cache: {tags: ["{kind}", "{kind}-{id}"]}}]\n'
    )
    workshop = Workshop(
        make_reply(200, {"Content-Length": "2"}, b"ok"), make_reply(200, {"Content-Length": "2"}, b"ok")
    )
    for route, target in (("a", "/v1/orders/a%20b?id=9"), (None, "/x")):
        outcome = await workshop.compile(policy, route)(make_call(target=target))
        assert isinstance(outcome, Reply)
        assert await outcome.body.read() == b"ok"
    assert [entry.tags for entry in workshop.store.kept] == [("orders", "orders-a b"), ("all",)]


async def test_a_route_that_is_not_kept_still_invalidates(load) -> None:
    policy = load(
        "routes:\n  - {name: a, match: {method: PUT}}\n  - {name: b, match: {method: GET}, cache: {ttl: 1m}}\n"
    )
    workshop = Workshop()
    await workshop.compile(policy, "a")(make_call("PUT"))
    assert workshop.store.invalidated > 0
    assert workshop.store.kept == []


def test_nobody_pays_for_a_cache_that_no_policy_has(load) -> None:
    workshop = Workshop()
    workshop.compile(load("cache: off\n"))
    assert workshop.grounds == 0


def test_telemetry_is_told_the_route_and_the_origin(load) -> None:
    workshop = Workshop()
    policy = load("upstream: http://10.0.0.7:8080\nroutes: [{name: charge, match: {path: /v1/charges}}]\n")
    workshop.compile(policy, "charge")
    asked = {step.name: step.asked for step in workshop.telemetry.steps}
    assert asked["trace"] == ("stripe", "charge")
    assert asked["measure"] == ("stripe", "charge", "10.0.0.7", 8080, "http", "/v1/charges")


def test_an_upstream_that_only_calls_name_is_told_by_its_wildcard(load) -> None:
    workshop = Workshop()
    workshop.compile(load('provider: salesforce\nhosts: ["*.my.salesforce.com"]\n'))
    workshop.compile(ProviderPolicy(provider="none"))
    measured = [step.asked for step in workshop.telemetry.steps if step.name == "measure"]
    assert measured == [
        ("salesforce", "-", "*.my.salesforce.com", 443, "https", None),
        ("none", "-", "", 443, "https", None),
    ]


async def test_a_provider_stumbles_and_the_call_succeeds(load) -> None:
    workshop = Workshop(503, make_reply(429, {"Retry-After": "2"}), 200)
    call = make_call()
    outcome = await workshop.compile(load(""))(call)
    assert outcome.verdict is Verdict.OK
    assert workshop.clock.slept == [0.0, 2.0]
    assert call.attempt == 3


async def test_a_breaker_a_route_by_default(load) -> None:
    policy = load(
        "retry: off\nbreaker: {consecutive: 1}\n"
        "routes: [{name: a, match: {method: PUT}}, {name: b, match: {method: GET}}]\n"
    )
    workshop = Workshop(503, 200)
    first, second = workshop.compile(policy, "a"), workshop.compile(policy, "b")
    await first(make_call())
    refused = await first(make_call())
    assert isinstance(refused, Failure)
    assert refused.reason is Reason.BREAKER_OPEN
    assert (await second(make_call())).verdict is Verdict.OK
    assert {scope: circuit.state for _, scope, circuit in workshop.keep.circuits()} == {
        "a": CircuitState.OPEN,
        "b": CircuitState.CLOSED,
    }


async def test_one_breaker_for_the_provider_but_for_routes_with_numbers_of_their_own(load) -> None:
    policy = load(
        "retry: off\nbreaker: {consecutive: 1, scope: provider}\n"
        "routes: [{name: a, match: {method: PUT}}, {name: b, match: {method: GET}, breaker: {consecutive: 5}}]\n"
    )
    workshop = Workshop(503)
    for route in (None, "a", "b"):
        workshop.compile(policy, route)
    assert {scope for _, scope, _ in workshop.keep.circuits()} == {WHOLE, "b"}


async def test_a_breaker_for_each_credential(load) -> None:
    workshop = Workshop(503, 200)
    handle = workshop.compile(load("retry: off\nbreaker: {consecutive: 1, scope: credential}\n"))
    await handle(make_call(headers={"Authorization": "Bearer a"}))
    assert isinstance(await handle(make_call(headers={"Authorization": "Bearer a"})), Failure)
    assert (await handle(make_call(headers={"Authorization": "Bearer b"}))).verdict is Verdict.OK


def test_budget_and_limits_are_the_providers_but_for_routes_with_numbers_of_their_own(load) -> None:
    policy = load(
        "limit: {rate: 10/s}\n"
        "routes:\n"
        "  - {name: a, match: {method: PUT}, retry: {attempts: 5}}\n"
        "  - {name: b, match: {method: GET}, limit: {rate: 1/s}, retry: {budget: {ratio: 50%}}}\n"
    )
    workshop = Workshop()
    for route in (None, "a", "b"):
        workshop.compile(policy, route)
    assert [(scope, limiter.settings.rate_per_s) for _, scope, limiter in workshop.keep.limiters()] == [
        (WHOLE, 10.0),
        ("b", 1.0),
    ]
    assert [(scope, budget.settings.ratio) for _, scope, budget in workshop.keep.budgets()] == [
        (WHOLE, 0.2),
        ("b", 0.5),
    ]


def test_routes_that_retry_alone_share_the_usual_budget(load) -> None:
    policy = load(
        "retry: off\nroutes:\n"
        "  - {name: a, match: {method: PUT}, retry: {attempts: 2}}\n"
        "  - {name: b, match: {method: GET}, retry: {attempts: 3, budget: off}}\n"
    )
    workshop = Workshop()
    for route in (None, "a", "b"):
        workshop.compile(policy, route)
    assert [scope for _, scope, _ in workshop.keep.budgets()] == [WHOLE]


async def test_a_reload_keeps_state_and_changes_numbers(load) -> None:
    workshop = Workshop(503)
    before = workshop.compile(load("retry: off\nbreaker: {consecutive: 3}\n"))
    await before(make_call())
    await before(make_call())
    after = workshop.compile(load("retry: off\nbreaker: {consecutive: 3, trials: 2}\n"))
    await after(make_call())
    assert isinstance(await after(make_call()), Failure)
    assert isinstance(await before(make_call()), Failure), "calls under way see it too"


async def test_dry_run_holds_nobody_back(load) -> None:
    workshop = Workshop(make_reply(409, {"X": "y"}))
    policy = load(
        "classify: [{when: {header: {X: y}}, as: transient}]\n"
        "breaker: {consecutive: 1}\nlimit: {concurrency: 1}\n"
        "fallback: [{when: {outcome: rejected}, text: x}]\n"
        "dry_run: [fallback, deadline, classify, retry, breaker, limit]\n"
    )
    call = make_call()
    outcome = await workshop.compile(policy)(call)
    assert outcome.verdict is Verdict.REJECTED
    assert call.decisions == [
        ("classify", "would be transient instead of rejected", 1000.0),
        ("fallback", "would answer 200 (fallback 1 of 1) instead of status-409", 1000.0),
    ]
    assert call.deadline_s > 1e9


def test_pipelines_are_made_when_first_needed_and_once(load) -> None:
    workshop, policy = Workshop(), load("routes: [{name: a, match: {method: PUT}}]\n")
    pipelines = Pipelines(policy, "digest", workshop.ports)
    assert workshop.transports == []
    first = pipelines.of(policy.routes[0])
    assert pipelines.of(policy.routes[0]) is first
    assert pipelines.of(None) is not first
    assert pipelines.of(None) is pipelines.of(None)
    assert [settings for _, settings in workshop.transports] == [policy.routes[0], policy]
    assert routes_of([policy]) == {"stripe": {"a"}}


def test_every_word_of_a_policy_reaches_its_step(load) -> None:
    policy = load(
        "timeouts: {attempt: 4s, total: 9s}\n"
        "classify:\n"
        '  - {when: {status: [409, "5xx"], body: {/error/code: [lock, 7]}}, as: transient, wait: 2s}\n'
        "  - {when: {header: {Should-Retry: 'no*', X-Gone: {present: false}}}, as: rejected}\n"
        "retry:\n"
        "  attempts: 5\n"
        "  backoff: {base: 100ms, cap: 3s, jitter: none}\n"
        "  hint: {headers: [Retry-After, {header: X-Reset, unit: epoch_s}], cap: 20s}\n"
        "  methods: [GET, POST]\n"
        "breaker:\n"
        "  consecutive: off\n"
        "  failure_ratio: {over: 40%, window: 30s, min_calls: 6}\n"
        "  open: {base: 2s, cap: 8s}\n"
        "  trials: 3\n"
        "limit: {rate: 90/m, concurrency: 8, max_wait: 1s, learn: true}\n"
    )
    deadline, retry = translate.deadline(policy), translate.retry(policy)
    assert deadline is not None
    assert deadline.total_s == 9.0
    assert (retry.attempts, retry.methods) == (5, frozenset({"GET", "POST"}))
    assert retry.backoff == BackoffSettings(0.1, 3.0, Jitter.NONE)
    fields = (HintField(b"retry-after"), HintField(b"x-reset", HintUnit.EPOCH_S))
    assert translate.hint(policy) == HintSettings(fields, 20.0)
    assert translate.breaker(policy) == BreakerSettings(None, 0.4, 30.0, 6, 2.0, 8.0, 3, lease_s=6.0)
    assert translate.limit(policy) == LimitSettings(1.5, 2, 8, 1.0, learn=True)
    assert translate.rules(policy) == (
        Rule(
            Verdict.TRANSIENT,
            frozenset({409, *range(500, 600)}),
            body=(BodyTest(("error", "code"), ("lock", 7)),),
            wait_s=2.0,
        ),
        Rule(
            Verdict.REJECTED,
            headers=(HeaderTest(b"should-retry", glob("no*")), HeaderTest(b"x-gone", None, present=False)),
        ),
    )


def test_what_is_left_out_has_the_usual_numbers(load) -> None:
    policy = load("limit: {concurrency: 3}\n")
    assert translate.breaker(policy) == BreakerSettings(lease_s=13.0)
    assert translate.retry(policy).methods is Repeat.SAFE
    assert translate.limit(policy) == LimitSettings(None, 1, 3, 2.0)
    assert translate.hint(load("retry: off\n")) == HintSettings()
    assert translate.hint(load("retry: {hint: off}\n")) is None
    lone = translate.breaker(load("timeouts: off\nbreaker: {failure_ratio: off}\n"))
    assert lone == BreakerSettings(failure_ratio=None, lease_s=61.0)


@pytest.mark.parametrize(
    ("text", "own", "foreign"),
    [
        ("hosts: [a.test, b.test]\n", ["a.test"], ["b.test", "a.test:8443", "x.a.test"]),
        ("hosts: [a.test:8443]\n", ["a.test:8443"], ["a.test"]),
        (
            "hosts: [a.test, '*.b.test']\nupstream: http://127.0.0.1:9999\n",
            ["127.0.0.1:9999", "a.test", "a.test:81", "x.b.test"],
            ["127.0.0.1", "b.test", "c.test"],
        ),
        ("hosts: ['*.b.test']\n", [], ["x.b.test", "None"]),
    ],
)
def test_a_providers_own_urls_are_those_that_its_prefix_leads_to(
    load, text: str, own: list[str], foreign: list[str]
) -> None:
    owns = own_hosts(load(f"provider: shop\n{text}"))
    assert all(owns(authority.encode()) for authority in own)
    assert not any(owns(authority.encode()) for authority in foreign)
