"""The end of a server: nobody who has connected is reset, and nobody who calls is cut off."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from sidecar.clock import LoopClock
from sidecar.http1.answer import Answer
from sidecar.http1.closing import close_listener, turn_away
from sidecar.http1.limits import ServerLimits
from sidecar.http1.message import Body, Headers
from sidecar.http1.request import Request
from sidecar.http1.server import Server
from sidecar.http1.server_connection import ServerConnection
from tests.http1.gatehouse import refuse, until

ASK = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Place:
    """A server whose answers wait while `open` is clear."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.server = Server(self._handle, refuse, ServerLimits(), LoopClock())

    async def _handle(self, connection: ServerConnection, request: Request) -> Answer:
        await self.open.wait()
        return Answer(200, b"OK", Headers([(b"Content-Length", b"5")]), body=Body.of(b"hello"))

    @property
    def port(self) -> int:
        return int(self.server.sockets[0].getsockname()[1])


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    place = Place()
    await place.server.start("127.0.0.1", 0)
    yield place
    await place.server.stop(0.0)


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """One reply, its body included."""
    writer.write(ASK)
    return await reader.readuntil(b"hello")


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def connect_behind_its_back(port: int) -> socket.socket:
    """Connect and ask while the server's loop cannot accept."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=5)
    sock.sendall(ASK)
    return sock


async def read_all(sock: socket.socket) -> bytes:
    with sock:
        sock.setblocking(False)
        data = b""
        while more := await asyncio.get_running_loop().sock_recv(sock, 65536):
            data += more
        return data


async def test_who_waits_to_be_accepted_is_served(place: Place) -> None:
    waiting = [connect_behind_its_back(place.port) for _ in range(20)]
    stopping = asyncio.ensure_future(place.server.stop(5.0))
    replies = [await read_all(sock) for sock in waiting]
    await stopping

    assert {reply.partition(b"\r\n")[0] for reply in replies} == {b"HTTP/1.1 200 OK"}
    assert all(b"\r\nConnection: close\r\n" in reply for reply in replies)


async def test_who_comes_too_late_is_refused(place: Place) -> None:
    port = place.port
    await place.server.stop(1.0)

    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_a_new_connection_may_still_ask(place: Place) -> None:
    async with connected(place.port) as (reader, writer):
        await until(lambda: bool(place.server.connections))
        stopping = asyncio.ensure_future(place.server.stop(5.0))
        await until(lambda: place.server.stopping)
        assert b"\r\nConnection: close\r\n" in await ask(reader, writer)
        await stopping


async def test_one_that_was_idle_for_long_is_closed_at_once(place: Place) -> None:
    async with connected(place.port) as (reader, writer):
        await ask(reader, writer)
        place.server.tick += 2  # As two sweeps do.
        started_s = place.server.clock.now()
        await place.server.stop(30.0)
        assert await reader.read() == b""
        assert place.server.clock.now() - started_s < 0.9


async def test_one_that_has_just_asked_is_not_closed_as_idle(place: Place) -> None:
    sock = socket.create_connection(("127.0.0.1", place.port), timeout=5)
    await until(lambda: bool(place.server.connections))
    place.server.tick += 2
    sock.sendall(ASK)
    for connection in list(place.server.connections):
        connection.close_if_idle(0)
    stopping = asyncio.ensure_future(place.server.stop(5.0))

    assert b"HTTP/1.1 200 " in await read_all(sock)
    await stopping


async def test_before_the_end_each_call_has_a_connection_of_its_own(place: Place) -> None:
    async with connected(place.port) as (reader, writer):
        assert b"Connection: close" not in await ask(reader, writer)
        place.server.part()
        assert b"\r\nConnection: close\r\n" in await ask(reader, writer)
        assert await reader.read() == b""
    async with connected(place.port) as (reader, writer):
        assert b"\r\nConnection: close\r\n" in await ask(reader, writer)


async def test_calls_under_way_have_the_grace_and_no_more(place: Place) -> None:
    place.open.clear()
    async with connected(place.port) as (reader, writer):
        writer.write(ASK)
        await until(lambda: bool(place.server.in_flight))
        stopping = asyncio.ensure_future(place.server.stop(5.0))
        place.open.set()
        assert b"HTTP/1.1 200 " in await reader.readuntil(b"hello")
        await stopping


async def test_a_listener_gives_back_its_queue() -> None:
    listener = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    clients = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(3)]
    turn_away(listener)
    waiting = close_listener(listener)

    for client, served in zip(clients, waiting, strict=True):
        with client, served:
            served.send(b"x")
            assert client.recv(1) == b"x"
