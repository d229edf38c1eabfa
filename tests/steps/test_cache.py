"""The cache step over a real shelf, the clock in hand: what reaches the provider, and what the application gets."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from math import inf
from typing import Any

import pytest

from sidecar.call import Call, Failure, Outcome, Reply
from sidecar.errors import Reason, Verdict, WireError
from sidecar.http1.message import Body
from sidecar.rules.cache.health import ROUTE_SICK_AFTER, Health
from sidecar.rules.cache.key import Keys
from sidecar.rules.cache.settings import CacheSettings, Rules
from sidecar.rules.cache.stale import expires_at_s
from sidecar.steps.cache import CacheStep
from sidecar.steps.cache_ports import CachePorts
from sidecar.steps.flight import Flights
from sidecar.stores.shelf import Shelf
from sidecar.stores.tiers import Tiers
from tests.fakes import HANG, FakeClock, FakeProvider, make_call, make_failure, make_reply, turn_loop

KEPT = CacheSettings()
STALE = CacheSettings(stale_s=3600.0)
TTL = CacheSettings(ttl_s=60.0, stale_s=3600.0)
LOST = make_failure(Verdict.TRANSIENT, Reason.CONNECTION_LOST)
OPEN = Failure(Reason.BREAKER_OPEN, "held back", Verdict.LOCAL, 5.0)


class Tallies:
    """`CacheBook` that a test can read."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def count(self, result: str) -> None:
        self.counts[result] += 1


class Bench:
    """A cache step between callers and a provider that follows a script."""

    def __init__(self, *script: Any, settings: CacheSettings | None = KEPT, dry_run: bool = False) -> None:
        self.clock = FakeClock()
        self.provider = FakeProvider(*script)
        self.book = Tallies()
        self.flights = Flights()
        self.health = Health(ROUTE_SICK_AFTER)
        self.store = Tiers(
            Shelf(1_000_000, lambda _: False),
            (),
            self.clock,
            lambda entry: inf if entry.terms is None else expires_at_s(entry, entry.terms),
        )
        self._dry_run = dry_run
        self.handle = self.bind(settings)

    def bind(self, settings: CacheSettings | None) -> Any:
        vary_on = () if settings is None else settings.vary_on
        origin = "https://api.test"
        ports = CachePorts(
            self.store,
            self.flights,
            self.health,
            Keys(b"secret", "stripe", origin, vary_on),
            self.clock,
            self.book,
            origin,
            lambda _: (),
            30.0,
        )
        return CacheStep(settings, ports, dry_run=self._dry_run).bind(self.provider)

    async def get(self, target: str = "/a", **fields: str) -> Outcome:
        return await self.send("GET", target, **fields)

    async def send(self, method: str, target: str = "/a", **fields: str) -> Outcome:
        return await self.handle(self.call(method, target, **fields))

    def call(self, method: str = "GET", target: str = "/a", **fields: str) -> Call:
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        return make_call(method, target, headers, started_s=self.clock.now())

    def begin(self, target: str = "/a", **fields: str) -> asyncio.Task[Outcome]:
        return asyncio.get_running_loop().create_task(self.get(target, **fields))


def good(body: bytes | Body = b"hello", **fields: str) -> Any:
    """An answer of the provider's, new with each call: fresh for a minute unless it says otherwise."""
    fields.setdefault("cache_control", "max-age=60")

    def answer(_call: Call) -> Reply:
        headers = {name.replace("_", "-"): value for name, value in fields.items() if value}
        return make_reply(200, headers, body)

    return answer


def status(code: int, verdict: Verdict = Verdict.OK, **fields: str) -> Any:
    return lambda _call: make_reply(
        code, {name.replace("_", "-"): value for name, value in fields.items()}, b"", verdict=verdict
    )


async def read(outcome: Outcome) -> bytes:
    assert isinstance(outcome, Reply), outcome
    data = b""
    while piece := await outcome.body.read():
        data += piece
    return data


