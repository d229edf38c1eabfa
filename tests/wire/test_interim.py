"""1xx replies and `Expect: 100-continue` (RFC 9110 10.1.1, 15.2)."""

from __future__ import annotations

from time import monotonic

import pytest

from tests.menu import answer_early, echo, head_of, interim, raw, reply, reset, serve
from tests.providers import Connection, Request
from tests.wire.client import eventually
from tests.wire.daemon import Sidecar

EXPECT = b"Expect: 100-continue"


def test_early_hints_are_passed_on_with_their_fields(sidecar: Sidecar) -> None:
    link = b"Link: </a.css>; rel=preload"
    served = sidecar.provider(serve(interim(103, link, b"Connection: x-hop", b"X-Hop: 1", then=reply(200, b"ok"))))
    response = served.get()
    assert (response.status, response.body) == (200, b"ok")
    (hints,) = response.interims
    assert hints.status == 103
    assert hints.one(b"link") == b"</a.css>; rel=preload"
    assert hints.all(b"x-hop") == []


def test_each_of_several_interim_replies_is_passed_on(sidecar: Sidecar) -> None:
    answer = interim(102, then=interim(103, b"Link: <a>", then=interim(199, then=reply(200, b"ok"))))
    served = sidecar.provider(serve(answer))
    with sidecar.connect() as client:
        for _ in range(2):
            client.send(served.message("GET", "/"))
            response = client.response()
            assert [one.status for one in response.interims] == [102, 103, 199]
            assert response.body == b"ok"


def test_an_http_10_client_gets_no_interim_reply(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(interim(103, b"Link: <a>", then=reply(200, b"ok"))))
    response = sidecar.exchange(served.message("GET", "/", version="1.0"))
    assert (response.status, response.interims, response.body) == (200, [], b"ok")


def test_a_provider_that_sends_interim_replies_without_end_is_given_up(sidecar: Sidecar) -> None:
    async def forever(connection: Connection, _request: Request) -> None:
        while True:
            await connection.send(head_of(102))

    response = sidecar.provider(serve(forever), timeouts={"attempt": "500ms", "total": "1s"}).get()
    assert response.status in {502, 504}


def test_101_that_nobody_asked_for_is_malformed(sidecar: Sidecar) -> None:
    response = sidecar.provider(serve(raw(head_of(101, b"Upgrade: x", b"Connection: upgrade")))).get()
    assert (response.status, response.problem["reason"]) == (502, "reply-malformed")


# Expect: 100-continue.


async def continue_then_echo(connection: Connection) -> None:
    while (request := await connection.head()) is not None:
        await connection.send(head_of(100))
        await connection.body(request)
        await echo()(connection, request)


def test_the_providers_100_reaches_the_client(sidecar: Sidecar) -> None:
    served = sidecar.provider(continue_then_echo)
    with sidecar.connect() as client:
        for _ in range(2):
            began_s = monotonic()
            client.send(served.message("POST", "/", EXPECT, b"Content-Length: 4"))
            assert client.head().status == 100
            assert monotonic() - began_s < 0.8, "that was not the provider's 100"
            client.send(b"body")
            assert client.response().body == b"body"
    assert served.requests[0].all(b"expect") == [b"100-continue"]


def test_the_body_waits_for_the_100(sidecar: Sidecar) -> None:
    served = sidecar.provider(continue_then_echo)
    with sidecar.connect() as client:
        client.send(served.message("POST", "/", EXPECT, b"Transfer-Encoding: chunked"))
        assert client.head().status == 100
        assert served.provider.connections[0].received.endswith(b"\r\n\r\n")
        client.send(b"3\r\nabc\r\n0\r\n\r\n")
        assert client.response().body == b"abc"


def test_a_final_status_instead_means_that_the_body_is_not_sent(sidecar: Sidecar) -> None:
    served = sidecar.provider(answer_early(reply(401, b"who?"), close=False))
    with sidecar.connect() as client:
        client.send(served.message("POST", "/", EXPECT, b"Content-Length: 100000"))
        response = client.response()
        assert (response.status, response.body, response.interims) == (401, b"who?", [])
    (connection,) = served.provider.connections
    assert connection.received.endswith(b"\r\n\r\n"), "a byte of the body was sent"


def test_after_a_final_status_the_client_may_still_send_its_body(sidecar: Sidecar) -> None:
    """Which of the two the client does, the stream stays in step: closed, or ready for the next request."""
    served = sidecar.provider(answer_early(reply(401, b"who?"), close=False))
    with sidecar.connect() as client:
        client.send(served.message("POST", "/", EXPECT, b"Content-Length: 4"))
        response = client.response()
        assert response.status == 401
        if b"close" not in b",".join(response.all(b"connection")):
            client.send(b"body", served.message("GET", "/next"))
            assert client.response().status == 401
    assert b"body" not in served.provider.connections[0].received


def test_a_provider_that_ignores_expect_works_after_a_second(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(echo()))
    with sidecar.connect() as client:
        began_s = monotonic()
        client.send(served.message("POST", "/", EXPECT, b"Content-Length: 4"))
        assert client.head().status == 100
        assert 0.5 < monotonic() - began_s < 2.5
        client.send(b"body")
        assert client.response().body == b"body"


def test_a_client_that_does_not_wait_is_not_held_up(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(echo()))
    began_s = monotonic()
    assert served.call("POST", "/", EXPECT, body=b"body").body == b"body"
    assert monotonic() - began_s < 2.5


def test_an_http_10_client_cannot_expect(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(echo()))
    response = sidecar.exchange(served.message("POST", "/", EXPECT, body=b"body", version="1.0"))
    assert (response.body, response.interims) == (b"body", [])
    assert served.requests[0].all(b"expect") == []


def test_another_expectation_is_refused(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(echo()))
    response = served.call("POST", "/", b"Expect: a-miracle", body=b"x")
    assert (response.status, response.problem["reason"]) == (417, "expectation-failed")
    assert served.requests == []


@pytest.mark.parametrize("framing", [b"Content-Length: 100000", b"Transfer-Encoding: chunked"])
def test_an_open_breaker_refuses_without_the_body(sidecar: Sidecar, framing: bytes) -> None:
    served = sidecar.provider(serve(reset), breaker={"consecutive": 1, "open": {"base": "30s"}})
    assert served.get().status == 502
    with sidecar.connect() as client:
        client.send(served.message("POST", "/", EXPECT, framing))
        response = client.response()
        assert (response.status, response.problem["reason"], response.interims) == (503, "breaker-open", [])


def test_a_waiting_client_that_leaves_frees_the_provider(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(echo()))
    with sidecar.connect() as client:
        client.send(served.message("POST", "/", EXPECT, b"Content-Length: 4"))
        eventually(lambda: served.requests)
    assert eventually(served.provider.connections[0].ended.is_set)
