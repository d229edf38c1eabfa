"""One connection to a provider, one exchange at a time. It knows bytes and framing; the pool knows when to use it."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable
from typing import Final, Protocol, final

from sidecar.clock import Clock, Watchdog
from sidecar.errors import Reason, WireError
from sidecar.http1.drive import Drive, Signal
from sidecar.http1.limits import HeadLimits
from sidecar.http1.message import Headers, ReplayBody
from sidecar.http1.response import Response, ResponseReader
from sidecar.http1.tls import TlsClient

DRAIN_BYTES: Final = 64 * 1024
"""The rest of a reply that nobody wants is read up to this size rather than losing the connection."""

OnInterim = Callable[[int, bytes, Headers], None]


@final
class Exchange:
    """One request to send, and what may be done with it. Instants are on the monotonic clock."""

    __slots__ = (
        "bodiless",
        "body",
        "chunked",
        "connect_s",
        "deadline_s",
        "head",
        "idle_s",
        "key",
        "on_interim",
        "repeatable",
        "upgrading",
    )

    def __init__(  # noqa: PLR0917
        self,
        head: bytes,
        body: ReplayBody,
        chunked: bool,
        key: int,
        deadline_s: float,
        connect_s: float,
        idle_s: float,
        bodiless: bool,
        upgrading: bool,
        repeatable: bool,
        on_interim: OnInterim | None,
    ) -> None:
        self.head = head
        self.body = body
        self.chunked = chunked
        self.key = key
        """Whose connection may carry it: calls of different credentials never share one."""
        self.deadline_s = deadline_s
        """When the reply's head must be here."""
        self.connect_s = connect_s
        """How long opening a connection may take, seconds."""
        self.idle_s = idle_s
        """How long a reply's body may pause, seconds."""
        self.bodiless = bodiless
        """Whether the reply will have no body (HEAD)."""
        self.upgrading = upgrading
        self.repeatable = repeatable
        """Whether sending it twice is harmless, so that a connection found dead may be replaced silently."""
        self.on_interim = on_interim


class Home(Protocol):
    """Where a connection belongs."""

    def on_idle(self, connection: ProviderConnection) -> None:
        """The exchange is complete and the connection can take another."""
        ...

    def on_gone(self, connection: ProviderConnection) -> None:
        """The connection is closed, or must not be used again. Called once."""
        ...


