"""One application connection: requests answered in the order in which they came."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final, cast, final

from sidecar.errors import ClientError, Reason
from sidecar.http1.answer import BODILESS, NO_REQUEST, Answer, framed, head_of, interim_head
from sidecar.http1.connection import begun, last_chunk
from sidecar.http1.drive import Drive
from sidecar.http1.entry import Entry
from sidecar.http1.hangup import HANG_UP_CHECK_S, has_hung_up, has_unread
from sidecar.http1.message import Body, Headers
from sidecar.http1.request import Request, RequestReader
from sidecar.http1.transport import RawTransport, Transport
from sidecar.http1.tunnel import hand_over, pump

if TYPE_CHECKING:
    from sidecar.http1.server import Server

SWEEP_S: Final = 1.0
PIPELINE_DEPTH: Final = 8
"""Requests parsed ahead before reading stops."""
LINGER_S: Final = 2.0
"""How long a closing connection goes on reading, so that a reset does not destroy the reply just sent."""


@final
class ServerConnection(asyncio.Protocol):
    """One application connection."""

    __slots__ = (
        "_answering", "_body_bytes", "_busy", "_eof", "_halted", "_leftover", "_lingering", "_queue_paused", "_reader",
        "_reading_paused", "_refusal", "_requests", "_server", "_since", "_state", "_transport", "_tunnel",
        "_version", "_work", "_writable", "_write_paused", "entry",
    )  # fmt: skip

    def __init__(self, server: Server, entry: Entry | None = None) -> None:
        self.entry = entry
        """How it was let in through a gate; None where a listener took it in as HTTP."""
        self._server = server
        self._reader: RequestReader | None = None
        self._transport: Transport = None  # type: ignore[assignment]
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

    def connection_made(self, transport: Any) -> None:
        server = self._server
        if server.has_room():
            self.join(transport)
            return
        self._transport = transport
        why, detail = (
            (Reason.DRAINING, "the sidecar is stopping")
            if server.stopping
            else (Reason.TOO_MANY_CONNECTIONS, f"the sidecar holds {server.limits.connections} connections already")
        )
        self._write_refusal(ClientError(why, detail))
        transport.close()

    def join(self, transport: Transport) -> None:
        """Begin, on a connection that is counted already."""
        self._transport = transport
        self._server.connections.add(self)

    def refuse(self, reason: Reason, detail: str) -> None:
        """Answer that and close, whatever is asked."""
        self._spoil(ClientError(reason, detail))

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
                    if not self._halted:
                        self.resume_reading()
                self._version = request.version
                if self._halted and self.entry is not None and request.method == "CONNECT":
                    self._refusal = ClientError(Reason.BAD_REQUEST, "CONNECT within a connection that was let in")
                    break
                answer = await server.handle(self, request)
                if request.method == "CONNECT" and answer.status < 300:
                    self._hand_over(request, answer)
                    return
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
            self._transport.write(interim_head(status, phrase, headers))

    async def _send(self, request: Request, answer: Answer) -> bool:
        """Write an answer; True if the connection can take another request."""
        self._answering = True
        body, status, headers = answer.body, answer.status, answer.headers
        sends_body = request.method != "HEAD" and status >= 200 and status not in BODILESS
        keep = (
            request.keep_alive
            and not answer.close
            and not self._server.parting
            and (request.body is None or (request.body.done and request.body.error is None))
            and (request.method != "CONNECT" or self._may_ask_again(answer))
        )
        whole = body.whole() if sends_body else b""
        known = b"content-length" in headers
        chunked = sends_body and not known and request.version == "1.1"
        if sends_body and not known and not chunked:
            if whole is None:
                keep = False  # An HTTP/1.0 client learns the end from the close.
            else:
                answer.extra.append((b"Content-Length", b"%d" % len(whole)))
        head = head_of(request, answer, keep, chunked)
        if answer.tunnel is not None:
            self._transport.write(head)
            await self._tunnel_through(request, answer)
            return False
        if whole is not None:
            self._transport.write(framed(head, whole, body) if chunked else head + whole)
            if not sends_body:
                body.discard()
            if self._write_paused:
                await self._drain()
            return self._settled(keep)
        await self._stream(head, body, chunked)
        return self._settled(keep)

    def _settled(self, keep: bool) -> bool:
        """After an answer: whether another request may come. One that was not upgraded, always the last one read, is
        over, so what came behind it is HTTP."""
        if self._halted and keep and not self._requests and self._reader is not None:
            leftover, self._halted, self._leftover = self._leftover, False, b""
            self._reader.resume()
            self.resume_reading()
            if leftover:
                self.data_received(leftover)
        return keep

    async def _stream(self, head: bytes, body: Body, chunked: bool) -> None:
        write = self._transport.write
        write(begun(head, body.ready(), chunked))
        try:
            if self._write_paused:
                await self._drain()
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
        pumping = self._server.loop.create_task(pump(up, tunnel))
        try:
            await self._stream(b"", answer.body, chunked=False)
            if self._transport.can_write_eof():
                self._transport.write_eof()
            if not self._eof:
                await asyncio.wait((pumping,), timeout=LINGER_S)
        finally:
            pumping.cancel()
            tunnel.abort()

    def _may_ask_again(self, answer: Answer) -> bool:
        """Whether a connection can go on whose CONNECT was refused: what came behind was not meant for us to read."""
        return answer.status == 407 and not self._leftover

    def _hand_over(self, request: Request, answer: Answer) -> None:
        """After a 200 to CONNECT: the connection is HTTP no more."""
        leftover, self._leftover = self._leftover, b""
        # A gate's own connection never comes here, so this is the loop's transport.
        transport = cast(RawTransport, self._transport)
        if transport.is_closing():
            if answer.tunnel is not None:
                answer.tunnel.abort()
            return
        transport.write(head_of(request, answer, True, False))
        self._part()
        hand_over(self._server, transport, answer, leftover)

    def _part(self) -> None:
        """The transport is another protocol's now."""
        self._server.connections.discard(self)
        if self._reader is not None:
            self._reader.release()
            self._reader = None

    # Refusals and the end.

    def _write_refusal(self, error: ClientError) -> None:
        answer = self._server.refuse(error.reason, error.detail)
        answer.close = True
        self._transport.write(head_of(NO_REQUEST, answer, False, False) + (answer.body.whole() or b""))

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
        if has_hung_up(self._transport):
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
            self.abort() if state == "writing" else self.close_if_idle(0)

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

    def close_if_idle(self, for_ticks: int) -> None:
        if self._busy or self._requests or (self._reader is not None and self._reader.in_head):
            return
        if self._server.tick - self._since >= for_ticks and not has_unread(self._transport):
            self._transport.close()

    def abort(self) -> None:
        self._transport.abort()
