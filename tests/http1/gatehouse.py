"""A server with a gate, a doorman with a script, and clients that speak TLS by hand: all in one loop."""

from __future__ import annotations

import asyncio
import functools
import inspect
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvloop

from sidecar.clock import LoopClock
from sidecar.errors import Reason
from sidecar.http1.answer import Answer
from sidecar.http1.dial import Dialer, Resolver, open_raw
from sidecar.http1.entry import Entry
from sidecar.http1.gate import Ruling, Splice
from sidecar.http1.hello import Hello
from sidecar.http1.limits import ServerLimits
from sidecar.http1.message import Body, Headers
from sidecar.http1.raw import RawConnection
from sidecar.http1.request import Request
from sidecar.http1.server import Server
from sidecar.http1.server_connection import ServerConnection
from sidecar.http1.splice import Ending, SpliceTarget

ENTRY = Entry("transparent", "192.0.2.7", 443, address=("192.0.2.7", 443))


def on_both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a coroutine test on asyncio's loop and on uvloop, whose transports differ in what they forgive."""

    @pytest.mark.parametrize("loop", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
    @functools.wraps(test)
    def run(loop: Callable[[Coroutine[Any, Any, None]], None], **fixtures: Any) -> None:
        loop(asyncio.wait_for(test(**fixtures), 30))

    signature = inspect.signature(test)
    own = inspect.Parameter("loop", inspect.Parameter.KEYWORD_ONLY)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), own])  # type: ignore[attr-defined]
    del run.__wrapped__  # type: ignore[attr-defined]
    return run


async def until(condition: Callable[[], Any], within_s: float = 5.0) -> Any:
    """Turn the loop until `condition` is true, and give what it gave."""
    async with asyncio.timeout(within_s):
        while not (result := condition()):  # noqa: ASYNC110 - any condition, so none has an event
            await asyncio.sleep(0.002)
    return result


@dataclass
class ScriptedDoorman:
    """Gives one ruling to all, and remembers what it was asked."""

    ruling: Ruling | Exception
    asked: list[tuple[Entry, Hello | None, bool]] = field(default_factory=list)
    distrust: list[tuple[Entry, str]] = field(default_factory=list)

    def rule(self, entry: Entry, hello: Hello | None, http: bool) -> Ruling:
        self.asked.append((entry, hello, http))
        if isinstance(self.ruling, Exception):
            raise self.ruling
        return self.ruling

    def client_distrusts(self, entry: Entry, alert: str) -> None:
        self.distrust.append((entry, alert))


@dataclass
class Book:
    """What splices said at their end."""

    endings: list[tuple[int, int, Ending]] = field(default_factory=list)

    def ended(self, up_bytes: int, down_bytes: int, ending: Ending) -> None:
        self.endings.append((up_bytes, down_bytes, ending))


Handle = Callable[[ServerConnection, Request], Awaitable[Answer]]


async def echo(connection: ServerConnection, request: Request) -> Answer:
    """The request's body, or its target; `/stream` sends events without a length, `/upgrade` becomes an echo."""
    if request.method == "CONNECT":
        host, _, port = request.target.decode().rpartition(":")
        return Answer(200, b"Connection established", Headers(), gate=Entry("connect", host, int(port)))
    entry = connection.entry
    extra = [] if entry is None else [(b"Entry", f"{entry.mode} {entry.host} {entry.secure}".encode())]
    if request.upgrade is not None:
        return _echo_upgraded(request.upgrade)
    if request.target == b"/stream":
        return Answer(200, b"OK", Headers(), extra, _events())
    data = request.target if request.body is None else await _all(request.body)
    return Answer(200, b"OK", Headers([(b"Content-Length", b"%d" % len(data))]), extra, Body.of(data))


async def _all(body: Body) -> bytes:
    pieces = []
    while data := await body.read():
        pieces.append(data)
    return b"".join(pieces)


def _events() -> Body:
    body = Body()
    loop = asyncio.get_running_loop()

    def send(number: int) -> None:
        if number == 3:
            body.finish()
            return
        body.feed(b"data: %d\n\n" % number)
        loop.call_later(0.01, send, number + 1)

    send(0)
    return body


class _EchoTunnel:
    def __init__(self, down: Body) -> None:
        self._down = down

    async def send(self, data: bytes) -> None:
        self._down.feed(data)

    def finish(self) -> None:
        self._down.finish()

    def abort(self) -> None:
        self._down.finish()


def _echo_upgraded(protocol: bytes) -> Answer:
    down = Body()
    down.feed(b"welcome")
    return Answer(101, b"Switching Protocols", Headers(), body=down, tunnel=_EchoTunnel(down), upgrade=protocol)


def refuse(reason: Reason, detail: str) -> Answer:
    return Answer(403, b"Forbidden", Headers(), body=Body.of(f"{reason.value}: {detail}".encode()))


