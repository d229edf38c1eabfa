"""No byte of a spliced connection differs, in either direction, however it is cut and however it ends."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl

import pytest

from sidecar.errors import Reason, WireError
from sidecar.http1.answer import Answer
from sidecar.http1.gate import Splice
from sidecar.http1.message import Headers
from sidecar.http1.request import Request
from sidecar.http1.server_connection import ServerConnection
from sidecar.http1.splice import Ending, SpliceTarget
from tests.authority import Authority
from tests.http1.gatehouse import Book, House, TlsWire, Wire, dial, on_both_loops, splice_to, until

MIB = 1024 * 1024
START = b"\x7f raw "
"""The beginning of no protocol that a gate knows."""


class Provider:
    """A listening socket that hands out what it accepts."""

    def __init__(self) -> None:
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.sock.setblocking(False)
        self.port = self.sock.getsockname()[1]
        self._wires: list[Wire] = []

    async def accept(self) -> Wire:
        sock, _ = await asyncio.get_running_loop().sock_accept(self.sock)
        sock.setblocking(False)
        wire = Wire(sock)
        self._wires.append(wire)
        return wire

    def __enter__(self) -> Provider:
        return self

    def __exit__(self, *_: object) -> None:
        for wire in self._wires:
            wire.close()
        self.sock.close()


async def both(house: House, provider: Provider) -> tuple[Wire, Wire]:
    """The two ends of a splice that carried `START` already."""
    client = await house.redirected()
    await client.send(START)
    wire = await provider.accept()
    assert await wire.exactly(len(START)) == START
    return client, wire


async def send_in_pieces(wire: Wire, data: bytes, pieces: random.Random, largest: int) -> None:
    at = 0
    while at < len(data):
        size = pieces.randint(1, largest)
        await wire.send(data[at : at + size])
        at += size
        await asyncio.sleep(0)


@pytest.mark.parametrize("largest", [1, 100, 70_000])
@on_both_loops
async def test_random_bytes_in_random_pieces(largest: int) -> None:
    rng, book = random.Random(largest), Book()
    up, down = rng.randbytes(40 * min(largest, 5000)), rng.randbytes(30 * min(largest, 5000))
    with Provider() as provider:
        async with House(splice_to(provider.port, book)) as house:
            client, wire = await both(house, provider)
            _, _, got_up, got_down = await asyncio.gather(
                send_in_pieces(client, up, rng, largest),
                send_in_pieces(wire, down, rng, largest),
                wire.exactly(len(up)),
                client.exactly(len(down)),
            )
            assert (got_up, got_down) == (up, down)


@on_both_loops
async def test_10_mib_each_way_at_once() -> None:
    rng, book = random.Random(3), Book()
    up, down = rng.randbytes(10 * MIB), rng.randbytes(10 * MIB)
    with Provider() as provider:
        async with House(splice_to(provider.port, book)) as house:
            client, wire = await both(house, provider)

            async def say(end: Wire, data: bytes) -> None:
                await end.send(data)
                end.half_close()

            _, _, got_up, got_down = await asyncio.gather(say(client, up), say(wire, down), wire.rest(), client.rest())
            assert got_up == up
            assert got_down == down
            await until(lambda: book.endings)
            assert book.endings == [(len(START) + len(up), len(down), Ending.CLOSED)]
            await until(lambda: not house.server.connections)


@pytest.mark.parametrize("first", ["client", "provider"])
@on_both_loops
async def test_a_half_close_is_kept(first: str) -> None:
    book = Book()
    with Provider() as provider:
        async with House(splice_to(provider.port, book)) as house:
            ends = await both(house, provider)
            early, late = ends if first == "client" else ends[::-1]
            await early.send(b"all that I have")
            early.half_close()
            assert await late.rest() == b"all that I have"
            for data in (b"and", b"yet", bytes(500_000)):
                sending = asyncio.ensure_future(late.send(data))
                assert await early.exactly(len(data)) == data
                await sending
            assert book.endings == []
            late.half_close()
            assert await early.rest() == b""
            await until(lambda: book.endings)
            assert book.endings[0][2] == Ending.CLOSED


@pytest.mark.parametrize("first", ["client", "provider"])
@on_both_loops
async def test_a_reset_is_passed_on(first: str) -> None:
    book = Book()
    with Provider() as provider:
        async with House(splice_to(provider.port, book)) as house:
            ends = await both(house, provider)
            early, late = ends if first == "client" else ends[::-1]
            early.reset()
            with pytest.raises(ConnectionResetError):
                await late.exactly(1)
            await until(lambda: book.endings)
            assert [ending for *_, ending in book.endings] == [f"{first}-reset"]
            await until(lambda: not house.server.connections)


@pytest.mark.parametrize("first", ["client", "provider"])
@on_both_loops
async def test_who_does_not_read_is_not_sent_to(first: str) -> None:
    with Provider() as provider:
        async with House(splice_to(provider.port, Book())) as house:
            ends = await both(house, provider)
            writer, reader = ends if first == "client" else ends[::-1]
            data = random.Random(5).randbytes(MIB)
            sent = 0
            writer.sock.setblocking(False)
            idle = 0
            while idle < 200:
                try:
                    sent += writer.sock.send(data[sent % MIB :])
                    idle = 0
                except BlockingIOError:
                    idle += 1
                await asyncio.sleep(0)
                assert sent < 64 * MIB, "nothing held the writer back"
            got = await reader.exactly(sent)
            assert got == (data * (sent // MIB + 1))[:sent]


@on_both_loops
async def test_tls_goes_through_untouched(authority: Authority, client_context: ssl.SSLContext) -> None:
    """The certificate that the client sees is the provider's own."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(5))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=authority.localhost.server_context())
    async with server, House(splice_to(server.sockets[0].getsockname()[1], Book())) as house:
        client = await TlsWire(await house.connect("localhost:443"), client_context, piece=1).shake()
        await client.send(b"hello")
        assert await client.exactly(5) == b"hello"
        assert await client.receive() == b""
        client.close()
        await until(lambda: not house.server.connections)


