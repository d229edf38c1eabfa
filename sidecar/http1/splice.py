"""A connection passed through untouched: bytes both ways, each side's pace, its half-close and its reset."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol, TypeAlias, final

from sidecar.errors import Reason, WireError
from sidecar.http1.message import Body
from sidecar.http1.raw import RawConnection
from sidecar.http1.transport import Guest, RawTransport

log = logging.getLogger(__name__)

SWEEP_S: Final = 1.0
IDLE_S: Final = 3600.0
WAITING_BYTES: Final = 64 * 1024
"""What a client may send ahead while its provider is dialled."""
RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER that makes a close a reset."""


class Ending(StrEnum):
    """How a spliced connection came to its end."""

    CLOSED = "closed"
    """Both sides said all they had to say."""
    CLIENT_RESET = "client-reset"
    PROVIDER_RESET = "provider-reset"
    IDLE = "idle"
    STOPPED = "stopped"
    """The sidecar stopped."""
    NOT_CONNECTED = "not-connected"
    """The provider could not be reached."""
    GAVE_UP = "gave-up"
    """The client left while its provider was being dialled."""


class SpliceBook(Protocol):
    """Who wants to know."""

    def ended(self, up_bytes: int, down_bytes: int, ending: Ending) -> None:
        """Called once for each splice, whether or not its provider was reached."""
        ...


@final
@dataclass(frozen=True, slots=True)
class SpliceTarget:
    """The provider's side."""

    connection: RawConnection
    """Its transport becomes the splice's; its body ends with the splice."""
    idle_s: float = IDLE_S
    """How long both sides may be silent."""


Dial: TypeAlias = Callable[[], Awaitable[SpliceTarget]]
"""Raises WireError."""


class House(Protocol):
    """The server, as a splice sees it."""

    loop: asyncio.AbstractEventLoop
    tick: int
    connections: set[Guest]

    def on_closed(self, guest: Guest) -> None: ...


@final
class Side(asyncio.Protocol):
    """One end's socket; `other` is where its bytes go."""

    __slots__ = ("_splice", "bytes", "ended", "lost", "other", "transport")

    def __init__(self, splice: Splicing) -> None:
        self._splice = splice
        self.transport: RawTransport | None = None
        self.other: Side | None = None
        self.bytes = 0
        """Received from this end."""
        self.ended = False
        """This end sends no more."""
        self.lost = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.bytes += len(data)
        self._splice.on_data(self, data)

    def eof_received(self) -> bool:
        self.ended = True
        self._splice.on_eof(self)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._splice.on_lost(self, exc)

    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.hold()

    def resume_writing(self) -> None:
        if self.other is not None:
            self.other.let_go_on()

    def hold(self) -> None:
        if self.transport is not None and not self.ended and not self.transport.is_closing():
            self.transport.pause_reading()

    def let_go_on(self) -> None:
        if self.transport is not None and not self.ended and not self.transport.is_closing():
            self.transport.resume_reading()

    def reset(self) -> None:
        """Close with a reset, as the other end was."""
        transport = self.transport
        if transport is None or self.lost:
            return
        sock = transport.get_extra_info("socket")
        if sock is not None and not transport.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        transport.abort()


