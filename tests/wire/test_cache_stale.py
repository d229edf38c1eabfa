"""A kept reply stands in when the provider fails, and below it the policy's own: the ladder of PRODUCT §6."""

from __future__ import annotations

import json
from time import monotonic
from typing import Any

import pytest

from tests.menu import after, hang_up, late, name_target, raw, reply, reset, serve, stall
from tests.providers import Answer, Connection, Gate, Request
from tests.wire import structured
from tests.wire.client import Response, eventually
from tests.wire.daemon import Served, Sidecar, free_port

CACHE = {"store": "private", "stale": "1h"}
SPENT = (b"Cache-Control: max-age=60", b"Age: 100")
"""Stale when it comes, by 40 s."""
OLD = reply(200, b"kept", b"Content-Type: text/plain", *SPENT)
FRESH = b"Cache-Control: max-age=600"
LIST = {"object": "list", "data": []}


def stands_in(response: Response, reason: str) -> None:
    """That it is the kept reply, and says so everywhere."""
    assert (response.status, response.body) == (200, b"kept")
    assert response.served is not None
    age_s = int(response.one(b"age"))
    assert 100 <= age_s <= 115
    assert response.served.value == "stale"
    assert response.served.params == {"age": age_s, "reason": reason}
    assert isinstance(response.served.params["reason"], structured.Token)
    assert response.sidecar["outcome"] == "ok"
    status = response.cache_status
    assert status is not None
    assert (status["hit"], status["detail"]) == (True, reason)
    assert status["ttl"] in {60 - age_s, 59 - age_s}, "whole seconds, rounded either way"
    assert response.all(b"proxy-status") == [], "the reply is the provider's own, if an old one"


def lapse(served: Served) -> None:
    """Fill the cache with what is stale at once."""
    response = served.get()
    assert (response.status, response.cache_status) == (200, {"fwd": "uri-miss", "fwd-status": 200, "stored": True})


# Each way to fail.

FAILURES: list[tuple[Answer, str]] = [
    (reply(500, b"oops"), "status-500"),
    (reply(502), "status-502"),
    (reply(503, b"busy", b"Retry-After: 30"), "status-503"),
    (reply(429, b"slow down", b"Retry-After: 30"), "status-429"),
    (reset, "connection-lost"),
    (hang_up, "connection-lost"),
    (raw(b"junk\r\n\r\n"), "reply-malformed"),
    (raw(b"HTTP/1.1 200 OK\r\nCont", close=True), "reply-incomplete"),
    (stall, "attempt-timeout"),
]


@pytest.mark.parametrize(
    ("failure", "reason"), FAILURES, ids=["500", "502", "503", "429", "reset", "closed", "junk", "cut-head", "hang"]
)
def test_a_kept_reply_stands_in(sidecar: Sidecar, failure: Answer, reason: str) -> None:
    served = sidecar.provider(serve(OLD, failure), cache=CACHE, timeouts={"attempt": "200ms"})
    lapse(served)
    stands_in(served.get(), reason)
    assert len(served.requests) <= 3, "once, and once more if the connection might have died idle"


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_kept_reply_stands_in_for_a_provider_that_is_gone(sidecar: Sidecar, tls: bool) -> None:
    served = sidecar.provider(serve(OLD), cache=CACHE, tls=tls)
    lapse(served)
    sidecar.stop_provider(served.provider)
    stands_in(served.get(), "connect-failed")
    stands_in(served.get(), "connect-failed")


def test_a_kept_reply_stands_in_while_the_breaker_is_open(sidecar: Sidecar) -> None:
    breaker = {"consecutive": 2, "open": {"base": "30s"}}
    served = sidecar.provider(serve(OLD, reply(500)), cache=CACHE, breaker=breaker)
    lapse(served)
    for path in ("/a", "/b"):
        assert served.get(path).status == 500
    assert served.get("/a").problem["reason"] == "breaker-open", "nothing is kept of it"
    asked = len(served.requests)
    stands_in(served.get("/"), "breaker-open")
    assert len(served.requests) == asked