def said(outcome: Outcome) -> tuple[str, str, str]:
    """(source, reason, Cache-Status) of a reply."""
    assert isinstance(outcome, Reply), outcome
    extra = dict(outcome.extra or ())
    served = outcome.served
    return served.source if served else "", served.reason if served else "", extra[b"Cache-Status"].decode()


# Fresh.


async def test_a_second_call_is_answered_from_what_is_kept() -> None:
    bench = Bench(good())
    first = await bench.get()
    assert (await read(first), said(first)) == (b"hello", ("", "", "sidecar; fwd=uri-miss; fwd-status=200; stored"))
    bench.clock.advance(12)
    second = await bench.get()
    assert (await read(second), said(second)) == (b"hello", ("cache", "", "sidecar; hit; ttl=48"))
    assert isinstance(second, Reply)
    assert (b"Age", b"12") in (second.extra or ())
    assert second.headers.get(b"content-length") == b"5"
    assert bench.provider.attempts == 1
    assert bench.book.counts == {"miss": 1, "hit": 1}


async def test_a_policys_ttl_wins_and_is_said() -> None:
    bench = Bench(good(cache_control="no-store"), settings=TTL)
    await bench.get()
    assert said(await bench.get())[2] == "sidecar; hit; ttl=60; detail=ttl-by-policy"


async def test_head_is_answered_from_a_get() -> None:
    bench = Bench(good())
    await bench.get()
    head = await bench.send("HEAD")
    assert await read(head) == b""
    assert isinstance(head, Reply)
    assert head.headers.get(b"content-length") == b"5"
    assert bench.provider.attempts == 1


async def test_the_applications_own_condition_is_answered_from_what_is_kept() -> None:
    bench = Bench(good(etag='"1"'))
    await bench.get()
    reply = await bench.get(If_None_Match='"1"')
    assert isinstance(reply, Reply)
    assert (reply.status, reply.headers.get(b"etag"), bench.provider.attempts) == (304, b'"1"', 1)


async def test_credentials_are_kept_apart() -> None:
    bench = Bench(good(b"yours"), good(b"mine"))
    await bench.get(Authorization="Bearer you")
    assert await read(await bench.get(Authorization="Bearer me")) == b"mine"
    assert await read(await bench.get(Authorization="Bearer you")) == b"yours"


async def test_ranges_and_bodies_pass_by() -> None:
    bench = Bench(good())
    await bench.get()
    assert said(await bench.get(Range="bytes=0-1"))[2].startswith("sidecar; fwd=bypass; fwd-status=200")
    await bench.handle(make_call("GET", "/a", body=b"x"))
    assert bench.provider.attempts == 3


async def test_only_if_cached_is_refused_where_nothing_is() -> None:
    outcome = await Bench(good()).get(Cache_Control="only-if-cached")
    assert isinstance(outcome, Failure)
    assert outcome.reason is Reason.NOT_CACHED


async def test_bodies_larger_than_the_policy_allows_are_not_kept() -> None:
    bench = Bench(good(b"x" * 11), settings=CacheSettings(max_entry_bytes=10))
    for _ in range(2):
        assert len(await read(await bench.get())) == 11
    assert bench.provider.attempts == 2


async def test_a_body_that_arrives_later_is_kept_when_it_is_whole() -> None:
    body = Body()
    bench = Bench(good(body))
    first = await bench.get()
    body.feed(b"slow ")
    body.feed(b"body")
    body.finish()
    assert await read(first) == b"slow body"
    assert await read(await bench.get()) == b"slow body"


async def test_a_body_that_breaks_off_is_not_kept() -> None:
    body = Body()
    bench = Bench(good(body), good(b"whole"))
    await bench.get()
    body.feed(b"half")
    body.fail(ConnectionError("cut"))
    assert await read(await bench.get()) == b"whole"


async def test_trouble_with_settings_that_a_reload_brought_is_none() -> None:
    bench = Bench(good())
    await bench.get()
    bench.clock.advance(30)
    shorter = bench.bind(replace(KEPT, ttl_s=10.0))
    reply = await shorter(bench.call())
    assert bench.provider.attempts == 2, "the new policy's lifetime counts for what was there before"
    assert isinstance(reply, Reply)