@final
class Splicing:
    """One spliced connection. `begin` takes the client's transport over."""

    __slots__ = (
        "_book", "_client", "_connection", "_dialling", "_ending", "_failed", "_house", "_idle_s", "_provider",
        "_since", "_waiting", "_waiting_bytes",
    )  # fmt: skip

    def __init__(self, house: House, book: SpliceBook | None = None, failed: bytes = b"") -> None:
        self._house = house
        self._book = book
        self._failed = failed
        """Sent to the client when its provider cannot be reached."""
        self._client = Side(self)
        self._provider = Side(self)
        self._connection: RawConnection | None = None
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._dialling: asyncio.Task[None] | None = None
        self._ending: Ending | None = None
        self._idle_s = IDLE_S
        self._since = house.tick

    def begin(self, transport: RawTransport, read: bytes, dial: Dial) -> None:
        """Take the client's transport over, and dial its provider. `read` came from the client before."""
        self._dialling = self._house.loop.create_task(self._connect(dial))
        self._receive(transport, read)

    def join(self, transport: RawTransport, read: bytes, connection: RawConnection) -> None:
        """The same, where the provider is connected already."""
        self._receive(transport, read)
        self._tie(connection)

    def _receive(self, transport: RawTransport, read: bytes) -> None:
        self._house.connections.add(self)
        self._client.connection_made(transport)
        transport.set_protocol(self._client)
        transport.resume_reading()
        if read:
            self._client.data_received(read)

    async def _connect(self, dial: Dial) -> None:
        try:
            target = await dial()
        except WireError as error:
            log.info("a spliced connection's provider was not reached: %s", error.detail)
            self._fail()
            return
        except Exception:
            log.exception("a splice could not be dialled")
            self._fail()
            return
        self._dialling = None
        self._idle_s = target.idle_s
        self._since = self._house.tick
        self._tie(target.connection)

    def _tie(self, connection: RawConnection) -> None:
        """Both ends are there: let them have each other's bytes."""
        client, provider = self._client, self._provider
        self._connection = connection
        transport, read = connection.detach(provider)
        if transport is None:
            self._client.reset()
            self._settle(Ending.PROVIDER_RESET)
            return
        provider.connection_made(transport)
        client.other, provider.other = provider, client
        if self._waiting:
            waiting, self._waiting = b"".join(self._waiting), []
            transport.write(waiting)
        if client.ended:
            self._pass_eof(client)
        if read:
            provider.data_received(read)
        if connection.body.done:
            provider.eof_received()
        if self._waiting_bytes >= WAITING_BYTES:
            client.let_go_on()

    def _fail(self) -> None:
        self._dialling = None
        transport = self._client.transport
        if transport is not None and not transport.is_closing():
            if self._failed:
                transport.write(self._failed)
            transport.close()
        self._settle(Ending.NOT_CONNECTED)

    # What the two ends say.

    def on_data(self, side: Side, data: bytes) -> None:
        self._since = self._house.tick
        other = side.other
        if other is None:
            self._keep(side, data)
        elif other.transport is not None and not other.transport.is_closing():
            other.transport.write(data)

    def _keep(self, side: Side, data: bytes) -> None:
        """The provider is being dialled."""
        if self._ending is not None:
            return
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes >= WAITING_BYTES:
            side.hold()

    def on_eof(self, side: Side) -> None:
        if side.other is not None:
            self._pass_eof(side)

    def _pass_eof(self, side: Side) -> None:
        other = side.other
        assert other is not None
        if other.ended:
            # Closing sends what waits, and then the end.
            for one in (side, other):
                if one.transport is not None:
                    one.transport.close()
        elif other.transport is not None and not other.transport.is_closing():
            other.transport.write_eof()

    def on_lost(self, side: Side, exc: Exception | None) -> None:
        if self._dialling is not None:
            self._dialling.cancel()
            self._dialling = None
            self._settle(Ending.GAVE_UP)
            return
        other = side.other
        if other is None:
            return
        if exc is not None or not (side.ended and other.ended):
            other.reset()
            self._settle(Ending.CLIENT_RESET if side is self._client else Ending.PROVIDER_RESET)
        elif other.lost:
            self._settle(Ending.CLOSED)

    def _settle(self, ending: Ending) -> None:
        if self._ending is not None:
            return
        self._ending = ending
        self._client.other = self._provider.other = None
        self._house.on_closed(self)
        if self._connection is not None:
            _end_body(self._connection.body, ending)
        if self._book is not None:
            self._book.ended(self._client.bytes, self._provider.bytes, ending)

    # What the server says.

    def check(self, tick: int) -> None:
        if self._dialling is None and (tick - self._since) * SWEEP_S >= self._idle_s:
            self._stop(Ending.IDLE)

    def close_if_idle(self, for_ticks: int) -> None:
        """Whether it is idle cannot be seen from outside: it may go on for as long as calls in flight may."""

    def abort(self) -> None:
        self._stop(Ending.STOPPED)

    def _stop(self, ending: Ending) -> None:
        if self._dialling is not None:
            self._dialling.cancel()
            self._dialling = None
        self._settle(ending)
        for side in (self._client, self._provider):
            if side.transport is not None:
                side.transport.abort()


def _end_body(body: Body, ending: Ending) -> None:
    """Tell those who guard the call, as a concurrency limit does, that it is over."""
    if ending is Ending.CLOSED:
        body.finish()
    elif ending is Ending.PROVIDER_RESET:
        body.fail(WireError(Reason.CONNECTION_LOST, "the provider reset the connection"))
    else:
        body.discard()