@final
class ProviderConnection(asyncio.Protocol):
    """`open` (for TLS), then `begin` an exchange, await the reply, and again once the pool has it back."""

    def __init__(  # noqa: PLR0917
        self,
        home: Home,
        limits: HeadLimits,
        key: int,
        tls: TlsClient | None,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
    ) -> None:
        self.key = key
        """Whose connection it is: calls of different credentials never share one."""
        self.exchanges = 0
        self.replied = False
        """Whether any byte has come in the present exchange."""
        self.idle_since_s = 0.0
        self.keep_alive_s: float | None = None
        self.progress = 0
        """Counts reads, so that a sweep can tell a stalled body from a slow one."""
        self.reading_paused = False
        """Whether it is our reader that is slow, and not the provider."""
        self.deadline = Watchdog(clock)
        """When the reply's head must be here; for the pool to set and to lift."""
        self._home = home
        self._loop = loop
        self._tls = tls
        self._reader = ResponseReader(self, limits, self)
        self._transport: asyncio.Transport | None = None
        self._opened: asyncio.Future[None] | None = None
        self._reply: Signal[Response] | None = None
        self._arrived: Signal[Response] | None = None
        self._response: Response | None = None
        self._fault: str | None = None
        """What the provider did wrong within the grammar, noticed while the parser has the floor."""
        self._on_interim: OnInterim | None = None
        self._upgrading = False
        self._raw = False
        self._taking = False
        """What came is with the parser, or with whoever waited for it."""
        self._stopped = False
        """The transport was told to stop reading."""
        self._pump: Drive | None = None
        self._sending = False
        """The request's body is not wholly sent."""
        self._writable: asyncio.Future[None] | None = None
        self._write_paused = False
        self._reusable = True
        self._gone = False

    # Opening.

    async def open(self) -> None:
        """Complete the TLS handshake; nothing to do without TLS. Raises WireError."""
        if self._tls is None:
            return
        self._opened = self._loop.create_future()
        self._write(self._tls.start())
        await self._opened

    def _shake(self, data: bytes) -> None:
        tls, opened = self._tls, self._opened
        assert tls is not None
        try:
            self._write(tls.shake(data))
        except WireError as error:
            # The alert that OpenSSL made tells the provider why.
            self._write(tls.pending_output())
            self.fail(error)
            return
        if tls.established and opened is not None and not opened.done():
            opened.set_result(None)

    @property
    def tls(self) -> TlsClient | None:
        return self._tls

    @property
    def socket(self) -> socket.socket | None:
        return None if self._transport is None else self._transport.get_extra_info("socket")

    # An exchange.

    def begin(self, exchange: Exchange) -> Signal[Response]:
        """Send a request and give what its reply's head will come by, or a WireError."""
        self.exchanges += 1
        self.replied = False
        self._reader.expects_body = not exchange.bodiless
        self._on_interim = exchange.on_interim
        self._upgrading = exchange.upgrading
        reply: Signal[Response]
        reply = self._reply = Signal(self._loop)
        head, body = exchange.head, exchange.body
        data = body.whole()
        if data is None:
            self._sending = True
            pump = Drive(self._send(head, body, exchange.chunked), self._on_sent, self._loop)
            if self._sending:
                self._pump = pump
        elif exchange.chunked:
            trailers = body.source.trailers if body.source is not None else None
            self.write(head + (b"%x\r\n%b\r\n" % (len(data), data) if data else b"") + last_chunk(trailers))
        else:
            self.write(head + data if data else head)
        return reply

    def expire(self) -> None:
        """The deadline of the present exchange has passed."""
        self.fail(WireError(Reason.ATTEMPT_TIMEOUT, "the provider did not reply in time"))

    async def _send(self, head: bytes, body: ReplayBody, chunked: bool) -> None:
        try:
            self.write(begun(head, body.ready(), chunked))
            if self._write_paused:
                await self.drain()
            while data := await body.read():
                self.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
                if self._write_paused:
                    await self.drain()
            if chunked:
                self.write(last_chunk(body.source.trailers if body.source is not None else None))
        except Exception as error:
            # The application's side broke off, or TLS did: this request cannot be completed.
            self.fail(error)

    def _on_sent(self) -> None:
        self._sending, self._pump = False, None

    def write(self, data: bytes) -> None:
        """Send `data`, in records where there is TLS."""
        if self._gone:
            return
        self._write(data if self._tls is None else self._tls.encrypt(data))

    async def drain(self) -> None:
        """Wait until the socket takes more."""
        if self._write_paused and not self._gone:
            self._writable = self._loop.create_future()
            try:
                await self._writable
            finally:
                self._writable = None

    def looks_alive(self) -> bool:
        """Ask the socket whether the provider has closed it meanwhile. About a microsecond."""
        probe = self.socket
        if probe is None:
            return False
        poll = select.poll()
        poll.register(probe.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
        return not poll.poll(0)

    # What the reader says.

    def on_interim(self, status: int, phrase: bytes, headers: Headers) -> None:
        if self._on_interim is not None and self._reply is not None and not self._reply.is_done:
            self._on_interim(status, phrase, headers)

    def on_response(self, response: Response) -> None:
        reply = self._reply
        if reply is None:
            self._fault = "the provider sent a reply that nobody asked for"
            return
        if response.status == 101:
            if not self._upgrading:
                self._fault = "the provider changed protocols unasked"
                return
            self._raw = True
            self._reusable = False
        self._response = response
        self._reusable = self._reusable and response.keep_alive
        if response.keep_alive_s is not None:
            self.keep_alive_s = response.keep_alive_s
        # Whoever waits goes on only when the parser has let go of what was read: by then the body may be here, too.
        reply.put(response)
        self._reply, self._arrived = None, reply

    def on_complete(self) -> None:
        if self._raw or self._fault is not None:
            return
        self._response = None
        if self._pump is not None:
            # The provider answered before the request was wholly sent: what is left must not become a request.
            self._pump.cancel()
            self._reusable = False
        if self._reusable and not self._reader.surplus:
            self._home.on_idle(self)
        else:
            self.close()

    # What the body's reader says (Flow).

    def pause_reading(self) -> None:
        """Not before whoever waits for the reply has gone on: most of the time they take what is here, and to stop and
        start again costs two system calls."""
        self.reading_paused = True
        if not self._taking and self._transport is not None and not self._transport.is_closing():
            self._stopped = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        self.reading_paused = False
        self.progress += 1
        if self._stopped and self._transport is not None and not self._transport.is_closing():
            self._stopped = False
            self._transport.resume_reading()

    def abandon(self) -> None:
        response = self._response
        length = None if response is None else response.headers.get(b"content-length")
        if length is None or int(length) > DRAIN_BYTES or self._raw:
            self.abort()
        else:
            self.resume_reading()

    # What the transport says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        tls = self._tls
        self.progress += 1
        try:
            if tls is not None:
                if not tls.established:
                    self._shake(data)
                    if not tls.established:
                        return
                    data = b""
                data = tls.decrypt(data)
                if tls.closed_cleanly:
                    self._take(data)
                    self.eof_received()
                    return
                # A key update asks for an answer.
                if output := tls.pending_output():
                    self._write(output)
            if data:
                self._take(data)
        except WireError as error:
            self.fail(error)

    def _take(self, data: bytes) -> None:
        if not data:
            return
        self.replied = self._taking = True
        if self._raw:
            self._reader.feed_raw(data)
        elif self._reply is None and self._response is None:
            self._fault = "the provider sent what nobody asked for"
        elif rest := self._reader.feed(data):
            self._reader.feed_raw(rest)
        arrived, self._arrived = self._arrived, None
        if self._fault is not None:
            self.fail(WireError(Reason.REPLY_MALFORMED, self._fault))
        if arrived is not None:
            arrived.wake()
        self._taking = False
        if self.reading_paused:
            self.pause_reading()

    def eof_received(self) -> bool:
        clean = self._tls is None or self._tls.closed_cleanly
        self._reusable = False
        if self._raw:
            # The other direction may go on: the tunnel's owner closes.
            self._reader.finish_raw()
            return True
        if self._reader.eof(clean):
            self.on_complete()
        else:
            self.fail(self._lost())
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.fail(self._lost())
        self._reader.release()

    def _lost(self) -> WireError:
        if self._opened is not None and not self._opened.done():
            return WireError(Reason.TLS_FAILED, "the provider closed the connection while TLS was being agreed")
        if self.replied:
            return WireError(Reason.REPLY_INCOMPLETE, "the provider closed the connection in the middle of its reply")
        return WireError(Reason.CONNECTION_LOST, "the provider closed the connection before it replied")

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    # The way up after a 101 (Tunnel).

    async def send(self, data: bytes) -> None:
        self.write(data)
        if self._write_paused:
            await self.drain()

    def finish(self) -> None:
        """Half-close: a TLS connection can only say close_notify."""
        if self._transport is None or self._gone:
            return
        if self._tls is not None:
            self._write(self._tls.close())
        elif self._transport.can_write_eof():
            self._transport.write_eof()

    # The end.

    def fail(self, error: Exception) -> None:
        """Whatever is under way fails with `error`, and the connection closes."""
        reply, arrived = self._reply, self._arrived
        self._reply = self._arrived = None
        if self._reader.in_body:
            # Nobody has seen the reply yet, so its loss may be mended like that of any other.
            reply = reply or arrived
            self._reader.fail_body(error)
        self.abort()
        if self._opened is not None and not self._opened.done():
            self._opened.set_exception(error)
        if reply is not None:
            reply.set_exception(error)
        elif arrived is not None:
            arrived.wake()

    def close(self) -> None:
        """Close politely: TLS says so first."""
        if self._transport is not None and not self._gone and not self._transport.is_closing():
            if self._tls is not None and self._tls.established:
                self._write(self._tls.close())
            self._transport.close()
        self._leave()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        self._leave()

    def _leave(self) -> None:
        if self._gone:
            return
        self._gone = True
        self.deadline.stop()
        if self._pump is not None:
            self._pump.cancel()
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._home.on_gone(self)

    def _write(self, data: bytes) -> None:
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


def begun(head: bytes, first: bytes, chunked: bool) -> bytes:
    """A head and what is there of its body, if anything: a write of the head's own costs a packet, and wakes the other
    side for nothing."""
    if not first:
        return head
    return b"%b%x\r\n%b\r\n" % (head, len(first), first) if chunked else head + first


def last_chunk(trailers: list[tuple[bytes, bytes]] | None) -> bytes:
    """The end of a chunked body (RFC 9112 7.1)."""
    if not trailers:
        return b"0\r\n\r\n"
    return b"0\r\n" + b"".join(b"%b: %b\r\n" % trailer for trailer in trailers) + b"\r\n"
