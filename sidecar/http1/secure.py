"""TLS towards applications: our side of it, and the transport that HTTP writes to."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, Protocol, final

from sidecar.http1.tls import TlsState
from sidecar.http1.transport import RawTransport


class TlsBroken(Exception):  # noqa: N818 - it is over, whoever's fault
    """The connection's TLS cannot go on. `alert` is the client's, in the words of RFC 8446 6.2; empty for a fault that
    was found here."""

    def __init__(self, error: ssl.SSLError) -> None:
        reason = (error.reason or "protocol error").lower()
        super().__init__(reason.replace("_", " "))
        self.alert = reason.partition("_alert_")[2]


@final
class TlsServer(TlsState):
    """Our side of an application's connection. Raises TlsBroken, and then `pending_output` has the alert to send."""

    __slots__ = ()

    def __init__(self, context: ssl.SSLContext) -> None:
        if not context.options & ssl.OP_NO_RENEGOTIATION:
            context.options |= ssl.OP_NO_RENEGOTIATION
        super().__init__(context, server_side=True)

    def _broken(self, error: ssl.SSLError) -> Exception:
        return TlsBroken(error)


class Plaintext(Protocol):
    """Who reads what was decrypted: a protocol as the loop's transports know them."""

    def data_received(self, data: bytes) -> None: ...
    def eof_received(self) -> bool: ...
    def connection_lost(self, exc: Exception | None) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...


@final
class SecureTransport(asyncio.Protocol):
    """Between a socket's transport, whose protocol it is, and an inner protocol, whose transport it is."""

    __slots__ = ("_closing", "_ended", "_held", "_inner", "_paused", "_raw", "_said_all", "_tls", "_write_paused")

    def __init__(self, raw: RawTransport, tls: TlsServer, inner: Plaintext) -> None:
        self._raw = raw
        self._tls = tls
        self._inner: Plaintext | None = inner
        self._closing = False
        self._said_all = False
        """Our close_notify has gone out."""
        self._ended = False
        """The client's end has come, by close_notify or by the socket."""
        self._paused = False
        self._held = False
        """Reading waits until the client reads: what it sends has TLS itself make answers."""
        self._write_paused = False

    # What the socket says.

    def data_received(self, data: bytes) -> None:
        inner, tls = self._inner, self._tls
        if inner is None or self._ended:
            return
        try:
            plain = tls.decrypt(data)
        except TlsBroken:
            self._break_off()
            return
        if output := tls.pending_output():
            self._answer(output)
        if plain:
            inner.data_received(plain)
        if tls.closed_cleanly:
            self._end(inner)

    def _answer(self, output: bytes) -> None:
        """Send what TLS itself has to say: a client that asks for it and does not read must not fill our memory."""
        self._raw.write(output)
        if self._write_paused and not self._held:
            self._held = True
            if not self._paused and not self._raw.is_closing():
                self._raw.pause_reading()

    def _end(self, inner: Plaintext) -> None:
        self._ended = True
        if not self._closing and not inner.eof_received():
            self.close()

    def eof_received(self) -> bool:
        if self._inner is None:
            return False
        if not self._ended:
            self._end(self._inner)
        return not self._closing

    def connection_lost(self, exc: Exception | None) -> None:
        inner, self._inner = self._inner, None
        self._closing = True
        if inner is not None:
            inner.connection_lost(exc)

    def pause_writing(self) -> None:
        self._write_paused = True
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._held:
            self._held = False
            if not self._paused and not self._raw.is_closing():
                self._raw.resume_reading()
        if self._inner is not None:
            self._inner.resume_writing()

    def _break_off(self) -> None:
        if output := self._tls.pending_output():
            self._raw.write(output)
        self._closing = True
        self._raw.close()

    # What the inner protocol says.

    def write(self, data: bytes) -> None:
        if not data or self._closing or self._said_all:
            return
        try:
            records = self._tls.encrypt(data)
        except TlsBroken:
            self._break_off()
            return
        self._raw.write(records)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Send close_notify, and go on reading."""
        if not self._said_all and not self._raw.is_closing():
            self._said_all = True
            self._raw.write(self._tls.close())

    def close(self) -> None:
        if not self._closing:
            self.write_eof()
            self._closing = True
            self._raw.close()

    def abort(self) -> None:
        self._closing = True
        self._raw.abort()

    def is_closing(self) -> bool:
        return self._closing or self._raw.is_closing()

    def pause_reading(self) -> None:
        self._paused = True
        if not self._held and not self.is_closing():
            self._raw.pause_reading()

    def resume_reading(self) -> None:
        self._paused = False
        if not self._held and not self.is_closing():
            self._raw.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._raw.get_extra_info(name, default)
