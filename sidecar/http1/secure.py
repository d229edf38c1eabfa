"""TLS towards applications: an `SSLObject` between two memory buffers, and the transport that HTTP writes to.

Like `tls.py` in the other direction, and for the same reason: half the CPU of the event loop's own TLS.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Any, Protocol, final

from sidecar.http1.transport import RawTransport

RECORD_BYTES = 16 * 1024
"""What one read of OpenSSL's can give."""


class TlsBroken(Exception):  # noqa: N818 - it is over, whoever's fault
    """The connection's TLS cannot go on. `alert` is the client's, in the words of RFC 8446 6.2; empty for a fault that
    was found here."""

    def __init__(self, error: ssl.SSLError) -> None:
        reason = (error.reason or "protocol error").lower()
        super().__init__(reason.replace("_", " "))
        self.alert = reason.partition("_alert_")[2]


@final
class TlsServer:
    """One connection's TLS state: ciphertext in and out by method calls, no I/O."""

    __slots__ = ("_incoming", "_outgoing", "_ssl", "closed_cleanly", "established")

    def __init__(self, context: ssl.SSLContext) -> None:
        if not context.options & ssl.OP_NO_RENEGOTIATION:
            context.options |= ssl.OP_NO_RENEGOTIATION
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.established = False
        self.closed_cleanly = False
        """True once the client has said that it will send no more (close_notify)."""

    def shake(self, data: bytes) -> bytes:
        """Take handshake bytes; gives bytes to send, and sets `established` when done. Raises TlsBroken, and then
        `pending_output` has the alert to send."""
        self._incoming.write(data)
        try:
            self._ssl.do_handshake()
            self.established = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            raise TlsBroken(error) from None
        return self._outgoing.read()

    def decrypt(self, data: bytes) -> bytes:
        """What the client said in `data`, which may end within a record. Raises TlsBroken."""
        tls, incoming = self._ssl, self._incoming
        if data:
            incoming.write(data)
        elif not incoming.pending:
            return b""
        pieces: list[bytes] = []
        try:
            while plain := tls.read(RECORD_BYTES):
                pieces.append(plain)
                if not incoming.pending and not tls.pending():
                    # Nearly always after one round; another would cost an exception to say "no more".
                    break
            else:
                self.closed_cleanly = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            # The same as an empty read, when we have said so ourselves before.
            self.closed_cleanly = True
        except ssl.SSLError as error:
            raise TlsBroken(error) from None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def encrypt(self, data: bytes) -> bytes:
        """Records that carry `data`. Raises TlsBroken."""
        try:
            self._ssl.write(data)
        except ssl.SSLError as error:
            raise TlsBroken(error) from None
        return self._outgoing.read()

    def pending_output(self) -> bytes:
        """What TLS itself wants to send: key updates, alerts."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def close(self) -> bytes:
        """The close_notify to send."""
        with contextlib.suppress(ssl.SSLError, ValueError):
            self._ssl.unwrap()
        return self._outgoing.read()


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
