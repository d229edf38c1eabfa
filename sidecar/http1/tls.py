"""TLS inside the connection's own protocol, OpenSSL between two memory buffers; and our side of it towards providers.

A TLS transport of the event loop costs about twice as much CPU for a small call as this (`docs/architecture.md` has the
figures), mostly in an extra protocol and its queues.
"""

from __future__ import annotations

import contextlib
import ssl
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, final

from sidecar.errors import Reason, WireError

MORE_THAN_A_RECORD: Final = 16 * 1024 + 1
"""A record carries a byte less at the most (RFC 8446 5.1), and a read of OpenSSL's gives what one carries."""


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """How a provider is verified and how we present ourselves. Empty: the system's roots, TLS 1.2 or newer."""

    ca_file: Path | None = None
    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    client_cert: Path | None = None
    client_key: Path | None = None


@lru_cache(maxsize=256)
def client_context(settings: TlsSettings) -> ssl.SSLContext:
    """A context for `settings`, shared: the system's roots alone take megabytes. Raises OSError (ssl.SSLError too)
    when a file cannot be read."""
    context = ssl.create_default_context(cafile=str(settings.ca_file) if settings.ca_file else None)
    context.minimum_version = settings.minimum
    context.set_alpn_protocols(["http/1.1"])
    if settings.client_cert is not None:
        context.load_cert_chain(settings.client_cert, settings.client_key)
    return context


class TlsState:
    """One connection's TLS, on either side: ciphertext in and out by method calls, no I/O.

    What raises, raises what `_broken` makes of OpenSSL's error.
    """

    __slots__ = ("_incoming", "_object", "_outgoing", "_tls", "closed_cleanly", "established")

    def __init__(
        self,
        context: ssl.SSLContext,
        server_side: bool = False,
        server_name: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_name, session=session
        )
        # What `SSLObject` wraps: a frame of Python's for each read and write costs half of what OpenSSL takes for it.
        self._tls: Any = getattr(self._object, "_sslobj", self._object)
        self.established = False
        self.closed_cleanly = False
        """True once the peer has said that it will send no more (close_notify)."""

    def shake(self, data: bytes) -> bytes:
        """Take handshake bytes; gives bytes to send, and sets `established` when done."""
        if data:
            self._incoming.write(data)
        try:
            self._tls.do_handshake()
            self.established = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            raise self._broken(error) from None
        return self._outgoing.read()

    def decrypt(self, data: bytes) -> bytes:
        """What the peer said in `data`, which may end within a record."""
        tls, incoming = self._tls, self._incoming
        if data:
            incoming.write(data)
        elif not incoming.pending:
            return b""
        pieces: list[bytes] = []
        try:
            # No more than came, nearly always, and memory of the right size is cheaper.
            size = min(len(data), MORE_THAN_A_RECORD) or MORE_THAN_A_RECORD
            while plain := tls.read(size):
                pieces.append(plain)
                if len(plain) < size and not incoming.pending:
                    # Nearly always after one round; another would cost an exception to say "no more". A read that could
                    # have given more took a record whole, so nothing of it waits inside OpenSSL.
                    break
                size = MORE_THAN_A_RECORD
            else:
                self.closed_cleanly = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            # The same as an empty read, once we have said close_notify ourselves.
            self.closed_cleanly = True
        except ssl.SSLError as error:
            raise self._broken(error) from None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def encrypt(self, data: bytes) -> bytes:
        """Records that carry `data`."""
        try:
            self._tls.write(data)
        except ssl.SSLError as error:
            raise self._broken(error) from None
        return self._outgoing.read()

    def pending_output(self) -> bytes:
        """What TLS itself wants to send: key updates, alerts."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def close(self) -> bytes:
        """The close_notify to send."""
        with contextlib.suppress(ssl.SSLError, ValueError):
            self._object.unwrap()
        return self._outgoing.read()

    def _broken(self, error: ssl.SSLError) -> Exception:
        raise NotImplementedError


@final
class TlsClient(TlsState):
    """Our side of a connection to a provider. Raises WireError."""

    __slots__ = ()

    def __init__(self, context: ssl.SSLContext, server_name: str, session: ssl.SSLSession | None) -> None:
        super().__init__(context, server_name=server_name, session=session)

    def start(self) -> bytes:
        """The first bytes to send."""
        return self.shake(b"")

    @property
    def session(self) -> ssl.SSLSession | None:
        """What a later connection can resume; with TLS 1.3 only after the first reply."""
        return self._object.session

    @property
    def resumed(self) -> bool:
        return bool(self._object.session_reused)

    def _broken(self, error: ssl.SSLError) -> Exception:
        if self.established:
            return WireError(Reason.REPLY_INCOMPLETE, _explain(error))
        return WireError(Reason.TLS_FAILED, _explain(error), sent=False)


def _explain(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the provider's certificate is not accepted: {error.verify_message}"
    return f"TLS failed: {(error.reason or 'protocol error').replace('_', ' ').lower()}"
