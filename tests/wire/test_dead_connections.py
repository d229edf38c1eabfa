"""Connections that died while idle, and what may be sent again on a fresh one (DESIGN §5)."""

from __future__ import annotations

import pytest

from tests.menu import (
    after,
    by_connection,
    hang_up,
    head_of,
    reply,
    reset,
    serve,
    serve_then,
)
from tests.providers import Answer, Connection, Gate, Script
from tests.wire.client import eventually
from tests.wire.daemon import Served, Sidecar


def _warm(served: Served) -> None:
    assert served.get().body == b"well"


@pytest.mark.parametrize("death", [hang_up, reset], ids=["closed", "reset"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_get_on_a_dead_connection_is_repeated_on_a_fresh_one(sidecar: Sidecar, death: Answer, tls: bool) -> None:
    served = sidecar.provider(_dies_on_its_second_request(death), tls=tls)
    _warm(served)
    response = served.get("/again")
    assert (response.status, response.body) == (200, b"fresh")
    assert [len(connection.requests) for connection in served.provider.connections] == [2, 1]


def test_a_keyed_post_on_a_dead_connection_is_repeated(sidecar: Sidecar) -> None:
    served = sidecar.provider(_dies_on_its_second_request(hang_up))
    _warm(served)
    response = served.call("POST", "/", b"Idempotency-Key: 5f1c", body=b"pay")
    assert (response.status, response.body) == (200, b"fresh")
    assert [request.body for request in served.requests if request.method == b"POST"] == [b"pay", b"pay"]


@pytest.mark.parametrize("death", [hang_up, reset], ids=["closed", "reset"])
def test_a_post_on_a_dead_connection_is_not_repeated(sidecar: Sidecar, death: Answer) -> None:
    served = sidecar.provider(_dies_on_its_second_request(death))
    _warm(served)
    response = served.call("POST", "/", body=b"pay")
    assert (response.status, response.problem["reason"]) == (502, "connection-lost")
    assert response.proxy_error == "connection_terminated"
    assert len([request for request in served.requests if request.method == b"POST"]) == 1


def test_a_fresh_connection_that_dies_is_not_the_idle_rules_matter(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(hang_up))
    assert served.get().status == 502
    assert len(served.requests) == 1, "nothing was idle here, and retry is off"


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_connection_closed_while_idle_is_noticed_before_use(sidecar: Sidecar, tls: bool) -> None:
    """So that even a POST without a key goes through."""

    async def close_after_one(connection: Connection) -> None:
        request = await connection.request()
        assert request is not None
        await reply(200, b"well", b"Connection: keep-alive")(connection, request)

    served = sidecar.provider(close_after_one, tls=tls)
    for _ in range(5):
        response = served.call("POST", "/", body=b"x")
        assert (response.status, response.body) == (200, b"well")
        assert eventually(served.provider.connections[-1].ended.is_set)


def test_bytes_on_an_idle_connection_spoil_it(sidecar: Sidecar) -> None:
    """A reply that nobody asked for must not answer the next request."""
    gate = Gate()

    async def speak_out_of_turn(connection: Connection) -> None:
        request = await connection.request()
        assert request is not None
        await reply(200, b"well")(connection, request)
        await gate.passed()
        await connection.send(head_of(200, b"Content-Length: 4") + b"evil")
        await connection.until_ended()

    served = sidecar.provider(by_connection(speak_out_of_turn, serve(reply(200, b"fresh"))))
    _warm(served)
    gate.open()
    assert eventually(served.provider.connections[0].ended.is_set)
    assert served.get().body == b"fresh"


def test_many_calls_on_a_flapping_provider_each_get_their_own_reply(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve_then(1, hang_up))
    with sidecar.connect() as client:
        for _ in range(20):
            client.send(served.message("GET", "/"))
            assert client.response().body == b"well"


def test_the_gate_of_a_late_reply_is_the_clients_patience(sidecar: Sidecar) -> None:
    """A reply that comes after the client left must not be given to the next one."""
    gate = Gate()
    served = sidecar.provider(by_connection(serve(after(gate, reply(200, b"stale"))), serve(reply(200, b"own"))))
    with sidecar.connect() as client:
        client.send(served.message("GET", "/"))
        eventually(lambda: gate.waiting)
        client.reset()
    assert eventually(served.provider.connections[0].ended.is_set)
    gate.open()
    assert served.get().body == b"own"


def _dies_on_its_second_request(death: Answer) -> Script:
    return by_connection(serve_then(1, death), serve(reply(200, b"fresh")))
