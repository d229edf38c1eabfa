"""Upgrades: 101, then bytes both ways; or a refusal, then HTTP as before."""

from __future__ import annotations

import pytest

from tests.menu import head_of, reply, serve, upgrade_echo
from tests.providers import Connection
from tests.wire.client import eventually
from tests.wire.daemon import Sidecar

WEBSOCKET = (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_after_101_bytes_go_both_ways(sidecar: Sidecar, tls: bool) -> None:
    served = sidecar.provider(upgrade_echo(), tls=tls)
    with sidecar.connect() as client:
        client.send(served.message("GET", "/chat", *WEBSOCKET))
        response = client.response()
        assert response.status == 101
        assert response.one(b"upgrade") == b"websocket"
        assert response.one(b"connection").lower() == b"upgrade"
        assert response.sidecar["provider"] == served.name
        assert client.exactly(7) == b"welcome"
        for data in (b"\x81\x05hello", bytes(range(256)), b"GET / HTTP/1.1\r\n\r\n"):
            client.send(data)
            assert client.exactly(len(data)) == data
    (request,) = served.requests
    assert request.one(b"upgrade") == b"websocket"
    assert request.one(b"connection").lower() == b"upgrade"
    assert request.one(b"sec-websocket-key") == b"dGhlIHNhbXBsZSBub25jZQ=="


def test_much_goes_through_with_a_slow_peer(sidecar: Sidecar) -> None:
    served = sidecar.provider(upgrade_echo())
    data = bytes(range(256)) * 16384
    with sidecar.connect() as client:
        client.send(served.message("GET", "/", *WEBSOCKET))
        assert client.response().status == 101
        client.exactly(7)
        for start in range(0, len(data), 65536):
            client.send(data[start : start + 65536])
            assert client.exactly(65536) == data[start : start + 65536]


def test_the_clients_half_close_reaches_the_provider(sidecar: Sidecar) -> None:
    async def answer_at_the_end(connection: Connection) -> None:
        await connection.request()
        await connection.send(head_of(101, b"Upgrade: x", b"Connection: upgrade"))
        data = await connection.reader.read()
        await connection.send(b"got " + data)

    served = sidecar.provider(answer_at_the_end)
    with sidecar.connect() as client:
        client.send(served.message("GET", "/", b"Connection: upgrade", b"Upgrade: x"))
        assert client.response().status == 101
        client.send(b"all")
        client.half_close()
        assert client.rest() == b"got all"


def test_the_providers_end_reaches_the_client(sidecar: Sidecar) -> None:
    async def say_goodbye(connection: Connection) -> None:
        await connection.request()
        await connection.send(head_of(101, b"Upgrade: x", b"Connection: upgrade") + b"bye")

    served = sidecar.provider(say_goodbye)
    with sidecar.connect() as client:
        client.send(served.message("GET", "/", b"Connection: upgrade", b"Upgrade: x"))
        assert client.response().status == 101
        assert client.rest() == b"bye"


def test_the_clients_reset_ends_the_provider_connection(sidecar: Sidecar) -> None:
    served = sidecar.provider(upgrade_echo())
    with sidecar.connect() as client:
        client.send(served.message("GET", "/", *WEBSOCKET))
        assert client.response().status == 101
        client.reset()
    assert eventually(served.provider.connections[0].ended.is_set)


@pytest.mark.parametrize("status", [200, 400, 426])
def test_a_refused_upgrade_leaves_http(sidecar: Sidecar, status: int) -> None:
    served = sidecar.provider(serve(reply(status, b"no"), reply(200, b"next")))
    with sidecar.connect() as client:
        client.send(served.message("GET", "/", *WEBSOCKET))
        response = client.response()
        assert (response.status, response.body) == (status, b"no")
        client.send(served.message("GET", "/"))
        assert client.response().body == b"next"
    assert len(served.provider.connections) == 1


def test_426_keeps_saying_what_it_wants(sidecar: Sidecar) -> None:
    """Upgrade is a must on 426 (RFC 9110 15.5.22)."""
    served = sidecar.provider(serve(reply(426, b"", b"Upgrade: websocket", b"Connection: Upgrade")))
    assert served.get().one(b"upgrade") == b"websocket"


def test_upgrade_without_connection_is_not_passed_on(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200)))
    assert served.get("/", b"Upgrade: websocket").status == 200
    assert served.requests[0].all(b"upgrade") == []


def test_http2_is_not_asked_for_on_the_clients_behalf(sidecar: Sidecar) -> None:
    """h2c would take the stream out of every step's sight."""
    served = sidecar.provider(serve(reply(200)))
    lines = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__")
    assert served.get("/", *lines).status == 200
    assert served.requests[0].all(b"upgrade") == []
    assert served.requests[0].all(b"http2-settings") == []
