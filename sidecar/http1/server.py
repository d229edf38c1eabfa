"""The listener: one connection, one drive, requests answered in the order in which they came."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, final

from sidecar.clock import Clock
from sidecar.errors import ClientError, Reason
from sidecar.http1.connection import last_chunk
from sidecar.http1.drive import Drive
from sidecar.http1.limits import ServerLimits
from sidecar.http1.message import COMPLETE, Body, Headers, Tunnel
from sidecar.http1.parse import Request, RequestReader

log = logging.getLogger(__name__)

SWEEP_S = 1.0
PIPELINE_DEPTH = 8
"""Requests parsed ahead before reading stops."""
LINGER_S = 2.0
"""How long a closing connection goes on reading, so that a reset does not destroy the reply just sent."""
HANG_UP_CHECK_S = 0.05
TCP_CLOSE = 7


@final
class Answer:
    """What goes back to the application: a provider's reply passed on, or one made here."""

    __slots__ = ("body", "close", "extra", "headers", "phrase", "status", "tunnel", "upgrade")

    def __init__(  # noqa: PLR0917
        self,
        status: int,
        phrase: bytes,
        headers: Headers,
        extra: list[tuple[bytes, bytes]] | None = None,
        body: Body = COMPLETE,
        tunnel: Tunnel | None = None,
        upgrade: bytes | None = None,
        close: bool = False,
    ) -> None:
        self.status = status
        self.phrase = phrase
        self.headers = headers
        self.extra = [] if extra is None else extra
        """Fields of ours, written after `headers`."""
        self.body = body
        self.tunnel = tunnel
        """After a 101: where the client's bytes go; what comes back is `body`."""
        self.upgrade = upgrade
        self.close = close


Handle = Callable[["ServerConnection", Request], Awaitable[Answer]]
Refuse = Callable[[Reason, str], Answer]
"""Makes the answer for a request that could not be read."""


