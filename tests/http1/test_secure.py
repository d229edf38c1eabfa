"""TLS towards applications: bodies, pipelines, upgrades and ends, all as they are without it."""

from __future__ import annotations

import asyncio
import random
import shutil
import ssl
import subprocess
from contextlib import suppress

import pytest

from sidecar.http1.answer import Answer
from sidecar.http1.gate import Terminate
from sidecar.http1.message import Body, Headers
from sidecar.http1.request import Request
from sidecar.http1.secure import TlsBroken, TlsServer
from sidecar.http1.server_connection import ServerConnection
from tests.http1.gatehouse import House, TlsWire, get, on_both_loops, post, until
from tests.real import need

MIB = 1024 * 1024
WEBSOCKET = ("Connection: Upgrade", "Upgrade: websocket")


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def client(request: pytest.FixtureRequest, client_context: ssl.SSLContext) -> ssl.SSLContext:
    """A context for one version, since their ends differ."""
    client_context.minimum_version = client_context.maximum_version = request.param
    return client_context


async def let_in(house: House, context: ssl.SSLContext, piece: int = 0) -> TlsWire:
    return await TlsWire(await house.connect(), context, piece=piece).shake()


@on_both_loops
async def test_a_pipeline(server_context: ssl.SSLContext, client: ssl.SSLContext) -> None:
    async with House(Terminate(server_context)) as house:
        wire = await let_in(house, client)
        await wire.send(b"".join(get(f"/{number:03}") for number in range(50)))
        replies = await wire.until(b"/049")
        assert replies.count(b"HTTP/1.1 200 OK\r\n") == 50
        assert [replies.index(b"/%03d" % number) for number in range(50)] == sorted(
            replies.index(b"/%03d" % number) for number in range(50)
        )


@pytest.mark.parametrize("piece", [0, 1000, 16411])
@on_both_loops
async def test_a_big_body_both_ways(piece: int, server_context: ssl.SSLContext, client: ssl.SSLContext) -> None:
    data = random.Random(7).randbytes(3 * MIB)
    async with House(Terminate(server_context)) as house:
        wire = await let_in(house, client, piece)
        sending = asyncio.ensure_future(wire.send(post(data)))
        head, _, body = (await wire.until(b"\r\n\r\n")).partition(b"\r\n\r\n")
        assert b"Content-Length: %d" % len(data) in head
        assert body + await wire.exactly(len(data) - len(body)) == data
        await sending


@on_both_loops
async def test_a_reader_that_stops_stops_the_writer(server_context: ssl.SSLContext, client: ssl.SSLContext) -> None:
    pieces = 0

    class Flow:
        def pause_reading(self) -> None: ...
        def resume_reading(self) -> None: ...
        def abandon(self) -> None: ...

    async def handle(connection: ServerConnection, request: Request) -> Answer:
        if request.method == "CONNECT":
            return await echo_connect(connection, request)
        body = Body(Flow())

        async def feed() -> None:
            nonlocal pieces
            while pieces < 512 and not body.done:
                if body._waiting_bytes < 65536:
                    pieces += 1
                    body.feed(bytes(65536))
                await asyncio.sleep(0)
            body.finish()

        tasks.append(asyncio.ensure_future(feed()))
        return Answer(200, b"OK", Headers([(b"Content-Length", b"%d" % (512 * 65536))]), body=body)

    tasks: list[asyncio.Task[None]] = []
    async with House(Terminate(server_context), handle) as house:
        wire = await let_in(house, client)
        await wire.send(get())
        before = -1
        while pieces != before:  # Until the sockets' buffers are full.
            before = pieces
            for _ in range(2000):
                await asyncio.sleep(0)
        assert pieces < 300
        head, _, body = (await wire.until(b"\r\n\r\n")).partition(b"\r\n\r\n")
        assert head
        await wire.exactly(512 * 65536 - len(body))
        assert pieces == 512
        await asyncio.gather(*tasks)


async def echo_connect(connection: ServerConnection, request: Request) -> Answer:
    from tests.http1.gatehouse import echo

    return await echo(connection, request)


@on_both_loops
async def test_a_websocket(server_context: ssl.SSLContext, client: ssl.SSLContext) -> None:
    async with House(Terminate(server_context)) as house:
        wire = await let_in(house, client)
        await wire.send(get("/chat", *WEBSOCKET))
        assert (await wire.until(b"welcome")).startswith(b"HTTP/1.1 101 ")
        for data in (b"\x81\x05hello", bytes(range(256)), bytes(100_000)):
            await wire.send(data)
            assert await wire.exactly(len(data)) == data
        await wire.close_notify()
        assert await wire.receive() == b""


