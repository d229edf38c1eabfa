"""Connections at the gate whose ruling takes a look-up."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress

import pytest

from sidecar.http1.gate import Pending, Plain, Refuse, Ruling, Splice, Terminate
from sidecar.http1.limits import ServerLimits
from tests.http1.gatehouse import Book, House, TlsWire, get, on_both_loops, splice_to, until


class LookUp:
    """One that ends when the test says how."""

    def __init__(self) -> None:
        self.asked = 0
        self.cancelled = False
        self._found: asyncio.Future[Terminate | Plain | Splice | Refuse] = asyncio.get_running_loop().create_future()

    async def settle(self) -> Terminate | Plain | Splice | Refuse:
        self.asked += 1
        try:
            return await self._found
        except asyncio.CancelledError:
            self.cancelled = True
            raise

    def find(self, ruling: Terminate | Plain | Splice | Refuse | Exception) -> None:
        if isinstance(ruling, Exception):
            self._found.set_exception(ruling)
        else:
            self._found.set_result(ruling)

    @property
    def ruling(self) -> Ruling:
        return Pending(self.settle)


@on_both_loops
async def test_what_was_found_is_obeyed(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
    look_up = LookUp()
    async with House(look_up.ruling) as house:
        client = TlsWire(await house.redirected(), client_context)
        shaking = asyncio.create_task(client.shake())
        await until(lambda: look_up.asked)
        look_up.find(Terminate(server_context))
        await shaking
        await client.send(get("/x"))
        assert b"Entry: transparent localhost True\r\n" in await client.until(b"/x")
    assert look_up.asked == 1


async def half_shaken(house: House, context: ssl.SSLContext) -> TlsWire:
    """A client that has sent its hello."""
    client = TlsWire(await house.redirected(), context)
    with suppress(ssl.SSLWantReadError):
        client.tls.do_handshake()
    await client.flush()
    return client


@on_both_loops
async def test_what_comes_meanwhile_is_kept(client_context: ssl.SSLContext) -> None:
    async def say_what_came(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readuntil(b"more"))
        writer.close()

    look_up = LookUp()
    provider = await asyncio.start_server(say_what_came, "127.0.0.1", 0)
    async with provider, House(look_up.ruling) as house:
        client = await half_shaken(house, client_context)
        await until(lambda: look_up.asked)
        await client.wire.send(b"more")
        look_up.find(splice_to(provider.sockets[0].getsockname()[1], Book()))
        came = await client.wire.until(b"more")
        assert came.startswith(b"\x16\x03\x01")
        assert b"localhost" in came
    assert look_up.asked == 1


@on_both_loops
async def test_a_look_up_takes_no_longer_than_a_hello_may(client_context: ssl.SSLContext) -> None:
    look_up = LookUp()
    async with House(look_up.ruling, limits=ServerLimits(head_s=1.0)) as house:
        await half_shaken(house, client_context)
        await until(lambda: look_up.cancelled and not house.server.connections)


@on_both_loops
async def test_a_look_up_that_fails_lets_nobody_in(
    client_context: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    look_up = LookUp()
    async with House(look_up.ruling) as house:
        shaking = asyncio.create_task(TlsWire(await house.redirected(), client_context).shake())
        await until(lambda: look_up.asked)
        look_up.find(ValueError("a fault"))
        with pytest.raises((ConnectionResetError, ssl.SSLError)):
            await shaking
    assert "could not be judged" in caplog.text
