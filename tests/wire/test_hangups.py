"""Peers that stop: half-closed clients, clients that leave, providers that answer early or stop half-way."""

from __future__ import annotations

import pytest

from tests.menu import (
    answer_early,
    by_connection,
    chunk,
    echo,
    hang_up,
    head_of,
    late,
    raw,
    reply,
    serve,
    stall,
)
from tests.providers import Connection, Gate
from tests.wire.client import eventually
from tests.wire.daemon import Sidecar

# The client.


def test_a_half_closed_client_gets_its_reply(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(late(0.2, reply(200, b"x" * 100_000))))
    with sidecar.connect() as client:
        client.send(served.message("GET", "/"))
        client.half_close()
        assert client.response().body == b"x" * 100_000
        assert client.is_closed()


def test_a_half_closed_client_gets_all_its_pipelined_replies(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(late(0.1, echo())))
    with sidecar.connect() as client:
        client.send(served.message("POST", "/", body=b"one"), served.message("POST", "/", body=b"two"))
        client.half_close()
        assert [client.response().body, client.response().body] == [b"one", b"two"]
        assert client.is_closed()


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_request_cut_short_is_never_completed(sidecar: Sidecar, framing: str) -> None:
    """Whatever of it went upstream, the provider must be able to tell that it is not the whole."""
    served = sidecar.provider(serve(echo()))
    line, part = (
        (b"Content-Length: 8", b"half") if framing == "length" else (b"Transfer-Encoding: chunked", chunk(b"half"))
    )
    with sidecar.connect() as client:
        client.send(served.message("POST", "/", line), part)
        eventually(lambda: served.provider.received_bytes)
        client.half_close()
        assert client.rest()[:13] in {b"", b"HTTP/1.1 400 "}
    (connection,) = served.provider.connections
    assert eventually(connection.ended.is_set)
    assert not connection.received.endswith(b"0\r\n\r\n")


def test_a_head_cut_short_goes_nowhere(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200)))
    with sidecar.connect() as client:
        client.send(served.message("GET", "/")[:-2])
        client.half_close()
        client.rest()
    assert served.provider.connections == []


@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_client_that_leaves_cancels_its_attempt(sidecar: Sidecar, how: str) -> None:
    """And gives back its permit: the next call need not wait."""
    served = sidecar.provider(serve(stall), limit={"concurrency": 1, "max_wait": "0s"})
    with sidecar.connect() as client:
        client.send(served.message("GET", "/"))
        eventually(lambda: served.requests)
        assert served.get().status == 429, "the permit is taken"
        client.reset() if how == "reset" else client.close()
    assert eventually(served.provider.connections[0].ended.is_set)
    served.provider.script = serve(reply(200))
    assert eventually(lambda: served.get().status == 200)


def test_a_client_that_leaves_does_not_trip_the_breaker(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(stall), breaker={"consecutive": 2})
    for number in range(1, 5):
        with sidecar.connect() as client:
            client.send(served.message("GET", "/"))
            eventually(lambda count=number: len(served.requests) == count)
            client.reset()
        assert eventually(served.provider.connections[-1].ended.is_set)
    served.provider.script = serve(reply(200))
    assert served.get().status == 200


# A provider that answers before it has the body.


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_an_early_refusal_reaches_the_client(sidecar: Sidecar, tls: bool) -> None:
    served = sidecar.provider(answer_early(reply(413, b"too much", b"Connection: close"), close=True), tls=tls)
    with sidecar.connect() as client:
        client.send(served.message("POST", "/", b"Content-Length: 100000000"), b"." * 10_000)
        response = client.response()
        assert (response.status, response.body) == (413, b"too much")


def test_an_early_reply_goes_on_while_the_body_is_coming(sidecar: Sidecar) -> None:
    async def talk(connection: Connection) -> None:
        request = await connection.head()
        assert request is not None
        await connection.send(head_of(200, b"Transfer-Encoding: chunked") + chunk(b"ready"))
        await connection.body(request)
        await connection.send(chunk(request.body) + b"0\r\n\r\n")

    served = sidecar.provider(talk)
    with sidecar.connect() as client:
        client.send(served.message("POST", "/", b"Content-Length: 8"), b"half")
        assert client.head().status == 200
        assert client.chunk() == b"ready"
        client.send(b"more")
        assert client.chunk() == b"halfmore"
        assert client.chunk() == b""


def test_a_connection_whose_request_was_not_read_is_not_used_again(sidecar: Sidecar) -> None:
    served = sidecar.provider(
        by_connection(answer_early(reply(200, b"early"), close=False), serve(reply(200, b"fresh")))
    )
    with sidecar.connect() as client:
        client.send(served.message("POST", "/", b"Content-Length: 1000"), b"some")
        assert client.response().body == b"early"
    assert served.get().body == b"fresh"
    assert len(served.provider.connections) == 2


# A provider that stops half-way.


def test_closing_instead_of_replying_is_connection_lost(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(hang_up))
    response = served.call("POST", "/", body=b"x")
    assert (response.status, response.problem["reason"]) == (502, "connection-lost")
    assert len(served.requests) == 1


@pytest.mark.parametrize("part", [b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", b"H"])
def test_stopping_in_the_head_is_an_error_of_ours(sidecar: Sidecar, part: bytes) -> None:
    response = sidecar.provider(serve(raw(part, close=True))).call("POST", "/", body=b"x")
    assert response.status == 502
    assert response.problem["reason"] in {"reply-incomplete", "reply-malformed", "connection-lost"}
    assert response.proxy_error in {"http_response_incomplete", "connection_terminated"}


CHUNKED = head_of(200, b"Transfer-Encoding: chunked")
HALF_BODIES = {
    "length": head_of(200, b"Content-Length: 10") + b"half",
    "chunks": CHUNKED + chunk(b"half"),
    "inside-a-chunk": CHUNKED + b"a\r\nhalf",
    "before-the-trailers-end": CHUNKED + chunk(b"half") + b"0\r\nX: 1\r\n",
}


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("case", HALF_BODIES)
def test_stopping_in_the_body_leaves_it_without_an_end(sidecar: Sidecar, case: str, how: str) -> None:
    gate = Gate()

    async def half(connection: Connection) -> None:
        await connection.request()
        await connection.send(HALF_BODIES[case])
        await gate.passed()
        connection.reset() if how == "reset" else connection.close()

    served = sidecar.provider(half)
    with sidecar.connect() as client:
        client.send(served.message("GET", "/"))
        client.until(b"half")
        gate.open()
        assert not client.rest().endswith(b"0\r\n\r\n")
    assert sidecar.provider(serve(reply(200))).get().status == 200


def test_tls_cut_without_close_notify_is_no_end_of_a_body(sidecar: Sidecar) -> None:
    """RFC 9112 9.8: until-close over TLS is complete only after a close_notify."""
    gate = Gate()

    async def cut(connection: Connection) -> None:
        await connection.request()
        await connection.send(head_of(200) + b"half")
        await gate.passed()
        connection.finish_tcp()

    served = sidecar.provider(cut, tls=True)
    with sidecar.connect() as client:
        client.send(served.message("GET", "/"))
        client.until(b"half")
        gate.open()
        assert not client.rest().endswith(b"0\r\n\r\n")