@on_both_loops
async def test_events_come_as_they_are_sent(server_context: ssl.SSLContext, client: ssl.SSLContext) -> None:
    async with House(Terminate(server_context)) as house:
        wire = await let_in(house, client)
        await wire.send(get("/stream"))
        first = await wire.until(b"data: 0\n\n")
        assert b"data: 1" not in first
        assert (await wire.until(b"0\r\n\r\n")).count(b"data: ") == 2


@on_both_loops
async def test_an_idle_client_that_says_goodbye_is_answered_so(
    server_context: ssl.SSLContext, client: ssl.SSLContext
) -> None:
    async with House(Terminate(server_context)) as house:
        wire = await let_in(house, client)
        await wire.send(get("/x"))
        await wire.until(b"/x")
        await wire.close_notify()
        assert await wire.receive() == b""
        assert await wire.wire.rest() == b""
        await until(lambda: not house.server.connections)


@on_both_loops
async def test_a_close_of_ours_says_so_first(server_context: ssl.SSLContext, client: ssl.SSLContext) -> None:
    async with House(Terminate(server_context)) as house:
        wire = await let_in(house, client)
        await wire.send(get("/x", "Connection: close"))
        assert (await wire.rest()).endswith(b"/x")
        await until(lambda: not house.server.connections)