def test_a_kept_reply_stands_in_before_the_deadline_would_pass(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(OLD, stall), cache=CACHE, timeouts={"attempt": "20s", "total": "20s"})
    lapse(served)
    began_s = monotonic()
    response = served.get("/", b"Sidecar-Timeout: 300ms")
    assert monotonic() - began_s < 2
    assert response.served is not None
    stands_in(response, str(response.served.params["reason"]))
    assert response.served.params["reason"] in {"attempt-timeout", "total-timeout"}


def test_a_kept_reply_stands_in_at_the_policy_s_own_limit(sidecar: Sidecar) -> None:
    gate = Gate()
    limit = {"concurrency": 1, "max_wait": "100ms"}
    served = sidecar.provider(serve(OLD, after(gate, reply(200))), cache=CACHE, limit=limit)
    lapse(served)
    with sidecar.connect() as client:
        client.send(served.message("GET", "/other"))
        eventually(lambda: gate.waiting)
        stands_in(served.get(), "concurrency-limited")
        gate.open()
        assert client.response().status == 200


def test_one_attempt_is_enough_where_something_is_kept(sidecar: Sidecar) -> None:
    """A caller who can have a reply at once need not wait for the provider's third chance."""
    retry = {"attempts": 4, "backoff": {"base": "2s", "jitter": "none"}}
    served = sidecar.provider(serve(OLD, reply(503)), cache=CACHE, retry=retry)
    lapse(served)
    began_s = monotonic()
    stands_in(served.get(), "status-503")
    assert monotonic() - began_s < 1.5
    assert len(served.requests) == 2


@pytest.mark.parametrize("answer", [reply(404, b"gone"), reply(401, b"who"), reply(400, b"no")])
def test_what_is_our_fault_is_told(sidecar: Sidecar, answer: Answer) -> None:
    served = sidecar.provider(serve(OLD, answer), cache=CACHE)
    lapse(served)
    response = served.get()
    assert response.status in {400, 401, 404}
    assert response.served is None


# Once it is known to be down, nobody waits.


def test_only_the_first_waits_for_a_provider_that_hangs(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(OLD, stall), cache=CACHE, timeouts={"attempt": "500ms"})
    lapse(served)
    waits_s = []
    for _ in range(6):
        began_s = monotonic()
        response = served.get()
        waits_s.append(monotonic() - began_s)
        stands_in(response, "attempt-timeout")
    assert waits_s[0] > 0.4
    assert max(waits_s[1:]) < 0.2
    assert len(served.requests) <= 3, "no more than one refresh at a time"


def test_well_again_it_is_noticed_behind_the_caller_s_back(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(OLD, reply(500), reply(200, b"new", FRESH)), cache=CACHE)
    lapse(served)
    stands_in(served.get(), "status-500")
    assert eventually(lambda: served.get().body == b"new", within_s=8, every_s=0.1)
    assert len(served.requests) == 3


# What the provider itself allows and forbids.


@pytest.mark.parametrize("directive", [b"must-revalidate", b"no-cache"])
def test_a_provider_may_forbid_it(sidecar: Sidecar, directive: bytes) -> None:
    kept = reply(200, b"kept", b"Cache-Control: max-age=60, " + directive, b"Age: 100", b'ETag: "1"')
    served = sidecar.provider(serve(kept, reply(500, b"oops"), hang_up), cache=CACHE)
    served.get()
    assert (served.get().status, served.get().problem["reason"]) == (500, "connection-lost")


@pytest.mark.parametrize("directive", [b"no-store", b"no-cache", b"max-age=60, must-revalidate", b"private, max-age=0"])
def test_the_policy_s_owner_may_know_better(sidecar: Sidecar, directive: bytes) -> None:
    cache = {"store": "private", "stale": {"for": "1h", "override": True}}
    fields = b"Cache-Control: " + directive, b"Age: 100"
    served = sidecar.provider(
        serve(reply(200, b"kept", *fields), reply(200, b"next", *fields), reply(500)), cache=cache
    )
    assert served.get().body == b"kept"
    assert served.get().body == b"next", "while the provider is well it is asked each time"
    response = served.get()
    assert response.served is not None
    assert (response.body, response.served.value) == (b"next", "stale")


