"""A connection to a provider whose bytes are nobody's business: what comes is a body, what goes up is sent as it is."""

from __future__ import annotations

import asyncio
from typing import final

from sidecar.errors import Reason, WireError
from sidecar.http1.message import Body


@final
class RawConnection(asyncio.Protocol):
    """`message.Flow` of its body and `message.Tunnel` of the way up. Each side may end before the other."""

    __slots__ = ("_loop", "_transport", "_writable", "body")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._writable: asyncio.Future[None] | None = None
        self.body = Body(self)

    # The way up (Tunnel).

    async def send(self, data: bytes) -> None:
        """Write, and wait while the provider takes no more. Raises ConnectionError once it is gone."""
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the provider closed the connection")
        transport.write(data)
        if self._writable is not None:
            await self._writable

    def finish(self) -> None:
        transport = self._transport
        if transport is not None and not transport.is_closing() and transport.can_write_eof():
            transport.write_eof()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # What the body's reader says (Flow).

    def pause_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def abandon(self) -> None:
        self.abort()

    def detach(self, protocol: asyncio.Protocol) -> tuple[asyncio.Transport | None, bytes]:
        """Let `protocol` have the transport, None if it is gone, and what has come so far. The body stays open, for its
        new owner to end."""
        pieces: list[bytes] = []
        self.body.divert(pieces.append)
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.set_protocol(protocol)
        return transport, b"".join(pieces)

    # What the transport says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.body.feed(data)

    def eof_received(self) -> bool:
        self.body.finish()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None:
            self.body.finish()
        else:
            self.body.fail(WireError(Reason.CONNECTION_LOST, "the provider reset the connection"))
        self._wake()
        self._transport = None

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        self._wake()

    def _wake(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)
