"""The certificate that a server shows, from a mounted Secret, and taken up again when that changes.

One context accepts every connection, and has no certificate itself: each handshake is handed the context of the pair in
force. So a pair is swapped whole, between two handshakes, and a connection keeps the one that it began with.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeAlias

CERTIFICATE: Final = "tls.crt"
KEY: Final = "tls.key"
"""As a Secret of the type kubernetes.io/tls names them."""

Seen: TypeAlias = tuple[tuple[str, int, int, int] | None, ...]
"""Each file as it was: its real path, which a Secret's `..data` swap changes, inode, time and size."""


class UnusableCertificate(Exception):  # noqa: N818 - the file is at fault, and no code of ours
    """One sentence: which file, and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, ready to be shown."""

    context: ssl.SSLContext
    expires: datetime
    serial: str

    def expired(self, now: datetime) -> bool:
        return now >= self.expires


class ServingCertificate:
    """The pair in force. Made with the first; raises `UnusableCertificate` if that cannot be used."""

    def __init__(
        self, directory: Path, client_ca: Path | None = None, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._directory = directory
        self._client_ca = client_ca
        self._now = now
        self._seen = self._look()
        self.pair = self._load()
        self.context = _context(client_ca)
        self.context.sni_callback = self._hand_over

    def refresh(self) -> bool:
        """Take up a pair that has changed: True when another is in force now. Raises `UnusableCertificate`, once
        a change, when it cannot be used; the old one stays in force."""
        seen = self._look()
        if seen == self._seen:
            return False
        # What is changed once more while it is read has another look at the next call.
        self._seen = seen
        pair = self._load()
        if pair.expired(self._now()) and not self.pair.expired(self._now()):
            raise UnusableCertificate(f"{self._directory / CERTIFICATE}: expired at {pair.expires:%Y-%m-%d %H:%M} UTC")
        self.pair = pair
        return True

    @property
    def expired(self) -> bool:
        return self.pair.expired(self._now())

    def _hand_over(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        connection.context = self.pair.context

    def _files(self) -> tuple[Path, ...]:
        files = (self._directory / CERTIFICATE, self._directory / KEY)
        return files if self._client_ca is None else (*files, self._client_ca)

    def _look(self) -> Seen:
        return tuple(_look_at(file) for file in self._files())

    def _load(self) -> Pair:
        certificate, key = self._directory / CERTIFICATE, self._directory / KEY
        for file in self._files():
            _check_readable(file)
        context = _context(self._client_ca)
        try:
            # The password is asked for only if the key has one; without an answer OpenSSL would ask the terminal.
            context.load_cert_chain(certificate, key, password=lambda: "")
        except (ssl.SSLError, OSError) as error:
            raise UnusableCertificate(_why(certificate, key, error)) from None
        expires, serial = _read(certificate)
        return Pair(context, expires, serial)


def _context(client_ca: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # Nothing is resumed: every handshake meets the pair in force.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    if client_ca is not None:
        # Not required of everybody: the kubelet's probes have none to show.
        context.verify_mode = ssl.CERT_OPTIONAL
        try:
            context.load_verify_locations(client_ca)
        except (ssl.SSLError, OSError):
            raise UnusableCertificate(f"{client_ca}: expected certificates in PEM") from None
    return context


def _look_at(file: Path) -> tuple[str, int, int, int] | None:
    try:
        status = file.stat()
        return os.path.realpath(file), status.st_ino, status.st_mtime_ns, status.st_size
    except OSError:
        return None


def _check_readable(file: Path) -> None:
    try:
        file.read_bytes()
    except OSError as error:
        reason = (os.strerror(error.errno) if error.errno else str(error)).lower()
        raise UnusableCertificate(f"{file}: cannot be read ({reason})") from None


def _why(certificate: Path, key: Path, error: OSError) -> str:
    reason = getattr(error, "reason", "") or ""
    if "MISMATCH" in reason:
        return f"{key}: this is not the key of {certificate.name}"
    if _is_pem(certificate, b"CERTIFICATE"):
        return f"{key}: expected a private key in PEM, without a passphrase"
    return f"{certificate}: expected a certificate in PEM, and behind it those that vouch for it"


def _is_pem(file: Path, label: bytes) -> bool:
    try:
        return b"-----BEGIN " + label in file.read_bytes()
    except OSError:
        return False


def _read(certificate: Path) -> tuple[datetime, str]:
    """When it expires, and its serial number in hex."""
    from cryptography import x509  # noqa: PLC0415 - large, and this module is imported for its words, too

    try:
        leaf = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    except (OSError, ValueError):
        raise UnusableCertificate(f"{certificate}: expected a certificate in PEM") from None
    return leaf.not_valid_after_utc, f"{leaf.serial_number:x}"