@on_both_loops
async def test_what_comes_while_the_provider_is_dialled_waits() -> None:
    book, go = Book(), asyncio.Event()
    with Provider() as provider:

        async def slowly() -> SpliceTarget:
            await go.wait()
            return SpliceTarget(await dial(provider.port))

        data = START + random.Random(9).randbytes(8 * MIB)
        async with House(Splice(slowly, book)) as house:
            client = await house.redirected()
            sending = asyncio.ensure_future(client.send(data))
            for _ in range(500):
                await asyncio.sleep(0)
            assert not sending.done(), "what waits is bounded"
            go.set()
            assert await (await provider.accept()).exactly(len(data)) == data
            await sending


@on_both_loops
async def test_a_client_that_leaves_while_its_provider_is_dialled() -> None:
    book, dialling = Book(), asyncio.Event()
    cancelled = False

    async def never() -> SpliceTarget:
        nonlocal cancelled
        dialling.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled = True
            raise
        raise AssertionError

    async with House(Splice(never, book)) as house:
        client = await house.redirected()
        await client.send(START)
        await dialling.wait()
        client.reset()
        await until(lambda: book.endings)
        assert book.endings == [(len(START), 0, Ending.GAVE_UP)]
        await until(lambda: cancelled)
        assert not house.server.connections


@pytest.mark.parametrize("error", [WireError(Reason.CONNECT_FAILED, "refused"), RuntimeError("a fault")])
@on_both_loops
async def test_a_provider_that_is_not_reached(error: Exception) -> None:
    book = Book()

    async def fail() -> SpliceTarget:
        raise error

    async with House(Splice(fail, book)) as house:
        client = await house.redirected()
        await client.send(START)
        assert await client.rest() == b""
        assert book.endings == [(len(START), 0, Ending.NOT_CONNECTED)]
        await until(lambda: not house.server.connections)


@on_both_loops
async def test_silence_ends_it() -> None:
    book = Book()
    with Provider() as provider:
        async with House(splice_to(provider.port, book, idle_s=1.0)) as house:
            client, _ = await both(house, provider)
            assert await client.rest() == b""
            assert [ending for *_, ending in book.endings] == [Ending.IDLE]


@on_both_loops
async def test_stopping_ends_it_after_the_grace() -> None:
    book = Book()
    with Provider() as provider:
        async with House(splice_to(provider.port, book)) as house:
            client, wire = await both(house, provider)
            stopping = asyncio.ensure_future(house.server.stop(0.2))
            await asyncio.sleep(0)
            await client.send(b"still here")
            assert await wire.exactly(10) == b"still here"
            await stopping
            assert [ending for *_, ending in book.endings] == [Ending.STOPPED]
            assert await wire.rest() == b""


@on_both_loops
async def test_a_connect_whose_provider_is_reached_before_its_answer() -> None:
    """What answers a CONNECT may bring the connection along: then nothing looks at the bytes."""
    with Provider() as provider:

        async def handle(connection: ServerConnection, request: Request) -> Answer:
            raw = await dial(provider.port)
            raw.body.when_done(ended.append)
            return Answer(200, b"OK", Headers(), body=raw.body, tunnel=raw)

        ended: list[bool] = []
        async with House(RuntimeError("never asked"), handle) as house:
            client = await house.open(house.port)
            await client.send(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\nbehind")
            wire = await provider.accept()
            await wire.send(b"welcome")
            head = await client.until(b"\r\n\r\n")
            assert b"ransfer-" not in head
            assert await client.exactly(7) == b"welcome"
            assert await wire.exactly(6) == b"behind"
            wire.half_close()
            assert await client.rest() == b""
            await client.send(b"more")
            client.half_close()
            assert await wire.rest() == b"more"
            await until(lambda: ended)
            assert ended == [True]
            assert house.doorman.asked == []
