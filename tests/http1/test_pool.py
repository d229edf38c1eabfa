"""Connections are kept, shared, bounded and let go: over real sockets, with the clock turned by hand."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sidecar.errors import Reason, WireError
from sidecar.http1.connection import Exchange
from sidecar.http1.dial import Dialer, Resolver
from sidecar.http1.limits import PoolLimits
from sidecar.http1.message import Body, ReplayBody
from sidecar.http1.pool import Origin, Pool
from sidecar.http1.tls import TlsSettings
from tests.authority import Authority, Leaf
from tests.fakes import FakeClock
from tests.providers import Connection
from tests.providers import Provider as Listening

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Provider:
    """Counts connections and requests; a script says what each connection does."""

    def __init__(self, script: Script | None = None) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.port = 0
        self._script = script or self.serve

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await self.take(reader):
            writer.write(OK)

    async def take(self, reader: asyncio.StreamReader) -> bytes:
        """One bodiless request's head; empty at the end."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""
        self.requests.append(head)
        return head

    async def connected(self, connection: Connection) -> None:
        self.connections += 1
        await self._script(connection.reader, connection.writer)


@asynccontextmanager
async def running(provider: Provider, leaf: Leaf | None = None) -> AsyncIterator[Provider]:
    context = leaf.server_context() if leaf else None
    listening = Listening(provider.connected, context)
    await listening.start()
    provider.port = listening.port
    try:
        yield provider
    finally:
        await listening.stop()


def make_pool(port: int, clock: FakeClock, tls: TlsSettings | None = None, **limits: float) -> Pool:
    origin = Origin("localhost" if tls else "127.0.0.1", port, tls)
    return Pool(origin, Dialer(Resolver(clock)), lambda address: True, PoolLimits(**limits), clock)  # type: ignore[arg-type]


def make_exchange(
    *,
    key: int = 0,
    body: ReplayBody | None = None,
    repeatable: bool = True,
    chunked: bool = False,
    within_s: float = 10.0,
) -> Exchange:
    head = b"POST / HTTP/1.1\r\nHost: x\r\n" + (b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"\r\n")
    return Exchange(
        head, body or ReplayBody(None), chunked, key, 1000.0 + within_s, 2.0, 60.0, False, False, repeatable, None
    )


async def ask(pool: Pool, exchange: Exchange | None = None) -> bytes:
    response, _ = await pool.exchange(exchange or make_exchange())
    data = b""
    while piece := await response.body.read():
        data += piece
    return data