# Validation.


async def test_a_stale_entry_is_validated_and_good_again() -> None:
    bench = Bench(good(etag='"1"'), status(304, ETag='"1"', Cache_Control="max-age=60"))
    await bench.get()
    bench.clock.advance(61)
    reply = await bench.get()
    assert (await read(reply), said(reply)) == (b"hello", ("cache", "", "sidecar; fwd=stale; fwd-status=304; stored"))
    assert bench.provider.calls[1].headers.get(b"if-none-match") == b'"1"'
    assert said(await bench.get())[2] == "sidecar; hit; ttl=60"
    assert bench.book.counts == {"miss": 1, "validated": 1, "hit": 1}


async def test_a_304_to_the_applications_condition_passes_when_nothing_is_kept() -> None:
    bench = Bench(status(304, ETag='"1"'))
    reply = await bench.get(If_None_Match='"1"')
    assert isinstance(reply, Reply)
    assert reply.status == 304
    assert bench.provider.calls[0].headers.get(b"if-none-match") == b'"1"'


async def test_a_304_about_something_else_is_asked_again_in_full() -> None:
    bench = Bench(good(etag='"1"'), status(304, ETag='"other"'), good(b"new", etag='"other"'))
    await bench.get()
    bench.clock.advance(61)
    assert await read(await bench.get()) == b"new"
    assert b"if-none-match" not in bench.provider.calls[2].headers


async def test_a_new_reply_replaces_what_was_kept() -> None:
    bench = Bench(good(b"old", etag='"1"'), good(b"new", etag='"2"'))
    await bench.get()
    bench.clock.advance(61)
    assert await read(await bench.get()) == b"new"
    assert await read(await bench.get()) == b"new"
    assert bench.provider.attempts == 2


async def test_head_tells_that_what_is_kept_is_outdated() -> None:
    bench = Bench(good(etag='"1"'), status(200, ETag='"2"'), good(b"new"))
    await bench.get()
    await bench.send("HEAD", Cache_Control="no-cache")
    assert await read(await bench.get()) == b"new"


# Changes.


@pytest.mark.parametrize("settings", [KEPT, None], ids=["cached-route", "other-route"])
async def test_a_change_forgets_what_was_there(settings: CacheSettings | None) -> None:
    bench = Bench(good(b"old"), status(201), good(b"new"))
    await bench.get()
    await bench.bind(settings)(bench.call("POST"))
    assert await read(await bench.get()) == b"new"


async def test_a_change_that_failed_forgets_nothing() -> None:
    bench = Bench(good(), status(409, Verdict.REJECTED))
    await bench.get()
    await bench.send("POST")
    await bench.get()
    assert bench.provider.attempts == 2


async def test_what_was_asked_before_a_change_is_not_kept_after_it() -> None:
    bench = Bench(HANG, status(200), good(b"new"))
    asked = bench.begin()
    await turn_loop()
    await bench.send("PUT")
    bench.provider.release(good(b"old")(bench.call()))
    assert await read(await asked) == b"old"
    assert await read(await bench.get()) == b"new"


# Stale.


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (LOST, "connection-lost"),
        (OPEN, "breaker-open"),
        (make_failure(Verdict.UNREACHABLE), "connect-failed"),
        (status(503, Verdict.TRANSIENT), "status-503"),
        (status(429, Verdict.THROTTLED), "status-429"),
        (status(403, Verdict.EXHAUSTED), "status-403"),
        (make_failure(Verdict.LOCAL, Reason.RATE_LIMITED), "rate-limited"),
        (make_failure(Verdict.TRANSIENT, Reason.TOTAL_TIMEOUT), "total-timeout"),
    ],
)
async def test_what_is_kept_stands_in_for_a_failure(trouble: Any, reason: str) -> None:
    bench = Bench(good(), trouble, settings=STALE)
    await bench.get()
    bench.clock.advance(100)
    reply = await bench.get()
    assert (await read(reply), said(reply)) == (b"hello", ("stale", reason, f"sidecar; hit; ttl=-40; detail={reason}"))
    assert isinstance(reply, Reply)
    assert (reply.verdict, (b"Age", b"100") in (reply.extra or ())) == (Verdict.OK, True)
    assert bench.provider.calls[1].standby
    assert bench.book.counts["stale"] == 1