def test_no_store_is_obeyed_otherwise(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200, b"", b"Cache-Control: no-store"), reply(500)), cache=CACHE)
    served.get()
    assert served.get().status == 500


def test_an_application_that_forbids_it_gets_the_truth(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(OLD, reply(500)), cache=CACHE)
    lapse(served)
    assert served.get("/", b"Cache-Control: no-cache").status == 500


def test_a_provider_may_allow_it_without_the_policy(sidecar: Sidecar) -> None:
    kept = reply(200, b"kept", b"Cache-Control: max-age=60, stale-if-error=600", b"Age: 100")
    served = sidecar.provider(serve(kept, reply(500)), cache={"store": "private"})
    lapse(served)
    stands_in(served.get(), "status-500")


def test_the_ceiling_holds(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(OLD, reply(500, b"oops")), cache={"store": "private", "stale": "30s"})
    served.get()
    assert (served.get().status, len(served.requests)) == (500, 2)


def test_without_a_ceiling_nothing_stands_in(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(OLD, reply(500)), cache={"store": "private"})
    served.get()
    assert served.get().status == 500


def test_stale_while_revalidate(sidecar: Sidecar) -> None:
    gate = Gate()
    kept = reply(200, b"kept", b"Cache-Control: max-age=60, stale-while-revalidate=600", b"Age: 100")
    served = sidecar.provider(serve(kept, after(gate, reply(200, b"new", FRESH))), cache={"store": "private"})
    lapse(served)
    for _ in range(3):
        response = served.get()
        assert response.body == b"kept"
        assert response.served is not None
        assert (response.served.value, response.served.params["reason"]) == ("stale", "revalidating")
    assert eventually(lambda: gate.waiting == 1)
    gate.open()
    assert eventually(lambda: served.get().body == b"new")
    assert len(served.requests) == 2


def test_a_dry_run_of_the_cache_lets_nothing_stand_in(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(OLD, reply(500)), cache=CACHE, dry_run=["cache"])
    served.get()
    assert served.get().status == 500


# A failure that says for how long.


def test_a_failure_that_says_how_long_is_not_asked_for_again(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(503, b"busy", FRESH), reply(200, b"well")), cache=CACHE)
    first, second = served.get(), served.get()
    assert first.cache_status == {"fwd": "uri-miss", "fwd-status": 503, "stored": True}
    assert (second.status, second.body) == (503, b"busy")
    assert second.served is not None
    assert (second.served.value, second.sidecar["outcome"]) == ("cache", "transient")
    assert len(served.requests) == 1


def test_a_failure_takes_nothing_s_place(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(OLD, reply(503, b"busy", FRESH)), cache=CACHE)
    lapse(served)
    for _ in range(2):
        stands_in(served.get(), "status-503")


def test_a_fallback_comes_before_a_failure_that_is_kept(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(503, b"busy", FRESH)), cache=CACHE, fallback=[{"text": "made up"}])
    assert [served.get().body for _ in range(2)] == [b"made up"] * 2
    assert len(served.requests) == 1


def test_a_failure_says_that_nothing_was_kept(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(500, b"oops")), cache=CACHE)
    assert served.get().cache_status == {"fwd": "uri-miss", "fwd-status": 500}


# Below it: the policy's own reply.


def test_a_fallback_answers_when_nothing_is_kept(sidecar: Sidecar) -> None:
    served = sidecar.provider(
        serve(name_target), upstream=f"http://127.0.0.1:{free_port()}", fallback=[{"status": 200, "json": LIST}]
    )
    response = served.get("/v1/charges")
    assert response.status == 200
    assert json.loads(response.body) == LIST
    assert response.one(b"content-type") == b"application/json"
    assert response.served is not None
    assert (response.served.value, response.served.params) == ("fallback", {"reason": "connect-failed"})
    assert response.sidecar["outcome"] == "ok"
    assert response.proxy_error is not None, "the sidecar made it, and says why (RFC 9209)"