class Waiting:
    """A handler that answers when told, or learns that nobody waits."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.begun = self.cancelled = False

    async def __call__(self, connection: ServerConnection, request: Request) -> Answer:
        if request.method == "CONNECT":
            return await echo_connect(connection, request)
        self.begun = True
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return await echo_connect(connection, request)


@pytest.mark.parametrize("how", ["reset", "close", "goodbye"])
@on_both_loops
async def test_a_hang_up_reaches_the_handler(how: str, server_context: ssl.SSLContext, client: ssl.SSLContext) -> None:
    handle = Waiting()
    async with House(Terminate(server_context), handle) as house:
        wire = await let_in(house, client)
        await wire.send(get("/x"))
        await until(lambda: handle.begun)
        if how == "reset":
            wire.wire.reset()
        else:
            if how == "goodbye":
                await wire.close_notify()
            wire.close()
        await until(lambda: handle.cancelled)
        await until(lambda: not house.server.connections)


@pytest.mark.parametrize("how", ["goodbye", "fin"])
@on_both_loops
async def test_a_client_that_half_closes_gets_its_reply(
    how: str, server_context: ssl.SSLContext, client: ssl.SSLContext
) -> None:
    handle = Waiting()
    async with House(Terminate(server_context), handle) as house:
        wire = await let_in(house, client)
        await wire.send(get("/x"))
        await until(lambda: handle.begun)
        if how == "goodbye":
            await wire.close_notify()
        else:
            wire.wire.half_close()
        # The question whether it is there, which it does not answer with a reset.
        assert b"100 Continue" in await wire.until(b"Continue")
        handle.go.set()
        assert (await wire.rest()).endswith(b"/x")
        assert not handle.cancelled


@on_both_loops
async def test_a_cut_request_is_not_answered(server_context: ssl.SSLContext, client: ssl.SSLContext) -> None:
    async with House(Terminate(server_context)) as house:
        wire = await let_in(house, client)
        await wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
        await wire.close_notify()
        assert await wire.receive() == b""


@on_both_loops
async def test_a_broken_record_ends_the_connection(server_context: ssl.SSLContext, client: ssl.SSLContext) -> None:
    async with House(Terminate(server_context)) as house:
        wire = await let_in(house, client)
        await wire.wire.send(b"\x17\3\3\0\x20" + bytes(32))
        with pytest.raises(ssl.SSLError, match=r"(?i)alert.bad.record.mac"):
            await wire.receive()
        await until(lambda: not house.server.connections)


@on_both_loops
async def test_http_that_is_spoilt_is_refused_in_words(server_context: ssl.SSLContext, client: ssl.SSLContext) -> None:
    async with House(Terminate(server_context)) as house:
        wire = await let_in(house, client)
        await wire.send(b"nonsense\r\n\r\n")
        assert (await wire.until(b"bad-request")).startswith(b"HTTP/1.1 403 ")
        assert await wire.rest() is not None
        wire.close()


@on_both_loops
async def test_a_session_is_resumed(server_context: ssl.SSLContext, client: ssl.SSLContext) -> None:
    async with House(Terminate(server_context)) as house:
        first = await let_in(house, client)
        await first.send(get("/x"))
        await first.until(b"/x")
        second = TlsWire(await house.connect(), client)
        second.tls = client.wrap_bio(
            second.incoming, second.outgoing, server_hostname="localhost", session=first.tls.session
        )
        await second.shake()
        assert second.tls.session_reused
        await second.send(get("/y"))
        await second.until(b"/y")


@on_both_loops
async def test_what_is_written_at_once_is_one_record(server_context: ssl.SSLContext, client: ssl.SSLContext) -> None:
    async with House(Terminate(server_context)) as house:
        wire = await let_in(house, client)
        await wire.send(get("/a"))
        await wire.until(b"/a")
        await wire.send(get("/b"))
        data = await wire.wire.receive()
        assert data[0] == 23
        assert len(data) == 5 + int.from_bytes(data[3:5], "big")


def joined(
    context: ssl.SSLContext, client: ssl.SSLContext
) -> tuple[TlsServer, ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
    """Both sides after a handshake, with nothing between them."""
    server, incoming, outgoing = TlsServer(context), ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client.wrap_bio(incoming, outgoing, server_hostname="localhost")
    while not server.established:
        with suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        incoming.write(server.shake(outgoing.read()))
    tls.do_handshake()
    return server, tls, incoming, outgoing


def test_records_cut_anywhere(server_context: ssl.SSLContext, client: ssl.SSLContext) -> None:
    server, tls, _, outgoing = joined(server_context, client)
    data = random.Random(1).randbytes(40_000)
    tls.write(data)
    sent, got = outgoing.read(), b""
    for start in range(0, len(sent), 777):
        got += server.decrypt(sent[start : start + 777])
    assert got == data
    assert server.decrypt(b"") == b""


def test_after_our_goodbye_the_clients_is_still_understood(
    server_context: ssl.SSLContext, client: ssl.SSLContext
) -> None:
    server, tls, incoming, outgoing = joined(server_context, client)
    tls.write(b"before")
    incoming.write(server.close())
    assert server.decrypt(outgoing.read()) == b"before"
    with suppress(ssl.SSLWantReadError):
        tls.unwrap()
    assert server.decrypt(outgoing.read()) == b""
    assert server.closed_cleanly


def test_what_is_no_tls_breaks_it(server_context: ssl.SSLContext, client: ssl.SSLContext) -> None:
    server, *_ = joined(server_context, client)
    with pytest.raises(TlsBroken) as broken:
        server.decrypt(b"GET / HTTP/1.1\r\n\r\n")
    assert broken.value.alert == ""


@pytest.mark.parametrize(("version", "commands"), [("-tls1_2", "R\n"), ("-tls1_3", "K\nk\n")])
@on_both_loops
async def test_openssls_own_client(version: str, commands: str, server_context: ssl.SSLContext) -> None:
    """Its keys: R renegotiates, which is refused; K asks for new keys both ways, k for new keys one way."""
    need("openssl")
    async with House(Terminate(server_context)) as house:
        process = await asyncio.create_subprocess_exec(
            shutil.which("openssl") or "openssl", "s_client", version, "-crlf", "-servername", "localhost",
            "-connect", f"127.0.0.1:{house.transparent}", stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            output = await talk(process, commands)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
        assert (b"200 OK" if version == "-tls1_3" else b"no renegotiation") in output


async def talk(process: asyncio.subprocess.Process, commands: str) -> bytes:
    """Give the commands one by one, then ask for a page and read to the end."""
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None
    assert stdout is not None
    await until_line(stdout, b"---\n", 3)
    for command in commands.splitlines(keepends=True):
        stdin.write(command.encode())
        await until_line(stdout, b"KEYUPDATE" if command[0] in "Kk" else b"RENEGOTIATING", 1)
    stdin.write(b"GET /after HTTP/1.1\nHost: localhost\nConnection: close\n\n")
    return await stdout.read()


async def until_line(stream: asyncio.StreamReader, mark: bytes, count: int) -> None:
    while count:
        line = await stream.readline()
        assert line, f"the end, before {mark!r}"
        count -= mark in line