@pytest.mark.parametrize("trouble", [status(404, Verdict.REJECTED), make_failure(Verdict.LOCAL, Reason.EGRESS_DENIED)])
async def test_what_is_no_failure_of_the_providers_is_not_covered_up(trouble: Any) -> None:
    bench = Bench(good(), trouble, settings=STALE)
    await bench.get()
    bench.clock.advance(100)
    outcome = await bench.get()
    assert isinstance(outcome, Failure) or (outcome.status, outcome.served) == (404, None)


async def test_past_the_ceiling_the_failure_is_shown() -> None:
    bench = Bench(good(), LOST, settings=STALE)
    await bench.get()
    bench.clock.advance(60 + 3601)
    assert await bench.get() is LOST


async def test_must_revalidate_is_obeyed_unless_the_policy_overrides_it() -> None:
    for override in (False, True):
        strict = good(cache_control="max-age=60, must-revalidate")
        bench = Bench(strict, LOST, settings=replace(STALE, override=override))
        await bench.get()
        bench.clock.advance(100)
        assert isinstance(await bench.get(), Reply) is override


async def test_no_store_is_obeyed_unless_the_policy_overrides_it() -> None:
    for override in (False, True):
        bench = Bench(good(cache_control="no-store"), LOST, settings=replace(STALE, override=override))
        await bench.get()
        assert isinstance(await bench.get(), Reply) is override


async def test_a_sick_provider_is_not_waited_for_and_is_asked_behind_the_callers_back() -> None:
    bench = Bench(good(), LOST, HANG, settings=STALE)
    await bench.get()
    bench.clock.advance(100)
    await bench.get()
    bench.clock.advance(2)
    for _ in range(5):
        reply = await bench.get()
        assert said(reply)[:2] == ("stale", "connection-lost")
    await turn_loop()
    assert bench.provider.attempts == 3, "one refresh at a time"
    bench.provider.release(good(b"well again")(bench.call()))
    await turn_loop()
    assert await read(await bench.get()) == b"well again"
    assert (bench.flights.tasks, bench.flights.by_key) == (set(), {})


async def test_refreshes_of_a_sick_provider_wait_as_long_as_it_asks_for() -> None:
    bench = Bench(good(), OPEN, OPEN, good(b"new"), settings=STALE)
    await bench.get()
    await bench.get("/other")  # the breaker's refusal
    bench.clock.advance(70)
    await bench.get()
    await turn_loop()
    before = bench.provider.attempts
    for _ in range(4):
        bench.clock.advance(1)
        await bench.get()
        await turn_loop()
    assert bench.provider.attempts == before, "the breaker said five seconds"
    bench.clock.advance(1.1)
    await bench.get()
    await turn_loop()
    assert await read(await bench.get()) == b"new"


async def test_while_it_is_revalidated_it_may_be_served() -> None:
    bench = Bench(good(cache_control="max-age=60, stale-while-revalidate=30"), good(b"new"))
    await bench.get(If_None_Match='"mine"')
    bench.clock.advance(70)
    reply = await bench.get(If_None_Match='"mine"')
    assert said(reply) == ("stale", "revalidating", "sidecar; hit; ttl=-10; detail=revalidating")
    await turn_loop()
    assert b"if-none-match" not in bench.provider.calls[1].headers
    assert await read(await bench.get()) == b"new"
    assert bench.book.counts["while"] == 1


async def test_a_refresh_takes_a_body_that_comes_in_pieces() -> None:
    body = Body()
    bench = Bench(good(cache_control="max-age=60, stale-while-revalidate=30"), good(body))
    await bench.get()
    bench.clock.advance(70)
    await bench.get()
    await turn_loop()
    body.feed(b"new ")
    await turn_loop()
    body.feed(b"body")
    body.finish()
    await turn_loop()
    assert await read(await bench.get()) == b"new body"
    assert (bench.flights.tasks, bench.flights.by_key, bench.clock.pending) == (set(), {}, 0)