class House:
    """A listener for CONNECT and one for redirected connections, with one doorman."""

    def __init__(self, ruling: Ruling | Exception, handle: Handle = echo, limits: ServerLimits | None = None) -> None:
        self.doorman = ScriptedDoorman(ruling)
        self._handle = handle
        self._limits = limits or ServerLimits()
        self._wires: list[Wire] = []

    async def __aenter__(self) -> House:
        self.server = Server(self._handle, refuse, self._limits, LoopClock(), self.doorman)
        await self.server.start("127.0.0.1", 0)
        await self.server.start("127.0.0.1", 0, entry_of=lambda _: ENTRY)
        self.port, self.transparent = (one.getsockname()[1] for one in self.server.sockets)
        return self

    async def __aexit__(self, *_: object) -> None:
        for wire in self._wires:
            wire.close()
        await self.server.stop(0.0)
        await until(lambda: not self.server.connections)

    async def connect(self, target: str = "api.example.com:443") -> Wire:
        """A CONNECT that was answered."""
        wire = await self.open(self.port)
        await wire.send(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        head = await wire.until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        assert b"ontent-" not in head
        assert b"ransfer-" not in head
        return wire

    async def redirected(self) -> Wire:
        return await self.open(self.transparent)

    async def open(self, port: int) -> Wire:
        """A client's connection, closed with the house at the latest."""
        wire = await Wire.open(port)
        self._wires.append(wire)
        return wire


class Wire:
    """A non-blocking socket by hand."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._buffer = bytearray()
        self._loop = asyncio.get_running_loop()

    @classmethod
    async def open(cls, port: int) -> Wire:
        sock = socket.socket()
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(sock)

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self.sock, data)

    async def receive(self, count: int = 262144) -> bytes:
        if self._buffer:
            data = bytes(self._buffer[:count])
            del self._buffer[:count]
            return data
        return await self._loop.sock_recv(self.sock, count)

    async def until(self, mark: bytes) -> bytes:
        while (at := self._buffer.find(mark)) < 0:
            data = await self._loop.sock_recv(self.sock, 262144)
            if not data:
                raise EOFError(bytes(self._buffer))
            self._buffer += data
        data = bytes(self._buffer[: at + len(mark)])
        del self._buffer[: at + len(mark)]
        return data

    async def exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            piece = await self.receive(count - len(data))
            if not piece:
                raise EOFError(f"{count - len(data)} bytes early")
            data += piece
        return bytes(data)

    async def rest(self) -> bytes:
        data = bytearray()
        while piece := await self.receive():
            data += piece
        return bytes(data)

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def close(self) -> None:
        self.sock.close()


class TlsWire:
    """TLS by hand over a wire, so that tests decide what goes in which piece."""

    def __init__(self, wire: Wire, context: ssl.SSLContext, name: str = "localhost", piece: int = 0) -> None:
        self.wire = wire
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name)
        self.piece = piece
        """Send in pieces of so many bytes; 0 for all at once."""
        self.ended = False

    async def flush(self) -> None:
        data = self.outgoing.read()
        if not data:
            return
        if not self.piece:
            await self.wire.send(data)
            return
        for start in range(0, len(data), self.piece):
            await self.wire.send(data[start : start + self.piece])
            await asyncio.sleep(0)

    async def _fill(self) -> None:
        data = await self.wire.receive()
        if data:
            self.incoming.write(data)
        else:
            self.incoming.write_eof()

    async def shake(self) -> TlsWire:
        try:
            while True:
                with suppress(ssl.SSLWantReadError):
                    self.tls.do_handshake()
                    return self
                await self.flush()
                await self._fill()
        finally:
            await self.flush()

    async def send(self, data: bytes) -> None:
        self.tls.write(data)
        await self.flush()

    async def receive(self) -> bytes:
        """Empty at close_notify. Raises ssl.SSLError when the socket ends without one."""
        while True:
            try:
                return self.tls.read(65536)
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLWantReadError:
                await self.flush()
                await self._fill()

    async def exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            piece = await self.receive()
            if not piece:
                raise EOFError(bytes(data))
            data += piece
        assert len(data) == count, bytes(data[:300])
        return bytes(data)

    async def until(self, mark: bytes) -> bytes:
        data = bytearray()
        while mark not in data:
            piece = await self.receive()
            if not piece:
                raise EOFError(bytes(data))
            data += piece
        return bytes(data)

    async def rest(self) -> bytes:
        data = bytearray()
        while piece := await self.receive():
            data += piece
        return bytes(data)

    async def close_notify(self) -> None:
        with suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        await self.flush()

    def close(self) -> None:
        self.wire.close()


def get(target: str = "/", *lines: str) -> bytes:
    return "\r\n".join([f"GET {target} HTTP/1.1", "Host: api.example.com", *lines, "", ""]).encode()


def post(body: bytes, target: str = "/") -> bytes:
    return f"POST {target} HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def dial(port: int) -> RawConnection:
    return await open_raw(Dialer(Resolver(LoopClock())), "127.0.0.1", port, lambda _: True)


def splice_to(port: int, book: Book, **more: Any) -> Splice:
    async def reach() -> SpliceTarget:
        return SpliceTarget(await dial(port), **more)

    return Splice(reach, book)