@final
class Server:
    """Accepts connections and feeds each request to `handle`, one at a time a connection."""

    def __init__(self, handle: Handle, refuse: Refuse, limits: ServerLimits, clock: Clock) -> None:
        self.handle = handle
        self.refuse = refuse
        self.limits = limits
        self.clock = clock
        self.loop = asyncio.get_running_loop()
        """Kept, since asking for the running one costs a system call in Python 3.11."""
        self.connections: set[ServerConnection] = set()
        self.in_flight = 0
        self.accepted = 0
        self.refused = 0
        """Connections turned away because there were too many."""
        self.tick = 0
        """Sweeps so far: a clock that costs nothing to read."""
        self.stopping = False
        # Any: uvloop's server is not asyncio's, and a compiled build holds types to their word.
        self._listeners: list[Any] = []
        self._idle: asyncio.Event = asyncio.Event()

    async def start(self, host: str, port: int, backlog: int = 1024) -> None:
        """Listen. Raises OSError when the address cannot be had."""
        self._listeners.append(
            await self.loop.create_server(lambda: ServerConnection(self), host, port, backlog=backlog)
        )
        if len(self._listeners) == 1:
            self._schedule()

    @property
    def sockets(self) -> list[socket.socket]:
        return [one for listener in self._listeners for one in listener.sockets]

    async def stop(self, grace_s: float) -> None:
        """Stop accepting, let calls in flight finish for `grace_s`, then close everything."""
        self.stopping = True
        for listener in self._listeners:
            listener.close()
        for connection in list(self.connections):
            connection.close_if_idle()
        if self.connections:
            self._idle.clear()
            try:
                async with asyncio.timeout(grace_s):
                    await self._idle.wait()
            except TimeoutError:
                pass
        for connection in list(self.connections):
            connection.abort()

    def on_closed(self, connection: ServerConnection) -> None:
        self.connections.discard(connection)
        if not self.connections:
            self._idle.set()

    def _schedule(self) -> None:
        self.clock.at(self.clock.now() + SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        self.tick += 1
        for connection in list(self.connections):
            connection.check(self.tick)
        if not self.stopping or self.connections:
            self._schedule()


@final
class ServerConnection(asyncio.Protocol):
    """One application connection."""

    __slots__ = (
        "_answering", "_body_bytes", "_busy", "_eof", "_halted", "_leftover", "_lingering", "_queue_paused", "_reader",
        "_reading_paused", "_refusal", "_requests", "_server", "_since", "_state", "_transport", "_tunnel",
        "_version", "_work", "_writable", "_write_paused",
    )  # fmt: skip

    def __init__(self, server: Server) -> None:
        self._server = server
        self._reader: RequestReader | None = None
        self._transport: asyncio.Transport = None  # type: ignore[assignment]
        self._work: Drive | None = None
        self._requests: deque[Request] = deque()
        self._writable: asyncio.Future[None] | None = None
        self._write_paused = False
        self._reading_paused = False
        self._queue_paused = False
        self._busy = False
        self._answering = False
        self._eof = False
        self._lingering = False
        self._refusal: ClientError | None = None
        self._tunnel: Body | None = None
        self._halted = False
        self._leftover = b""
        self._version = "1.1"
        self._since = server.tick
        self._state = ""
        self._body_bytes = 0

    # What the transport says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        server = self._server
        server.accepted += 1
        if len(server.connections) >= server.limits.connections or server.stopping:
            server.refused += 1
            self._write_refusal(
                ClientError(
                    Reason.DRAINING if server.stopping else Reason.TOO_MANY_CONNECTIONS,
                    "the sidecar is stopping"
                    if server.stopping
                    else f"the sidecar holds {server.limits.connections} connections already",
                )
            )
            self._transport.close()
            return
        server.connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self._tunnel is not None:
            self._tunnel.feed(data)
            return
        if self._lingering or self._refusal is not None:
            return
        reader = self._reader
        if reader is None:
            # Made with the first byte: most connections of an application's pool are idle ones.
            limits = self._server.limits
            reader = self._reader = RequestReader(self, limits.head, limits.body_bytes, self._on_request)
        try:
            rest = reader.feed(data)
        except ClientError as error:
            self._spoil(error)
            return
        if rest is not None:
            # An upgrade request: what follows is either protocol, and the answer will tell which.
            self._halted, self._leftover = True, rest
            self.pause_reading()
        if self._work is None and self._requests:
            self._begin()

    def eof_received(self) -> bool:
        """The client sends no more. It may have half-closed to wait for its reply, or be gone: both look the same."""
        self._eof = True
        if self._tunnel is not None:
            self._tunnel.finish()
            return True
        reader = self._reader
        if reader is not None and (reader.in_head or reader.in_body):
            reader.fail_body(ClientError(Reason.BAD_REQUEST, "the client closed in the middle of its request"))
            self._hang_up()
            return False
        if not self._busy and not self._requests:
            return False
        self._ask_whether_gone()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._eof = True
        if self._tunnel is not None:
            self._tunnel.finish()
        if self._reader is not None:
            self._reader.fail_body(ClientError(Reason.BAD_REQUEST, "the client hung up"))
        if self._writable is not None and not self._writable.done():
            self._writable.set_exception(ConnectionResetError("the client hung up"))
        self._hang_up()
        if self._reader is not None:
            self._reader.release()
            self._reader = None
        self._server.on_closed(self)

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._since = self._server.tick
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    # What a request's body says (Flow).

    def pause_reading(self) -> None:
        self._reading_paused = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._reading_paused = False
        if not self._queue_paused and not self._transport.is_closing():
            self._transport.resume_reading()

    def abandon(self) -> None:
        """The rest of a request's body is unwanted: read past it, until the connection closes."""
        self.resume_reading()

    # Requests.

    def _on_request(self, request: Request) -> None:
        self._requests.append(request)
        if len(self._requests) >= PIPELINE_DEPTH and not self._queue_paused:
            self._queue_paused = True
            self._transport.pause_reading()

    def _begin(self) -> None:
        """Work off what has been asked, in order. Between requests there is no coroutine, and so no memory for one."""
        self._busy = True
        self._server.in_flight += 1
        work = Drive(self._serve(), self._on_end, self._server.loop)
        if self._busy:
            self._work = work

    def _on_end(self) -> None:
        self._work, self._busy, self._since = None, False, self._server.tick
        self._server.in_flight -= 1

    async def _serve(self) -> None:
        """Answer requests until there is none, or until the connection must close."""
        server, requests = self._server, self._requests
        try:
            while requests:
                request = requests.popleft()
                if self._queue_paused:
                    self._queue_paused = False
                    self.resume_reading()
                self._version = request.version
                answer = await server.handle(self, request)
                keep = await self._send(request, answer)
                self._answering = False
                if not keep:
                    await self._finish()
                    return
            if self._refusal is not None:
                self._write_refusal(self._refusal)
            elif not self._eof and not server.stopping:
                return
            await self._finish()
        except ConnectionError:
            self._transport.abort()  # The client is gone; there is nobody to tell.
        except Exception:
            self._transport.abort()
            raise

    def _spoil(self, error: ClientError) -> None:
        """What the client sends cannot be understood any more: answer what was, refuse this, close."""
        self._refusal = error
        self._transport.pause_reading()
        reader = self._reader
        if reader is not None and reader.in_body:
            reader.fail_body(error)  # The request whose body it is will be refused by its own handler.
        if self._work is None and not self._busy:
            self._begin()

    # Answers.

    def interim(self, status: int, phrase: bytes, headers: Headers) -> None:
        """Pass a 1xx on, unless the answer has begun."""
        if not self._answering and not self._transport.is_closing():
            head = [b"HTTP/1.1 %d %b" % (status, phrase), *map(JOIN_FIELD, headers.fields), b"", b""]
            self._transport.write(b"\r\n".join(head))

    async def _send(self, request: Request, answer: Answer) -> bool:
        """Write an answer; True if the connection can take another request."""
        self._answering = True
        body, status, headers = answer.body, answer.status, answer.headers
        sends_body = request.method != "HEAD" and status >= 200 and status not in BODILESS
        keep = (
            request.keep_alive
            and not answer.close
            and not self._server.stopping
            and (request.body is None or (request.body.done and request.body.error is None))
        )
        whole = body.whole() if sends_body else b""
        known = b"content-length" in headers
        chunked = sends_body and not known and request.version == "1.1"
        if sends_body and not known and not chunked:
            if whole is None:
                keep = False  # An HTTP/1.0 client learns the end from the close.
            else:
                answer.extra.append((b"Content-Length", b"%d" % len(whole)))
        write = self._transport.write
        head = self._head(request, answer, keep, chunked)
        if answer.tunnel is not None:
            write(head)
            await self._tunnel_through(request, answer)
            return False
        if whole is not None:
            write(_framed(head, whole, body) if chunked else head + whole)
            if not sends_body:
                body.discard()
            if self._write_paused:
                await self._drain()
            return self._settled(keep)
        write(head)
        await self._stream(body, chunked)
        return self._settled(keep)

    def _settled(self, keep: bool) -> bool:
        """After an answer: whether another request may come. One that was not upgraded is over, so what came behind it
        is HTTP."""
        if self._halted and keep and self._reader is not None:
            leftover, self._halted, self._leftover = self._leftover, False, b""
            self._reader.resume()
            self.resume_reading()
            if leftover:
                self.data_received(leftover)
        return keep

    def _head(self, request: Request, answer: Answer, keep: bool, chunked: bool) -> bytes:
        lines = [_status_line(answer.status, answer.phrase), *map(JOIN_FIELD, answer.headers.fields)]
        if answer.extra:
            lines += map(JOIN_FIELD, answer.extra)
        if chunked:
            lines.append(b"Transfer-Encoding: chunked")
        if answer.upgrade is not None:
            closing = b"" if keep or answer.tunnel is not None else b", close"
            lines.append(b"Upgrade: %b\r\nConnection: Upgrade%b" % (answer.upgrade, closing))
        elif not keep:
            lines.append(b"Connection: close")
        elif request.version == "1.0":
            lines.append(b"Connection: keep-alive")
        lines += END
        return b"\r\n".join(lines)

    async def _stream(self, body: Body, chunked: bool) -> None:
        write = self._transport.write
        try:
            while data := await body.read():
                write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
                if self._write_paused:
                    await self._drain()
        except BaseException as error:
            # A reply cut short must look cut short: no last chunk, no clean end.
            body.discard()
            self._transport.abort()
            if isinstance(error, asyncio.CancelledError):
                raise
            raise ConnectionAbortedError("the reply broke off") from None
        if chunked:
            write(last_chunk(body.trailers))

    async def _drain(self) -> None:
        if self._transport.is_closing():
            raise ConnectionResetError("the client hung up")
        self._since = self._server.tick
        self._writable = self._server.loop.create_future()
        try:
            await self._writable
        finally:
            self._writable = None

    async def _tunnel_through(self, request: Request, answer: Answer) -> None:
        """Bytes both ways until both sides have ended."""
        tunnel = answer.tunnel
        assert tunnel is not None
        up = self._tunnel = Body(self)
        if self._leftover:
            up.feed(self._leftover)
            self._leftover = b""
        self.resume_reading()
        if self._eof:
            up.finish()
        pump = self._server.loop.create_task(_pump(up, tunnel))
        try:
            await self._stream(answer.body, chunked=False)
            if self._transport.can_write_eof():
                self._transport.write_eof()
            if not self._eof:
                await asyncio.wait((pump,), timeout=LINGER_S)
        finally:
            pump.cancel()
            tunnel.abort()

    # Refusals and the end.

    def _write_refusal(self, error: ClientError) -> None:
        answer = self._server.refuse(error.reason, error.detail)
        answer.close = True
        self._transport.write(self._head(NO_REQUEST, answer, False, False) + (answer.body.whole() or b""))

    async def _finish(self) -> None:
        """Close so that the client can still read what was sent (RFC 9112 9.6)."""
        transport = self._transport
        if transport.is_closing():
            return
        if self._eof or not self._unread():
            transport.close()
            return
        self._lingering = True
        self._tunnel = None
        if transport.can_write_eof():
            transport.write_eof()
        transport.resume_reading()
        await self._server.clock.sleep(LINGER_S)
        transport.close()

    def _unread(self) -> bool:
        """Whether the client may be sending what will never be read."""
        return self._refusal is not None or (
            self._reader is not None and (self._reader.in_body or self._reader.in_head)
        )

    def _ask_whether_gone(self) -> None:
        """A client that closed has us reset at our next byte; one that half-closed takes an interim response in its
        stride (RFC 9110 15.2). So send one, and look at the socket's state shortly after."""
        if self._answering or self._version == "1.0":
            return
        self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        clock = self._server.clock
        clock.at(clock.now() + HANG_UP_CHECK_S, self._look_whether_gone)

    def _look_whether_gone(self) -> None:
        probe = self._transport.get_extra_info("socket")
        if self._transport.is_closing() or probe is None:
            return
        (state,) = struct.unpack_from("B", probe.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8))
        if state == TCP_CLOSE:
            self._transport.abort()

    def _hang_up(self) -> None:
        if self._work is not None and not self._lingering:
            self._work.cancel()

    def check(self, tick: int) -> None:
        """Once a second: is the client too slow, or too long silent?"""
        limits, reader = self._server.limits, self._reader
        state = "idle"
        if self._write_paused:
            state = "writing"
        elif reader is not None and reader.in_head:
            state = "head"
        elif reader is not None and reader.in_body and not self._reading_paused:
            state = "body"
        elif self._busy:
            state = "busy"
        if state != self._state:
            self._state, self._since = state, tick
            self._body_bytes = reader.body_bytes if reader is not None else 0
            return
        age_s = (tick - self._since) * SWEEP_S
        if state == "head" and age_s >= limits.head_s:
            self._spoil(ClientError(Reason.REQUEST_TIMEOUT, f"the request's head took more than {limits.head_s:g} s"))
        elif state == "body" and reader is not None:
            self._check_body_rate(reader, age_s)
        elif state in ("idle", "writing") and age_s >= limits.idle_s:
            self.abort() if state == "writing" else self.close_if_idle()

    def _check_body_rate(self, reader: RequestReader, age_s: float) -> None:
        limits = self._server.limits
        if age_s < limits.body_grace_s:
            return
        if (reader.body_bytes - self._body_bytes) / age_s < limits.body_rate_bytes_per_s:
            self._spoil(
                ClientError(
                    Reason.REQUEST_TIMEOUT, f"the request's body comes slower than {limits.body_rate_bytes_per_s} B/s"
                )
            )
        else:
            self._since, self._body_bytes = self._server.tick, reader.body_bytes

    def close_if_idle(self) -> None:
        if self._busy or self._requests or (self._reader is not None and self._reader.in_head):
            return
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()


async def _pump(up: Body, tunnel: Tunnel) -> None:
    while data := await up.read():
        await tunnel.send(data)
    tunnel.finish()


def _framed(head: bytes, data: bytes, body: Body) -> bytes:
    """A head and a whole body in one chunk."""
    if data:
        return b"%b%x\r\n%b\r\n%b" % (head, len(data), data, last_chunk(body.trailers))
    return head + last_chunk(body.trailers)


def _status_line(status: int, phrase: bytes) -> bytes:
    return USUAL_LINES.get((status, phrase)) or b"HTTP/1.1 %d %b" % (status, phrase)


USUAL_LINES = {(200, b"OK"): b"HTTP/1.1 200 OK", (201, b"Created"): b"HTTP/1.1 201 Created"}
BODILESS = frozenset((204, 304))
JOIN_FIELD = b": ".join
END = (b"", b"")
NO_REQUEST = Request("GET", b"", "1.1", Headers())
