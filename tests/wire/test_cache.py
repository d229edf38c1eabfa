"""What is kept and what is not, and how an answer says so: the cache of a real daemon (RFC 9111, 9211)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.menu import (
    after,
    chunked,
    echo,
    head_of,
    interim,
    name_target,
    raw,
    reply,
    serve,
    until_close,
    upgrade_echo,
)
from tests.providers import Answer, Connection, Gate, Request
from tests.wire.client import Response, eventually
from tests.wire.daemon import Served, Sidecar

PRIVATE = {"store": "private"}
SHARED = {"store": "shared"}
FRESH = b"Cache-Control: max-age=600"
SPENT = (b"Cache-Control: max-age=60", b"Age: 100")
"""Of a reply that is stale when it comes."""
TAG = b'ETag: "v1"'
LONG_AGO = b"Last-Modified: Mon, 02 Jan 2006 15:04:05 GMT"


def by_tag(tag: bytes, *fields: bytes, body: bytes = b"whole") -> Answer:
    """304 to whoever has that entity tag already, otherwise the whole of it."""

    async def answer(connection: Connection, request: Request) -> None:
        known = tag in b", ".join(request.all(b"if-none-match"))
        made = reply(304, b"", b"ETag: " + tag, *fields) if known else reply(200, body, b"ETag: " + tag, *fields)
        await made(connection, request)

    return answer


def lines(served: Served) -> list[bytes]:
    """The request lines that the provider has seen."""
    return [request.line for request in served.requests]


def is_hit(response: Response) -> bool:
    status = response.cache_status
    assert status is not None
    return status.get("hit") is True


# Kept, and reused.


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_what_was_answered_is_not_asked_again(sidecar: Sidecar, tls: bool) -> None:
    fields = (FRESH, b"X-Id: 1", b"x-id: 2", b"Content-Type: application/json")
    served = sidecar.provider(serve(reply(200, b'{"a": 1}', *fields)), tls=tls, cache=PRIVATE)
    first, second = served.get("/v1/x?a=b"), served.get("/v1/x?a=b")
    assert first.cache_status == {"fwd": "uri-miss", "fwd-status": 200, "stored": True}
    assert (first.served, first.all(b"age"), first.sidecar["attempts"]) == (None, [], 1)
    assert second.served is not None
    assert (second.served.value, second.served.params["age"]) == ("cache", int(second.one(b"age")))
    assert second.cache_status is not None
    assert 590 <= second.cache_status["ttl"] <= 600
    assert second.sidecar.items() >= {"attempts": 0, "outcome": "ok", "provider": served.name}.items()
    assert (second.status, second.phrase, second.body) == (200, b"OK", b'{"a": 1}')
    assert (second.all(b"x-id"), second.one(b"content-type")) == ([b"1", b"2"], b"application/json")
    assert lines(served) == [b"GET /v1/x?a=b HTTP/1.1"]


@pytest.mark.parametrize(
    "answer",
    [
        raw(head_of(200, FRESH, b"Transfer-Encoding: chunked") + b"4\r\nsame\r\n0\r\nX-Sum: 1\r\n\r\n"),
        until_close(b"same", FRESH),
        reply(200, b"same" * 50_000, FRESH),
        reply(404, b"nothing here", FRESH),
        reply(301, b"", b"Location: /elsewhere", FRESH),
    ],
    ids=["chunks", "until-close", "200-kb", "404", "301"],
)
def test_a_reply_comes_back_as_it_was_however_it_was_framed(sidecar: Sidecar, answer: Answer) -> None:
    served = sidecar.provider(serve(answer), cache=PRIVATE)
    first, second = served.get(), served.get()
    assert (second.status, second.body, second.complete) == (first.status, first.body, True)
    assert second.all(b"location") == first.all(b"location")
    assert is_hit(second)
    assert len(served.requests) == 1


def test_the_age_that_it_came_with_counts(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200, b"", b"Cache-Control: max-age=600", b"Age: 100")), cache=PRIVATE)
    served.get()
    response = served.get()
    assert response.cache_status is not None
    assert 100 <= int(response.one(b"age")) <= 110
    assert 490 <= response.cache_status["ttl"] <= 500


def test_a_guessed_lifetime_is_used(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200, b"old", LONG_AGO)), cache=PRIVATE)
    assert [is_hit(served.get()) for _ in range(2)] == [False, True]


NOT_REUSED: list[Answer] = [
    reply(200, b"", b"Cache-Control: no-store, max-age=600"),
    reply(200, b"", FRESH, b"Vary: *"),
    reply(200, b"", FRESH, b"Cache-Control: no-cache"),
    reply(200, b"", *SPENT),
    reply(200, b"", b"Cache-Control: max-age=600, max-age=0"),
    reply(200, b"", b"Expires: 0"),
    reply(200, b""),
    reply(500),
    raw(head_of(206, FRESH, b"Content-Range: bytes 0-3/9", b"Content-Length: 4") + b"part"),
]


@pytest.mark.parametrize("answer", NOT_REUSED)
def test_what_may_not_be_reused_is_asked_anew(sidecar: Sidecar, answer: Answer) -> None:
    served = sidecar.provider(serve(answer), cache=PRIVATE)
    for _ in range(2):
        assert not is_hit(served.get())
    assert len(served.requests) == 2


def test_without_the_key_nothing_is_kept(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200, b"", FRESH)))
    assert [served.get().cache_status for _ in range(2)] == [None, None]
    assert len(served.requests) == 2


def test_a_post_is_never_kept(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200, b"", FRESH)), cache=PRIVATE)
    for _ in range(2):
        assert served.call("POST", "/", body=b"x").served is None
    assert len(served.requests) == 2


def test_two_spellings_of_one_target_are_one(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200, b"", FRESH)), cache=PRIVATE)
    assert not is_hit(served.get("/v1/%7euser?q=%c3%a9"))
    assert is_hit(served.get("/v1/~user?q=%C3%A9"))
    assert not is_hit(served.get("/v1/~user?q=%C3%A8"))


def test_an_old_client_gets_it_too(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(chunked(b"one", b"two", fields=[FRESH])), cache=PRIVATE)
    for _ in range(2):
        response = sidecar.exchange(served.message("GET", "/", version="1.0"))
        assert (response.status, response.body) == (200, b"onetwo")
    assert len(served.requests) == 1


def test_what_surrounds_a_reply_goes_on_once(sidecar: Sidecar) -> None:
    """Early hints and trailers are for whoever waited for the provider."""
    whole = chunked(b"body", trailers=[b"X-Sum: 1"], fields=[FRESH, b"Trailer: X-Sum"])
    served = sidecar.provider(serve(interim(103, b"Link: </x>", then=whole)), cache=PRIVATE)
    first, second = served.get(), served.get()
    assert ([one.status for one in first.interims], first.trailers) == ([103], [(b"X-Sum", b"1")])
    assert (second.interims, second.body) == ([], b"body")
    assert is_hit(second)


def test_an_upgrade_passes_by(sidecar: Sidecar) -> None:
    served = sidecar.provider(upgrade_echo(), cache={"ttl": "1h"})
    for _ in range(2):
        with sidecar.connect() as client:
            client.send(served.message("GET", "/", b"Upgrade: websocket", b"Connection: Upgrade"))
            assert client.response().status == 101
            assert client.exactly(7) == b"welcome"
    assert len(served.requests) == 2


def test_a_get_with_a_body_passes_by(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(echo()), cache={"ttl": "1h"})
    assert [served.call("GET", "/search", body=body).body for body in (b"one", b"two")] == [b"one", b"two"]


# Apart.


def test_variants_are_kept_side_by_side(sidecar: Sidecar) -> None:
    async def by_language(connection: Connection, request: Request) -> None:
        body = b" ".join(request.all(b"accept-language"))
        await reply(200, body, FRESH, b"Vary: Accept-Encoding, ACCEPT-LANGUAGE")(connection, request)

    served = sidecar.provider(serve(by_language), cache=PRIVATE)
    for _ in range(2):
        for language in (b"de", b"fr", b""):
            assert served.get("/", b"Accept-Language: " + language).body == language
        assert served.get().body == b""
    assert len(served.requests) in {3, 4}, "an empty field may count as none"


def test_a_variant_that_is_missing_says_so(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200, b"", FRESH, b"Vary: Accept")), cache=PRIVATE)
    served.get("/", b"Accept: text/html")
    status = served.get("/", b"Accept: application/json").cache_status
    assert status is not None
    assert status["fwd"] == "vary-miss"


@pytest.mark.parametrize("name", [b"Authorization", b"X-Api-Key", b"Cookie"])
@pytest.mark.parametrize("cache", [PRIVATE, SHARED], ids=["private", "shared"])
def test_a_credential_gets_nothing_that_is_another_s(sidecar: Sidecar, cache: dict[str, str], name: bytes) -> None:
    async def whose(connection: Connection, request: Request) -> None:
        body = b" ".join(request.all(name))
        await reply(200, body, b"Cache-Control: public, max-age=600")(connection, request)

    served = sidecar.provider(serve(whose), cache=cache)
    for _ in range(2):
        for secret in (b"a", b"b", None):
            fields = () if secret is None else (name + b": " + secret,)
            assert served.get("/me", *fields).body == (secret or b"")
    assert len(served.requests) == 3


def test_vary_on_tells_apart_whatever_the_provider_says(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200, b"", FRESH)), cache=PRIVATE | {"vary_on": ["Stripe-Account"]})
    hits = [is_hit(served.get("/", b"stripe-account: " + one)) for one in (b"a", b"b", b"a", b"b")]
    assert hits == [False, False, True, True]


def test_what_is_private_is_not_for_a_shared_cache(sidecar: Sidecar) -> None:
    private = reply(200, b"", b"Cache-Control: private, max-age=600")
    own = sidecar.provider(serve(private), cache=PRIVATE)
    shared = sidecar.provider(serve(private), cache=SHARED)
    assert [is_hit(own.get()) for _ in range(2)] == [False, True]
    assert [is_hit(shared.get()) for _ in range(2)] == [False, False]


def test_what_is_said_to_cdns_is_obeyed_by_a_shared_cache_and_passed_on(sidecar: Sidecar) -> None:
    said = reply(200, b"", b"Cache-Control: no-store", b"CDN-Cache-Control: max-age=600", b"Expires: 0")
    shared = sidecar.provider(serve(said), cache=SHARED)
    others = [sidecar.provider(serve(said), cache=cache) for cache in (PRIVATE, SHARED | {"targets": []})]
    assert [is_hit(served.get()) for served in (shared, *others) for _ in range(2)] == [
        *(False, True),
        *(False, False),
        *(False, False),
    ]
    kept = shared.get()
    assert kept.cache_status is not None
    assert 590 <= kept.cache_status["ttl"] <= 600
    fields = [kept.one(name) for name in (b"cache-control", b"cdn-cache-control", b"expires")]
    assert fields == [b"no-store", b"max-age=600", b"0"]


def test_an_authorised_reply_is_not_for_a_shared_cache_unless_it_says_so(sidecar: Sidecar) -> None:
    key = b"Authorization: Bearer x"
    own = sidecar.provider(serve(reply(200, b"", FRESH)), cache=PRIVATE)
    shared = sidecar.provider(serve(reply(200, b"", FRESH)), cache=SHARED)
    said = sidecar.provider(serve(reply(200, b"", b"Cache-Control: s-maxage=600")), cache=SHARED)
    assert [is_hit(served.get("/", key)) for served in (own, shared, said) for _ in range(2)] == [
        *(False, True),
        *(False, False),
        *(False, True),
    ]


# What the application asks for.


@pytest.mark.parametrize("line", [b"Cache-Control: no-cache", b"Cache-Control: max-age=0", b"Pragma: no-cache"])
def test_the_application_may_ask_for_a_fresh_one(sidecar: Sidecar, line: bytes) -> None:
    served = sidecar.provider(serve(reply(200, b"1", FRESH), reply(200, b"2", FRESH)), cache=PRIVATE)
    assert [served.get().body, served.get("/", line).body, served.get().body] == [b"1", b"2", b"2"]
    assert len(served.requests) == 2


def test_the_application_may_forbid_to_keep_it(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200, b"", FRESH)), cache=PRIVATE)
    served.get("/", b"Cache-Control: no-store")
    assert not is_hit(served.get())


def test_the_application_may_do_with_a_stale_one(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200, b"", *SPENT, TAG)), cache=PRIVATE)
    served.get()
    response = served.get("/", b"Cache-Control: max-stale=600")
    assert response.cache_status is not None
    assert is_hit(response)
    assert -50 <= response.cache_status["ttl"] <= -40
    assert not is_hit(served.get("/", b"Cache-Control: max-stale=10"))


def test_only_if_cached_is_answered_here_or_not_at_all(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200, b"kept", FRESH)), cache=PRIVATE)
    refused = served.get("/", b"Cache-Control: only-if-cached")
    assert (refused.status, refused.problem["reason"], refused.problem["attempts"]) == (504, "not-cached", 0)
    assert served.requests == []
    served.get()
    assert served.get("/", b"Cache-Control: only-if-cached").body == b"kept"


def test_a_range_passes_by(sidecar: Sidecar) -> None:
    part = raw(head_of(206, FRESH, b"Content-Range: bytes 0-3/9", b"Content-Length: 4") + b"part")
    served = sidecar.provider(serve(reply(200, b"wholewhole", FRESH), part), cache=PRIVATE)
    assert served.get().status == 200
    response = served.get("/", b"Range: bytes=0-3")
    assert (response.status, response.body) == (206, b"part")
    assert response.cache_status is not None
    assert response.cache_status["fwd"] == "bypass"
    assert served.requests[1].one(b"range") == b"bytes=0-3"
    assert served.get().body == b"wholewhole"
    assert len(served.requests) == 2


def test_head_is_answered_from_what_a_get_left(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200, b"twelve bytes", FRESH, TAG)), cache=PRIVATE)
    served.get()
    with sidecar.connect() as client:
        client.send(served.message("HEAD", "/"), served.message("GET", "/"))
        head = client.response("HEAD")
        assert client.response().body == b"twelve bytes"
    assert is_hit(head)
    assert (head.one(b"content-length"), head.one(b"etag")) == (b"12", b'"v1"')
    assert len(served.requests) == 1


def test_a_head_leaves_nothing_for_a_get(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200, b"body", FRESH)), cache=PRIVATE)
    assert served.call("HEAD", "/").status == 200
    assert served.get().body == b"body"
    assert [request.method for request in served.requests] == [b"HEAD", b"GET"]


# Validation, on both sides.


def test_a_stale_reply_is_validated_and_goes_on_whole(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(by_tag(b'"v1"', *SPENT)), cache=PRIVATE)
    first, second = served.get(), served.get()
    assert served.requests[1].one(b"if-none-match") == b'"v1"'
    assert (second.status, second.body, second.cache_status) == (
        200,
        first.body,
        {"fwd": "stale", "fwd-status": 304, "stored": True},
    )
    assert second.served is not None
    assert (second.served.value, second.served.params["age"]) == ("cache", int(second.one(b"age")))


def test_a_date_validates_too(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200, b"x", *SPENT, LONG_AGO), reply(304, b"", FRESH)), cache=PRIVATE)
    assert [served.get().body for _ in range(3)] == [b"x"] * 3
    assert served.requests[1].one(b"if-modified-since") == LONG_AGO.partition(b": ")[2]
    assert len(served.requests) == 2, "the 304 made it fresh"


def test_a_validation_brings_the_fields_up_to_date(sidecar: Sidecar) -> None:
    answers = reply(200, b"x", TAG, b"X-Quota: 9", *SPENT), reply(304, b"", TAG, b"X-Quota: 8", FRESH)
    served = sidecar.provider(serve(*answers), cache=PRIVATE)
    served.get()
    assert [served.get().all(b"x-quota") for _ in range(2)] == [[b"8"], [b"8"]]


def test_a_validation_may_bring_a_new_reply(sidecar: Sidecar) -> None:
    answers = reply(200, b"1", TAG, *SPENT), reply(200, b"2", b'ETag: "v2"', FRESH)
    served = sidecar.provider(serve(*answers), cache=PRIVATE)
    assert [served.get().body for _ in range(3)] == [b"1", b"2", b"2"]


def test_the_application_s_own_condition_is_met_here(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200, b"x", TAG, LONG_AGO, FRESH)), cache=PRIVATE)
    served.get()
    for line in (b'If-None-Match: "v0", W/"v1"', b"If-None-Match: *", b"If-Modified-Since" + LONG_AGO[13:]):
        response = served.get("/", line)
        assert (response.status, response.body, response.one(b"etag")) == (304, b"", b'"v1"')
        assert is_hit(response)
    assert served.get("/", b'If-None-Match: "v0"').body == b"x"
    assert len(served.requests) == 1


def test_the_application_s_own_condition_reaches_the_provider_when_nothing_is_kept(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(by_tag(b'"v1"', FRESH)), cache=PRIVATE)
    response = served.get("/", b'If-None-Match: "v1"')
    assert (response.status, served.requests[0].one(b"if-none-match")) == (304, b'"v1"')


def test_both_conditions_at_once(sidecar: Sidecar) -> None:
    """The application has what the provider has, and what is kept here is older than both."""
    served = sidecar.provider(serve(reply(200, b"1", b'ETag: "v1"', *SPENT), by_tag(b'"v2"', FRESH)), cache=PRIVATE)
    served.get()
    response = served.get("/", b'If-None-Match: "v2"')
    assert (response.status, response.body) in {(304, b""), (200, b"whole")}
    assert response.one(b"etag") == b'"v2"'
    assert served.get().body == b"whole", "what is kept is what the provider has"


# Unsafe methods.


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_change_forgets_what_was_there(sidecar: Sidecar, method: str) -> None:
    served = sidecar.provider(serve(reply(200, b"", FRESH)), cache=PRIVATE)
    keys = b"Authorization: a", b"Authorization: b"
    for key in keys:
        served.get("/v1/x", key)
    assert served.call(method, "/v1/x", keys[0], body=b"x").cache_status is not None
    assert [is_hit(served.get("/v1/x", key)) for key in keys] == [False, False], "for every credential"


def test_a_change_is_noticed_on_routes_that_are_not_cached(sidecar: Sidecar) -> None:
    routes = [
        {"name": "read", "match": {"method": "GET", "path": "/v1/{id}"}, "cache": PRIVATE},
        {"name": "write", "match": {"method": "POST", "path": "/v1/{id}"}},
    ]
    served = sidecar.provider(serve(reply(200, b"", FRESH)), routes=routes)
    assert [is_hit(served.get("/v1/x")) for _ in range(2)] == [False, True]
    assert served.call("POST", "/v1/x", body=b"").sidecar["route"] == "write"
    assert not is_hit(served.get("/v1/x"))


@pytest.mark.parametrize("name", [b"Location", b"Content-Location"])
def test_a_change_elsewhere_forgets_what_it_names(sidecar: Sidecar, name: bytes) -> None:
    changed = reply(201, b"", name + b": /v1/x?b=1")
    served = sidecar.provider(serve(reply(200, b"", FRESH), reply(200, b"", FRESH), changed), cache=PRIVATE)
    served.get("/v1/x?b=1")
    served.get("/v1/y")
    served.call("POST", "/v1", body=b"x")
    assert is_hit(served.get("/v1/y"))
    assert not is_hit(served.get("/v1/x?b=1"))


def test_a_change_that_failed_forgets_nothing(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200, b"", FRESH), reply(422)), cache=PRIVATE)
    served.get()
    assert served.call("POST", "/", body=b"x").status == 422
    assert is_hit(served.get())


def test_what_was_asked_before_a_change_is_not_kept_after_it(sidecar: Sidecar) -> None:
    gate = Gate()
    served = sidecar.provider(
        serve(after(gate, reply(200, b"old", FRESH)), reply(204), reply(200, b"new")), cache=PRIVATE
    )
    with sidecar.connect() as client:
        client.send(served.message("GET", "/"))
        eventually(lambda: gate.waiting)
        assert served.call("PUT", "/", body=b"new").status == 204
        gate.open()
        assert client.response().body == b"old"
    assert served.get().body == b"new"


# What the policy says over the provider's head.


@pytest.mark.parametrize("cache", [{"ttl": "60s"}, {"store": {"ttl": "60s"}}, {"store": "shared", "ttl": "60s"}])
@pytest.mark.parametrize("fields", [(), (b"Cache-Control: max-age=0",), (FRESH,)], ids=["nothing", "less", "more"])
def test_a_lifetime_of_the_policy_s_own(sidecar: Sidecar, cache: dict[str, object], fields: Sequence[bytes]) -> None:
    served = sidecar.provider(serve(reply(200, b"", *fields)), cache=cache)
    served.get()
    response = served.get()
    assert response.cache_status is not None
    assert is_hit(response)
    assert 50 <= response.cache_status["ttl"] <= 60
    assert response.cache_status["detail"] == "ttl-by-policy", "the provider did not say so"


def test_a_lifetime_of_the_policy_s_own_is_not_for_failures(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(500), reply(404), reply(200)), cache={"ttl": "60s"})
    assert [served.get().status for _ in range(4)] == [500, 404, 200, 200]


def test_a_route_has_a_cache_of_its_own(sidecar: Sidecar) -> None:
    routes = [
        {"name": "kept", "match": {"path": "/kept"}, "cache": {"ttl": "60s"}},
        {"name": "off", "match": {"path": "/off"}, "cache": False},
    ]
    served = sidecar.provider(serve(name_target), cache=PRIVATE, routes=routes)
    assert [is_hit(served.get("/kept")) for _ in range(2)] == [False, True]
    assert [is_hit(served.get("/other")) for _ in range(2)] == [False, False]
    assert served.get("/off").served is None


def test_a_dry_run_tells_and_goes_on(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200, b"1", FRESH), reply(200, b"2", FRESH)), cache=PRIVATE, dry_run=["cache"])
    assert [served.get().body for _ in range(2)] == [b"1", b"2"]
    (call,) = [call for call in _calls(sidecar, served) if call["decisions"]]
    assert call["decisions"][0]["step"] == "cache"
    assert call["decisions"][0]["decision"].startswith("would")


def _calls(sidecar: Sidecar, served: Served) -> list[dict[str, object]]:
    status, document = sidecar.admin("GET", "/calls")
    assert status == 200
    calls: list[dict[str, object]] = [call for call in document["calls"] if call["provider"] == served.name]
    return calls


# A provider cannot speak for the sidecar.


def test_fields_that_name_the_sidecar_are_not_believed(sidecar: Sidecar) -> None:
    fields = (b"Sidecar: served=cache", b"Cache-Status: sidecar; hit; ttl=5", FRESH)
    served = sidecar.provider(serve(reply(200, b"", *fields)), cache=PRIVATE)
    first, second = served.get(), served.get()
    assert first.served is None
    assert second.served is not None
    for response, ours in ((first, b"sidecar; fwd="), (second, b"sidecar; hit")):
        assert response.all(b"cache-status")[-1].startswith(ours), "the last word is the cache's nearest to the reader"
