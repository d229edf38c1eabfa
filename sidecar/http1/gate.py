"""Where a connection stands until it is known what it carries: TLS for a host, plain HTTP, or anything else.

It reads the client's hello without answering, asks the doorman, and then ends TLS here, goes on in plain HTTP, splices
the connection through untouched, or refuses it. What policies say about hosts is the doorman's business.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeAlias, final

from sidecar.errors import Reason
from sidecar.http1.entry import Entry
from sidecar.http1.hello import Hello, HelloReader, NotHello
from sidecar.http1.limits import ServerLimits
from sidecar.http1.secure import Plaintext, SecureTransport, TlsBroken, TlsServer
from sidecar.http1.splice import Dial, SpliceBook, Splicing
from sidecar.http1.transport import Guest, RawTransport, Transport

log = logging.getLogger(__name__)

SWEEP_S: Final = 1.0
DECODE_ERROR, INTERNAL_ERROR = 50, 80
"""Alerts (RFC 8446 6.2)."""
DISTRUST: Final = frozenset(
    (
        "access_denied",
        "bad_certificate",
        "certificate_expired",
        "certificate_revoked",
        "certificate_unknown",
        "decrypt_error",
        "unknown_ca",
        "unsupported_certificate",
    )
)
"""What clients answer to a certificate that they do not believe."""


@final
@dataclass(frozen=True, slots=True)
class Terminate:
    """TLS ends here."""

    context: ssl.SSLContext
    host: str | None = None
    """Whom the requests belong to, where that is not the entry's host (CONNECT to an address, with a server name)."""


@final
@dataclass(frozen=True, slots=True)
class Plain:
    """HTTP in clear; what it asks for is judged request by request."""


@final
@dataclass(frozen=True, slots=True)
class Splice:
    """Not ours to read: bytes both ways, as they are."""

    dial: Dial
    book: SpliceBook


@final
@dataclass(frozen=True, slots=True)
class Refuse:
    """Closed: TLS with an alert, HTTP with an answer that says why."""

    alert: int | None
    detail: str
    reason: Reason = Reason.EGRESS_DENIED


@final
@dataclass(frozen=True, slots=True)
class Pending:
    """Not known yet: something has to be looked up. The client waits, for as long as its hello may take."""

    settle: Callable[[], Awaitable[Terminate | Plain | Splice | Refuse]]


Ruling: TypeAlias = Terminate | Plain | Splice | Refuse | Pending


class Doorman(Protocol):
    """Decides about connections."""

    def rule(self, entry: Entry, hello: Hello | None, http: bool) -> Ruling:
        """`hello` is None where no TLS came; `http` says that a request in clear did."""
        ...

    def client_distrusts(self, entry: Entry, alert: str) -> None:
        """The client does not believe our certificate: `unknown_ca`, `bad_certificate` …"""
        ...


class Inner(Plaintext, Protocol):
    """The HTTP of a connection that was let in."""

    def join(self, transport: Transport) -> None: ...
    def refuse(self, reason: Reason, detail: str) -> None: ...


class House(Protocol):
    """The server, as a gate sees it."""

    limits: ServerLimits
    loop: asyncio.AbstractEventLoop
    tick: int
    connections: set[Guest]

    def has_room(self) -> bool:
        """Count a new connection; False when there are too many."""
        ...

    def inner(self, entry: Entry) -> Inner: ...
    def on_closed(self, guest: Guest) -> None: ...


EntryOf: TypeAlias = Callable[[RawTransport], Entry]
"""Where a redirected connection was going. Raises OSError when that cannot be told."""