async def test_a_refresh_that_brings_no_end_is_given_up() -> None:
    body = Body()
    bench = Bench(good(cache_control="max-age=60, stale-while-revalidate=300"), good(body), good(b"new"))
    await bench.get()
    bench.clock.advance(70)
    await bench.get()
    await turn_loop()
    body.feed(b"event")
    bench.clock.advance(30)
    await turn_loop()
    assert (body.done, bench.flights.tasks, bench.flights.by_key) == (True, set(), {})


async def test_a_refresh_that_breaks_off_leaves_what_was_there(caplog: pytest.LogCaptureFixture) -> None:
    body = Body()
    bench = Bench(good(cache_control="max-age=60, stale-while-revalidate=300"), good(body), good(b"new"))
    await bench.get()
    bench.clock.advance(70)
    await bench.get()
    await turn_loop()
    body.fail(WireError(Reason.REPLY_INCOMPLETE, "cut"))
    await turn_loop()
    assert bench.clock.pending == 0
    assert await read(await bench.get()) == b"hello"
    assert bench.flights.tasks != set(), "and is tried again"
    assert "Traceback" not in caplog.text


async def test_a_fault_of_ours_in_a_refresh_is_logged_and_lets_others_go(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(good(cache_control="max-age=60, stale-while-revalidate=30"), ValueError("bug"), good(b"new"))
    await bench.get()
    bench.clock.advance(70)
    await bench.get()
    await turn_loop()
    assert "a refresh failed" in caplog.text
    await bench.get()
    await turn_loop()
    assert await read(await bench.get()) == b"new"


# Coalescing.


async def test_equal_calls_become_one() -> None:
    bench = Bench(HANG)
    asked = [bench.begin() for _ in range(1000)]
    await turn_loop()
    assert bench.provider.attempts == 1
    bench.provider.release(good()(bench.call()))
    replies = await asyncio.gather(*asked)
    assert {await read(reply) for reply in replies} == {b"hello"}
    assert said(replies[1])[2] == "sidecar; fwd=uri-miss; fwd-status=200; collapsed"
    assert bench.book.counts == {"miss": 1, "coalesced": 999}


async def test_streamed_replies_are_shared_as_they_arrive() -> None:
    bench, body = Bench(HANG), Body()
    asked = [bench.begin() for _ in range(2)]
    await turn_loop()
    bench.provider.release(good(body)(bench.call()))
    first, second = await asyncio.gather(*asked)
    body.feed(b"one ")
    late = await bench.get()
    for reply in (first, second, late):
        assert isinstance(reply, Reply)
        assert await reply.body.read() == b"one "
    body.feed(b"two")
    body.finish()
    assert [await read(reply) for reply in (first, second, late)] == [b"two"] * 3
    assert bench.provider.attempts == 1


async def test_an_answer_that_is_for_one_only_makes_nobody_queue_again() -> None:
    bench = Bench(HANG)
    asked = [bench.begin() for _ in range(3)]
    await turn_loop()
    bench.provider.release(make_reply(200, {"Cache-Control": "no-store"}, b"1"))
    await turn_loop()
    assert len(bench.provider.hanging) == 2, "all that waited go at once"
    asked.append(bench.begin())
    await turn_loop()
    assert len(bench.provider.hanging) == 3, "and so do those who come later"
    for number in (b"2", b"3", b"4"):
        bench.provider.release(make_reply(200, {"Cache-Control": "no-store"}, number))
    assert {await read(reply) for reply in await asyncio.gather(*asked)} == {b"1", b"2", b"3", b"4"}


async def test_an_application_that_hangs_up_hands_over() -> None:
    bench = Bench(HANG)
    leader, follower = bench.begin(), bench.begin()
    await turn_loop()
    leader.cancel()
    await turn_loop()
    assert bench.provider.attempts == 2
    bench.provider.release(good()(bench.call()))
    assert await read(await follower) == b"hello"


async def test_a_failure_is_everybodys() -> None:
    bench = Bench(HANG)
    asked = [bench.begin() for _ in range(3)]
    await turn_loop()
    bench.provider.release(LOST)
    assert await asyncio.gather(*asked) == [LOST, LOST, LOST]
    assert bench.provider.attempts == 1


async def test_a_failing_reply_is_everybodys() -> None:
    bench = Bench(HANG)
    asked = [bench.begin() for _ in range(3)]
    await turn_loop()
    bench.provider.release(make_reply(503, {}, b"sorry", verdict=Verdict.TRANSIENT))
    assert [await read(reply) for reply in await asyncio.gather(*asked)] == [b"sorry"] * 3
    assert bench.provider.attempts == 1


async def test_who_waits_does_so_no_longer_than_its_own_deadline() -> None:
    bench = Bench(HANG)
    leader = bench.begin()
    await turn_loop()
    hurried = bench.call()
    hurried.deadline_s = bench.clock.now() + 0.1
    waiting = asyncio.get_running_loop().create_task(bench.handle(hurried))
    await turn_loop()
    bench.clock.advance(0.2)
    outcome = await waiting
    assert isinstance(outcome, Failure)
    assert (outcome.reason, outcome.verdict) == (Reason.TOTAL_TIMEOUT, Verdict.TRANSIENT)
    assert not leader.done()
    bench.provider.release(good()(bench.call()))
    assert await read(await leader) == b"hello"


async def test_one_that_runs_out_of_time_does_not_fail_the_others() -> None:
    bench = Bench(HANG)
    leader, follower = bench.begin(), bench.begin()
    await turn_loop()
    bench.provider.release(make_failure(Verdict.TRANSIENT, Reason.TOTAL_TIMEOUT))
    await turn_loop()
    assert leader.done()
    assert bench.provider.attempts == 2
    bench.provider.release(good()(bench.call()))
    assert await read(await follower) == b"hello"


async def test_waiting_for_another_call_a_stale_reply_is_served_at_the_deadline() -> None:
    bench = Bench(good(), HANG, settings=STALE)
    await bench.get()
    bench.clock.advance(100)
    leader = bench.begin()
    await turn_loop()
    hurried = bench.call()
    hurried.deadline_s = bench.clock.now() + 0.1
    waiting = asyncio.get_running_loop().create_task(bench.handle(hurried))
    await turn_loop()
    bench.clock.advance(0.2)
    assert said(await waiting)[:2] == ("stale", "total-timeout")
    leader.cancel()


async def test_variants_are_told_apart_when_the_answer_comes() -> None:
    bench = Bench(HANG)
    german, french = bench.begin(Accept_Language="de"), bench.begin(Accept_Language="fr")
    await turn_loop()
    assert bench.provider.attempts == 1
    bench.provider.release(good(b"hallo", vary="Accept-Language")(bench.call()))
    await turn_loop()
    bench.provider.release(good(b"salut", vary="Accept-Language")(bench.call()))
    assert (await read(await german), await read(await french)) == (b"hallo", b"salut")


async def test_no_coalescing_where_the_policy_says_so() -> None:
    bench = Bench(HANG, settings=CacheSettings(coalesce=False))
    asked = [bench.begin() for _ in range(3)]
    await turn_loop()
    assert bench.provider.attempts == 3
    for _ in asked:
        bench.provider.release(good()(bench.call()))
    await asyncio.gather(*asked)


# Off and dry.


async def test_in_a_dry_run_every_call_goes_out_and_says_what_it_might_have_had() -> None:
    bench = Bench(good(), settings=STALE, dry_run=True)
    await bench.get()
    bench.clock.advance(5)
    call = bench.call()
    await bench.handle(call)
    assert bench.provider.attempts == 2
    assert [decision for _, decision, _ in call.decisions or ()] == ["would serve a reply 5 s old"]


@pytest.mark.parametrize("rules", list(Rules))
async def test_both_sets_of_rules_serve_what_is_plainly_cacheable(rules: Rules) -> None:
    bench = Bench(good(), settings=CacheSettings(rules=rules))
    await bench.get()
    assert said(await bench.get())[0] == "cache"