def test_the_ladder_is_gone_down_rung_by_rung(sidecar: Sidecar) -> None:
    ladder: list[dict[str, Any]] = [
        {"when": {"reason": "attempt-timeout"}, "status": 203, "text": "slow"},
        {"when": {"status": "5xx"}, "status": 200, "headers": {"X-Rung": "two"}, "json": {"id": "{id}"}},
        {"status": 202, "text": "anything"},
    ]
    routes = [{"name": "one", "match": {"method": "GET", "path": "/v1/{id}"}, "fallback": ladder}]
    served = sidecar.provider(serve(stall, reply(503), hang_up), routes=routes, timeouts={"attempt": "200ms"})
    slow, busy, gone = (served.get('/v1/a%22b%0d%0a"') for _ in range(3))
    assert (slow.status, slow.body) == (203, b"slow")
    assert json.loads(busy.body) == {"id": 'a"b\r\n"'}, "what the path says cannot break out"
    assert (busy.one(b"x-rung"), busy.served and busy.served.params) == (b"two", {"reason": "status-503"})
    assert (gone.status, gone.body) == (202, b"anything")


def test_what_is_kept_comes_before_a_fallback(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(OLD, reply(500)), cache=CACHE, fallback=[{"text": "made up"}])
    lapse(served)
    stands_in(served.get(), "status-500")
    assert served.get("/other").body == b"made up"


def test_a_fallback_is_never_kept(sidecar: Sidecar) -> None:
    fallback = [{"text": "made up", "headers": {"Cache-Control": "max-age=600"}}]
    served = sidecar.provider(serve(reply(500), reply(200, b"real", FRESH)), cache=CACHE, fallback=fallback)
    assert [served.get().body for _ in range(2)] == [b"made up", b"real"]


def test_only_if_cached_may_be_answered_by_a_rung_that_says_so(sidecar: Sidecar) -> None:
    served = sidecar.provider(
        serve(reply(200)), cache=CACHE, fallback=[{"when": {"reason": "not-cached"}, "text": "none"}]
    )
    assert served.get("/", b"Cache-Control: only-if-cached").body == b"none"
    assert served.requests == []


def test_a_post_gets_no_made_up_answer(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(503, b"busy")), fallback=[{"text": "made up"}])
    assert served.call("POST", "/", body=b"x").body == b"busy"
    assert served.get().body == b"made up"


def test_the_whole_ladder(sidecar: Sidecar) -> None:
    """Fresh, cached, stale, fallback, and where nothing is left a clear error."""
    routes = [
        {"name": "helped", "match": {"path": "/helped"}, "fallback": [{"text": "made up"}]},
        {"name": "plain", "match": {"path": "/{rest...}"}},
    ]

    async def by_path(connection: Connection, request: Request) -> None:
        spent = request.target == b"/spent"
        await (OLD if spent else reply(200, b"fresh", FRESH))(connection, request)

    served = sidecar.provider(serve(by_path), cache=CACHE, routes=routes)
    assert [served.get(path).body for path in ("/long", "/spent")] == [b"fresh", b"kept"]
    sidecar.stop_provider(served.provider)
    began_s = monotonic()
    seen = {path: served.get(path) for path in ("/long", "/spent", "/helped", "/none")}
    assert monotonic() - began_s < 2
    sources = {path: response.served and response.served.value for path, response in seen.items()}
    assert sources == {"/long": "cache", "/spent": "stale", "/helped": "fallback", "/none": None}
    assert (seen["/none"].status, seen["/none"].problem["reason"]) == (502, "connect-failed")


def test_a_late_answer_still_counts(sidecar: Sidecar) -> None:
    """Served from what is kept while the provider limps: what it says at last is kept."""
    served = sidecar.provider(
        serve(OLD, reply(500), late(0.4, reply(200, b"new", FRESH))), cache=CACHE, timeouts={"attempt": "2s"}
    )
    lapse(served)
    stands_in(served.get(), "status-500")
    assert eventually(lambda: served.get().body == b"new", within_s=8, every_s=0.1)