@final
class Gate(asyncio.Protocol):
    """One connection that has not been let in yet."""

    __slots__ = ("_doorman", "_entry", "_entry_of", "_house", "_reader", "_settling", "_since", "_tls", "_transport")

    def __init__(self, house: House, doorman: Doorman, entry_of: EntryOf | None = None) -> None:
        self._house = house
        self._doorman = doorman
        self._entry_of = entry_of
        self._entry: Entry = NOWHERE
        self._transport: RawTransport = None  # type: ignore[assignment]
        self._reader = HelloReader()
        self._tls: TlsServer | None = None
        self._settling: asyncio.Task[None] | None = None
        self._since = house.tick

    # Coming here.

    def connection_made(self, transport: Any) -> None:
        """A listener's way in."""
        self._transport = transport
        if self._entry_of is None or not self._house.has_room():
            transport.abort()
            return
        try:
            self._entry = self._entry_of(transport)
        except OSError as error:
            log.info("a connection whose destination cannot be told is closed: %s", error)
            transport.abort()
            return
        self._house.connections.add(self)

    def take_over(self, transport: RawTransport, entry: Entry, read: bytes) -> None:
        """CONNECT's way in: `transport` was another protocol's, which has paused it and read `read` too many."""
        self._transport, self._entry = transport, entry
        self._house.connections.add(self)
        transport.set_protocol(self)
        transport.resume_reading()
        if read:
            self.data_received(read)

    # What the transport says.

    def data_received(self, data: bytes) -> None:
        if self._tls is not None:
            self._shake(self._tls, data)
            return
        if self._settling is not None:
            self._reader.raw += data
            return
        try:
            hello = self._reader.feed(data)
        except NotHello as finding:
            if finding.kind == "too-large":
                self._refuse(Refuse(DECODE_ERROR, "a ClientHello of more than 64 KiB"), tls=True)
            else:
                self._judge(None, finding.kind == "http")
            return
        if hello is not None:
            self._judge(hello, False)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._settling is not None:
            self._settling.cancel()
        self._house.on_closed(self)

    # Deciding.

    def _judge(self, hello: Hello | None, http: bool) -> None:
        entry = self._entry
        if entry.address is not None and hello is not None and hello.server_name is not None:
            entry = self._entry = replace(entry, host=hello.server_name)
        try:
            ruling = self._doorman.rule(entry, hello, http)
        except Exception:
            log.exception("a connection could not be judged")
            self._transport.abort()
            return
        if isinstance(ruling, Pending):
            self._transport.pause_reading()
            self._settling = self._house.loop.create_task(self._settle(ruling, hello, http))
        else:
            self._obey(ruling, hello, http)

    async def _settle(self, pending: Pending, hello: Hello | None, http: bool) -> None:
        try:
            ruling = await pending.settle()
        except Exception:
            log.exception("a connection could not be judged")
            self._transport.abort()
            return
        self._settling = None
        if self._transport.is_closing():
            return
        self._transport.resume_reading()
        self._obey(ruling, hello, http)

    def _obey(self, ruling: Terminate | Plain | Splice | Refuse, hello: Hello | None, http: bool) -> None:
        entry = self._entry
        if isinstance(ruling, Terminate):
            self._entry = replace(entry, secure=True, host=ruling.host or entry.host)
            self._since = self._house.tick
            self._tls = TlsServer(ruling.context)
            self._shake(self._tls, bytes(self._reader.raw))
        elif isinstance(ruling, Plain):
            self._let_in_plain().data_received(bytes(self._reader.raw))
        elif isinstance(ruling, Splice):
            failed = b"" if hello is None else _alert(INTERNAL_ERROR)
            self._leave()
            splicing = Splicing(self._house, ruling.book, failed)
            splicing.begin(self._transport, bytes(self._reader.raw), ruling.dial)
        else:
            self._refuse(ruling, tls=hello is not None, http=http)

    def _shake(self, tls: TlsServer, data: bytes) -> None:
        transport = self._transport
        try:
            output = tls.shake(data)
        except TlsBroken as error:
            if error.alert in DISTRUST:
                self._doorman.client_distrusts(self._entry, error.alert)
            else:
                log.info("a client's TLS could not be ended: %s", error, extra={"host": self._entry.host})
            if output := tls.pending_output():
                transport.write(output)
            transport.close()
            return
        if output:
            transport.write(output)
        if tls.established:
            self._let_in(tls)

    def _let_in(self, tls: TlsServer) -> None:
        inner = self._house.inner(self._entry)
        secure = SecureTransport(self._transport, tls, inner)
        self._leave()
        self._transport.set_protocol(secure)
        inner.join(secure)
        # A request often comes in one packet with the end of the handshake.
        secure.data_received(b"")

    def _let_in_plain(self) -> Inner:
        inner = self._house.inner(self._entry)
        self._leave()
        self._transport.set_protocol(inner)
        inner.join(self._transport)
        return inner

    def _refuse(self, ruling: Refuse, *, tls: bool, http: bool = False) -> None:
        log.info("a connection is refused: %s", ruling.detail, extra={"host": self._entry.host})
        if http:
            self._let_in_plain().refuse(ruling.reason, ruling.detail)
            return
        if tls and ruling.alert is not None:
            self._transport.write(_alert(ruling.alert))
        self._transport.close()

    def _leave(self) -> None:
        """The connection is another's now."""
        self._house.connections.discard(self)

    # What the server says.

    def check(self, tick: int) -> None:
        if (tick - self._since) * SWEEP_S >= self._house.limits.head_s:
            self._transport.abort()

    def close_if_idle(self, for_ticks: int) -> None:
        if self._house.tick - self._since >= for_ticks:
            self._transport.close()

    def abort(self) -> None:
        self._transport.abort()


def _alert(code: int) -> bytes:
    """A fatal alert, in clear as it is before a handshake (RFC 8446 6)."""
    return bytes((21, 3, 3, 0, 2, 2, code))


NOWHERE: Final = Entry("transparent", "", 0)
