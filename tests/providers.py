"""Providers that misbehave on demand: raw bytes over real sockets on 127.0.0.1, plain or TLS.

A *script* runs once a connection and may do anything with it; an *answer* runs once a request (`menu.py` has many of
both). Tests block on sockets of their own, so providers run on the loop of a `Stage` in another thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import struct
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar, cast

T = TypeVar("T")

KEPT_BYTES = 1024 * 1024
"""How much of what a connection received is kept for a test to look at."""


@dataclass(slots=True)
class Request:
    """One request as its bytes came."""

    head: bytes
    """Request line and fields with their line ends, without the empty line."""
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)

    @property
    def line(self) -> bytes:
        return self.head.split(b"\r\n", 1)[0]

    @property
    def method(self) -> bytes:
        return self.line.split(b" ")[0]

    @property
    def target(self) -> bytes:
        return self.line.split(b" ")[1]

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        return parse_fields(self.head.split(b"\r\n")[1:])

    def all(self, name: bytes) -> list[bytes]:
        """Each value of that name, whatever its case, in order."""
        return [value for known, value in self.fields if known.lower() == name.lower()]

    def one(self, name: bytes) -> bytes:
        values = self.all(name)
        assert len(values) == 1, f"{name!r} {len(values)} times in {self.head!r}"
        return values[0]


def parse_fields(lines: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """(name, value) of each non-empty field line, white space around the value cut off."""
    pairs = (line.partition(b":") for line in lines if line)
    return [(name, value.strip(b" \t")) for name, _, value in pairs]


class _Recorder(asyncio.StreamReader):
    """A reader that remembers what came, whether or not a script has read it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=KEPT_BYTES, loop=loop)
        self.received = bytearray()
        self.received_bytes = 0
        self.ended = threading.Event()

    def feed_data(self, data: bytes) -> None:
        self.received_bytes += len(data)
        if len(self.received) < KEPT_BYTES:
            self.received += data
        super().feed_data(data)

    def feed_eof(self) -> None:
        self.ended.set()
        super().feed_eof()

    def set_exception(self, exc: Exception) -> None:
        self.ended.set()
        super().set_exception(exc)


class _Protocol(asyncio.StreamReaderProtocol):
    """Keeps `live` true: the transports that are not wholly closed, however long their last bytes take."""

    def __init__(self, reader: _Recorder, run: Any, live: set[asyncio.BaseTransport]) -> None:
        super().__init__(reader, run, loop=asyncio.get_running_loop())
        self._live = live
        self._made: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._live.add(transport)
        self._made = transport
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._made is not None:
            self._live.discard(self._made)
        super().connection_lost(exc)


class Connection:
    """One accepted connection, as a script drives it and a test inspects it."""

    def __init__(self, number: int, reader: _Recorder, writer: asyncio.StreamWriter) -> None:
        self.number = number
        """1 for the provider's first."""
        self.reader = reader
        self.writer = writer
        self.requests: list[Request] = []
        self.ended = reader.ended
        """Set when the peer has closed, half-closed or reset."""
        self.sent_bytes = 0
        self._transport = cast("asyncio.Transport", writer.transport)

    @property
    def received(self) -> bytes:
        return bytes(self.reader.received)

    @property
    def received_bytes(self) -> int:
        return self.reader.received_bytes

    async def head(self) -> Request | None:
        """The next request's head, its body left unread; None when the peer closed instead."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        request = Request(head[:-2])
        self.requests.append(request)
        return request

    async def body(self, request: Request) -> None:
        """Read the request's body to its end, as its framing says."""
        if request.all(b"transfer-encoding"):
            await self._chunks(request)
        elif length := request.all(b"content-length"):
            request.body = await self.reader.readexactly(int(length[0]))

    async def _chunks(self, request: Request) -> None:
        body = bytearray()
        while size := int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16):
            body += await self.reader.readexactly(size)
            assert await self.reader.readexactly(2) == b"\r\n"
        request.body = bytes(body)
        lines = []
        while (line := await self.reader.readuntil(b"\r\n")) != b"\r\n":
            lines.append(line[:-2])
        request.trailers = parse_fields(lines)

    async def request(self) -> Request | None:
        """The next request with its whole body; None when the peer closed instead."""
        request = await self.head()
        if request is not None:
            await self.body(request)
        return request

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()
        self.sent_bytes += len(data)

    def pause_reading(self) -> None:
        """Take nothing more from the socket, so that the peer's sending comes to a stop."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def finish(self) -> None:
        """Send no more, go on reading."""
        self.writer.write_eof()

    def finish_tcp(self) -> None:
        """End the TCP stream under TLS, without the close_notify that would make the end a proper one."""
        descriptor = self.writer.get_extra_info("socket").fileno()
        with socket.socket(fileno=os.dup(descriptor)) as sock:
            sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """End with RST, not FIN."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def until_ended(self) -> None:
        """Read and drop whatever comes until the peer is gone."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass


Script: TypeAlias = Callable[[Connection], Awaitable[None]]
Answer: TypeAlias = Callable[[Connection, Request], Awaitable[None]]


class Provider:
    """A listening socket that runs `script` for every connection. `script` may be replaced at any time."""

    def __init__(self, script: Script, context: ssl.SSLContext | None = None) -> None:
        self.script = script
        self.connections: list[Connection] = []
        self.errors: list[BaseException] = []
        """What scripts raised that was not the peer going away."""
        self.port = 0
        self._context = context
        self._listener: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        """What shakes hands, and what runs a script."""
        self._accepted: set[socket.socket] = set()
        """Sockets whose hands are not shaken yet."""
        self._live: set[asyncio.BaseTransport] = set()

    @property
    def requests(self) -> list[Request]:
        """All requests so far, connection by connection."""
        return [request for connection in self.connections for request in connection.requests]

    @property
    def received_bytes(self) -> int:
        return sum(connection.received_bytes for connection in self.connections)

    async def start(self) -> None:
        """Accepts by hand, so that `stop` knows of every connection, one in the midst of its handshake, too."""
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=2048)
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # gone again already
            sock, _ = listener.accept()
            sock.setblocking(False)
            self._accepted.add(sock)
            self._spawn(self._admit(sock))

    async def _admit(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            await loop.connect_accepted_socket(
                lambda: _Protocol(_Recorder(loop), self._run, self._live), sock, ssl=self._context
            )
            self._accepted.discard(sock)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Close the listener and every connection. The port may be listened on again by `start`."""
        if self._listener is None:
            return
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()
        self._listener = None
        while self._tasks or self._live:
            for task in list(self._tasks):
                task.cancel()
            for transport in list(self._live):
                cast("asyncio.Transport", transport).abort()
            await asyncio.sleep(0)
        await asyncio.sleep(0)  # what was cut off just now is closed a turn later
        while self._accepted:
            self._accepted.pop().close()

    async def _run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert isinstance(reader, _Recorder)
        connection = Connection(len(self.connections) + 1, reader, writer)
        self.connections.append(connection)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self.script(connection)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            pass
        except Exception as error:
            self.errors.append(error)
        finally:
            self._tasks.discard(task)
            writer.close()


class Stage:
    """An event loop in a thread of its own, where providers run."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="providers", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to its end on the stage's loop, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Gate:
    """Shut until a test opens it; scripts wait at it. Safe across threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_open = False
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def passed(self) -> None:
        with self._lock:
            if self._is_open:
                return
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
        await future

    def open(self) -> None:
        with self._lock:
            self._is_open = True
            waiting, self._waiting = self._waiting, []
        for future in waiting:
            future.get_loop().call_soon_threadsafe(_release, future)


def _release(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