async def until(holds: Callable[[], bool]) -> None:
    """Let the loop run until something that it alone brings about has happened."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - what is awaited has no event to wait for
            await asyncio.sleep(0)


async def test_one_connection_serves_calls_that_follow_each_other() -> None:
    async with running(Provider()) as provider:
        pool = make_pool(provider.port, FakeClock())
        assert [await ask(pool) for _ in range(3)] == [b"ok"] * 3
        assert (provider.connections, pool.open, pool.idle) == (1, 1, 1)
        pool.abort()


async def test_calls_at_once_open_more_and_the_last_used_is_used_first() -> None:
    async with running(Provider()) as provider:
        pool = make_pool(provider.port, FakeClock())
        await asyncio.gather(*(ask(pool) for _ in range(4)))
        assert pool.idle == 4
        _, first = await pool.exchange(make_exchange())
        _, second = await pool.exchange(make_exchange())
        assert first is second
        pool.abort()


async def test_credentials_never_share_a_connection() -> None:
    async with running(Provider()) as provider:
        pool = make_pool(provider.port, FakeClock())
        await ask(pool, make_exchange(key=1))
        await ask(pool, make_exchange(key=2))
        assert provider.connections == 2
        pool.abort()


async def test_a_full_pool_makes_room_by_closing_anothers_idle_connection() -> None:
    async with running(Provider()) as provider:
        pool = make_pool(provider.port, FakeClock(), connections=1)
        await ask(pool, make_exchange(key=1))
        assert await ask(pool, make_exchange(key=2)) == b"ok"
        assert pool.open == 1
        pool.abort()


async def test_a_full_pool_queues_and_gives_up_at_the_deadline() -> None:
    release = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await provider.take(reader):
            await release.wait()
            writer.write(OK)

    clock = FakeClock()
    async with running(Provider(slow)) as provider:
        pool = make_pool(provider.port, clock, connections=1)
        first = asyncio.ensure_future(ask(pool, make_exchange(within_s=100)))
        await until(lambda: len(provider.requests) == 1)
        patient = asyncio.ensure_future(ask(pool, make_exchange(within_s=50)))
        hasty = asyncio.ensure_future(ask(pool, make_exchange(within_s=1)))
        await asyncio.sleep(0)
        clock.advance(2)
        with pytest.raises(WireError) as refusal:
            await hasty
        assert (refusal.value.reason, refusal.value.sent) == (Reason.POOL_EXHAUSTED, False)
        release.set()
        assert [await first, await patient] == [b"ok", b"ok"]
        assert provider.connections == 1
        pool.abort()


async def test_a_crowd_shares_the_connections_that_come_free_instead_of_opening_one_each() -> None:
    async with running(Provider()) as provider:
        pool = make_pool(provider.port, FakeClock())
        assert await asyncio.gather(*(ask(pool) for _ in range(200))) == [b"ok"] * 200
        assert provider.connections < 100
        pool.abort()


async def test_a_cancelled_waiter_passes_its_turn_on() -> None:
    release = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await provider.take(reader):
            await release.wait()
            writer.write(OK)

    async with running(Provider(slow)) as provider:
        pool = make_pool(provider.port, FakeClock(), connections=1)
        first = asyncio.ensure_future(ask(pool))
        await until(lambda: len(provider.requests) == 1)
        gone, patient = asyncio.ensure_future(ask(pool)), asyncio.ensure_future(ask(pool))
        await asyncio.sleep(0)
        gone.cancel()
        release.set()
        assert [await first, await patient] == [b"ok", b"ok"]
        pool.abort()


async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request and close without a word, as providers do with idle connections."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(OK)
    await reader.read(1)


@pytest.mark.parametrize("repeatable", [True, False])
async def test_a_connection_that_dies_under_a_request_is_replaced_only_if_that_is_harmless(repeatable: bool) -> None:
    async with running(Provider(once)) as provider:
        pool = make_pool(provider.port, FakeClock())
        assert await ask(pool) == b"ok"
        if repeatable:
            assert await ask(pool) == b"ok"
            assert provider.connections == 2
        else:
            with pytest.raises(WireError) as failure:
                await ask(pool, make_exchange(repeatable=False))
            assert (failure.value.reason, provider.connections) == (Reason.CONNECTION_LOST, 1)
        pool.abort()


async def test_a_fresh_connection_that_dies_is_not_replaced() -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    async with running(Provider(never)) as provider:
        pool = make_pool(provider.port, FakeClock())
        with pytest.raises(WireError) as failure:
            await ask(pool)
        assert (failure.value.reason, failure.value.sent) == (Reason.CONNECTION_LOST, True)
        assert provider.connections == 1
        assert pool.open == 0


async def test_idle_connections_are_closed_in_time() -> None:
    clock = FakeClock()
    async with running(Provider()) as provider:
        pool = make_pool(provider.port, clock, idle_s=30.0)
        await ask(pool)
        clock.advance(29)
        assert pool.idle == 1
        clock.advance(3)
        assert (pool.idle, pool.open) == (0, 0)


async def test_the_providers_own_word_shortens_the_idle_time() -> None:
    async def brief(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await provider.take(reader):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nKeep-Alive: timeout=5\r\n\r\n")

    clock = FakeClock()
    async with running(Provider(brief)) as provider:
        pool = make_pool(provider.port, clock, idle_s=30.0)
        await ask(pool)
        clock.advance(6)
        assert pool.idle == 0


async def test_a_reply_that_stalls_in_its_body_fails_after_the_idle_time() -> None:
    async def stalls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await provider.take(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        await reader.read(1)

    clock = FakeClock()
    async with running(Provider(stalls)) as provider:
        pool = make_pool(provider.port, clock)
        response, _ = await pool.exchange(make_exchange())
        assert await response.body.read() == b"half"
        clock.advance(70)
        with pytest.raises(WireError) as failure:
            await response.body.read()
        assert failure.value.reason is Reason.REPLY_INCOMPLETE


async def test_no_reply_before_the_deadline() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await provider.take(reader)
        await reader.read(1)

    clock = FakeClock()
    async with running(Provider(silent)) as provider:
        pool = make_pool(provider.port, clock)
        waiting = asyncio.ensure_future(ask(pool, make_exchange(within_s=3)))
        await until(lambda: len(provider.requests) == 1)
        clock.advance(2.9)
        await asyncio.sleep(0)
        assert not waiting.done()
        clock.advance(0.2)
        with pytest.raises(WireError) as failure:
            await waiting
        assert failure.value.reason is Reason.ATTEMPT_TIMEOUT
        assert (pool.open, clock.pending) == (0, 0)


async def test_cancelling_a_call_closes_its_connection() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await provider.take(reader)
        closed.set_result(await reader.read(1) == b"")

    closed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    async with running(Provider(silent)) as provider:
        pool = make_pool(provider.port, FakeClock())
        waiting = asyncio.ensure_future(ask(pool))
        await until(lambda: len(provider.requests) == 1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await closed
        assert pool.open == 0


async def test_a_reply_before_the_request_is_sent_is_passed_on_and_the_connection_given_up() -> None:
    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await provider.take(reader)
        writer.write(OK)
        await reader.read()

    async with running(Provider(early)) as provider:
        pool = make_pool(provider.port, FakeClock())
        body = Body()
        body.feed(b"the first part")
        assert await ask(pool, make_exchange(body=ReplayBody(body), chunked=True)) == b"ok"
        assert pool.open == 0


async def test_unasked_bytes_spoil_an_idle_connection() -> None:
    async def chatty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await provider.take(reader)
        writer.write(OK)
        await say.wait()
        writer.write(OK)
        await reader.read()

    say = asyncio.Event()
    async with running(Provider(chatty)) as provider:
        pool = make_pool(provider.port, FakeClock())
        await ask(pool)
        assert pool.idle == 1
        say.set()
        await until(lambda: pool.open == 0)


async def test_two_replies_at_once_are_one_reply_and_a_spoilt_connection() -> None:
    async def twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await provider.take(reader)
        writer.write(OK + OK)
        await reader.read()

    async with running(Provider(twice)) as provider:
        pool = make_pool(provider.port, FakeClock())
        assert await ask(pool) == b"ok"
        assert (pool.idle, pool.open) == (0, 0)
        assert await ask(pool) == b"ok"
        assert provider.connections == 2


async def test_nobody_listens() -> None:
    async with running(Provider()) as provider:
        port = provider.port
    pool = make_pool(port, FakeClock())
    with pytest.raises(WireError) as failure:
        await ask(pool)
    assert (failure.value.reason, failure.value.sent) == (Reason.CONNECT_FAILED, False)
    assert "refused" in failure.value.detail


async def test_an_address_that_is_not_allowed_is_not_called() -> None:
    async with running(Provider()) as provider:
        clock = FakeClock()
        origin = Origin("localhost", provider.port, None)
        pool = Pool(origin, Dialer(Resolver(clock)), lambda address: False, PoolLimits(), clock)
        with pytest.raises(WireError) as failure:
            await ask(pool)
        assert failure.value.reason is Reason.ADDRESS_DENIED
        assert provider.connections == 0


async def test_a_name_that_does_not_resolve() -> None:
    clock = FakeClock()
    pool = Pool(Origin("nowhere.invalid", 80, None), Dialer(Resolver(clock)), lambda address: True, PoolLimits(), clock)
    for _ in range(2):
        with pytest.raises(WireError) as failure:
            await ask(pool)
        assert (failure.value.reason, failure.value.sent) == (Reason.DNS_FAILED, False)


class TestTls:
    async def test_a_trusted_provider_is_called_and_its_session_resumed(self, tmp_path: Path) -> None:
        authority = Authority(tmp_path)
        async with running(Provider(), authority.localhost) as provider:
            pool = make_pool(provider.port, FakeClock(), TlsSettings(authority.ca_file))
            _, first = await pool.exchange(make_exchange())
            assert first.tls is not None
            assert not first.tls.resumed
            first.close()
            _, second = await pool.exchange(make_exchange())
            assert second.tls is not None
            assert second.tls.resumed
            pool.abort()

    @pytest.mark.parametrize("fault", ["untrusted", "expired", "wrong name"])
    async def test_an_unverified_provider_is_not_called(self, tmp_path: Path, fault: str) -> None:
        (tmp_path / "other").mkdir()
        authority, other = Authority(tmp_path), Authority(tmp_path / "other", "Other Root")
        leaf = {
            "untrusted": lambda: other.localhost,
            "expired": lambda: authority.issue("localhost", expired=True),
            "wrong name": lambda: authority.issue("elsewhere.test"),
        }[fault]()
        async with running(Provider(), leaf) as provider:
            pool = make_pool(provider.port, FakeClock(), TlsSettings(authority.ca_file))
            with pytest.raises(WireError) as failure:
                await ask(pool)
            assert (failure.value.reason, failure.value.sent) == (Reason.TLS_FAILED, False)
            assert "certificate" in failure.value.detail
            assert provider.requests == []
            assert pool.open == 0

    async def test_a_large_reply_arrives_whole(self, tmp_path: Path) -> None:
        async def large(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await provider.take(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000)
            await writer.drain()
            await reader.read(1)

        authority = Authority(tmp_path)
        async with running(Provider(large), authority.localhost) as provider:
            pool = make_pool(provider.port, FakeClock(), TlsSettings(authority.ca_file))
            assert await ask(pool) == b"x" * 3_000_000
            pool.abort()


async def test_tls_files_that_cannot_be_used_leave_no_socket_open(tmp_path: Path) -> None:
    sockets: list[socket.socket] = []

    class Remembering:
        async def connect(self, host: str, port: int, allows: Callable[[str], bool]) -> socket.socket:
            sockets.append(await Dialer(Resolver(clock)).connect(host, port, allows))
            return sockets[-1]

    clock = FakeClock()
    async with running(Provider()) as provider:
        origin = Origin("127.0.0.1", provider.port, TlsSettings(tmp_path / "missing.pem"))
        pool = Pool(origin, Remembering(), lambda _address: True, PoolLimits(), clock)
        with pytest.raises(WireError) as failed:
            await pool.exchange(make_exchange())
    assert failed.value.reason is Reason.TLS_FAILED
    assert [sock.fileno() for sock in sockets if sock.fileno() >= 0] == []
