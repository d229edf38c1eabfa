"""Leaves: what the sidecar presents for one name, made at first use and kept while it is young.

One key serves all leaves of a process. It costs a handshake nothing more than keys of their own would, spares making
one for each name, and loses nothing: who could read one of them from this process could read the authority's.
It is never stored. OpenSSL takes a chain and its key from a file only, so they pass through a memfd, a file that has no
name and lives in this process's memory until it is closed, right after.
"""

from __future__ import annotations

import os
import ssl
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sidecar.authority.ca import ORGANIZATION, SKEW_S, Issuer, key_usage, moment, pem
from sidecar.authority.names import Hosts

LIFE_S: Final = 24 * 3600.0
RENEW_RATIO: Final = 2 / 3
KEPT_MOST: Final = 256
"""Contexts in memory, about 40 KiB each; past that, the one unused for longest goes."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A context, and between which times it is given out."""

    context: ssl.SSLContext
    from_s: float
    until_s: float


class Leaves:
    """The leaves of one issuer. Whoever asks has seen to it that the name may be signed."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._kept: OrderedDict[str, Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, name: str, now_s: float) -> ssl.SSLContext | None:
        """The context that is kept for `name`, if it is still young, and no clock was set back behind it."""
        kept = self._kept.get(name)
        if kept is None or not kept.from_s <= now_s < kept.until_s:
            return None
        self._kept.move_to_end(name)
        return kept.context

    def make(self, name: str, now_s: float) -> ssl.SSLContext:
        """A new leaf for `name`, and the context that presents it; takes about half a millisecond."""
        ends_s = min(now_s + LIFE_S, self.issuer.ends_s)
        context = self._context(self._sign(name, now_s - SKEW_S, ends_s))
        self._kept[name] = Kept(context, now_s - SKEW_S, now_s + (ends_s - now_s) * RENEW_RATIO)
        self._kept.move_to_end(name)
        if len(self._kept) > KEPT_MOST:
            self._kept.popitem(last=False)
        return context

    def retain(self, hosts: Hosts) -> None:
        """Forget the leaves of names that are not among `hosts` any more."""
        for name in [name for name in self._kept if not hosts.has(name)]:
            del self._kept[name]

    def _sign(self, name: str, begins_s: float, ends_s: float) -> x509.Certificate:
        issuer = self.issuer
        # The name stands in the SAN alone. The subject is not empty, which some clients stumble over.
        subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION)])
        public = self._key.public_key()
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.certificate.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(moment(begins_s))
            .not_valid_after(moment(ends_s))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(key_usage("digital_signature"), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(_authority_key_id(issuer), critical=False)
            .sign(issuer.key, hashes.SHA256())
        )

    def _context(self, leaf: x509.Certificate) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        # A client keeps one at a time; OpenSSL would make and send two in each handshake.
        context.num_tickets = 1
        key = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        _load(context, key + pem((leaf, *self.issuer.sent)))
        return context


def _authority_key_id(issuer: Issuer) -> x509.AuthorityKeyIdentifier:
    """By the issuer's own identifier, which another maker may have computed in another way."""
    try:
        own = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _load(context: ssl.SSLContext, chain: bytes) -> None:
    handle = os.memfd_create("leaf", os.MFD_CLOEXEC)
    try:
        os.fchmod(handle, 0o600)
        with os.fdopen(os.dup(handle), "wb") as file:
            file.write(chain)
        context.load_cert_chain(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)
