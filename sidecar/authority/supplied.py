"""An authority that the user supplies, as a mounted Secret does: read at start, and again whenever it is replaced.

`cert_file` holds the certificate that issues, first, and perhaps what stands above it; where that does not reach a
root, `ca.crt` beside it is looked at, in which cert-manager puts one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from sidecar.authority.ca import Issuer, PrivateKey, certifies, constraint_of, in_force, self_signed
from sidecar.authority.names import Hosts
from sidecar.authority.record import ROOT_FILE, stamps
from sidecar.errors import SettingsError
from sidecar.files import stamp

log = logging.getLogger(__name__)

CERT_SETTING: Final = "--ca-cert / SIDECAR_CA_CERT"
KEY_SETTING: Final = "--ca-key / SIDECAR_CA_KEY"
RSA_BITS: Final = 2048


class SuppliedCa:
    """The user's authority. `issuer` is who signs now; `refresh` looks whether it was replaced."""

    def __init__(self, cert_file: Path, key_file: Path, now_s: float) -> None:
        """Raises SettingsError."""
        self._cert_file = cert_file
        self._key_file = key_file
        self._seen = self.stamps = self._stamps()
        self.issuer = self._read(now_s)

    @property
    def renew_at_s(self) -> None:
        """Others renew it."""

    def refresh(self, hosts: Hosts, now_s: float) -> None:
        """Read what was replaced. Raises SettingsError if it is of no use: once, and the one before goes on signing."""
        seen = self._stamps()
        if seen == self._seen:
            return
        self._seen = seen
        before, self.issuer = self.issuer, self._read(now_s)
        self.stamps = seen
        kept = certifies(self.issuer.certificate, before.key)
        log.log(
            logging.INFO if kept else logging.WARNING,
            "the authority was replaced"
            if kept
            else "the authority was replaced by one with another key: running applications have to read it",
            extra={"serial": f"{self.issuer.certificate.serial_number:x}"},
        )

    def _stamps(self) -> Mapping[str, str]:
        """Changes when a file does; also by the switch of a link above it."""
        return stamps([self._cert_file, self._key_file, self._cert_file.with_name(ROOT_FILE)])

    def _read(self, now_s: float) -> Issuer:
        chain = _certificates(self._cert_file)
        first = chain[0]
        key = _key(self._key_file)
        fault = _fault(first, key, now_s)
        if fault:
            raise SettingsError(f"{CERT_SETTING}: {self._cert_file}: {fault}")
        chain = _above(first, [*chain[1:], *self._roots_beside()])
        above = [certificate for certificate in chain if not self_signed(certificate)]
        anchors = [certificate for certificate in chain if self_signed(certificate)]
        if not anchors:
            log.warning(
                "the authority's root is not in its file: applications must have it already",
                extra={"file": str(self._cert_file), "issuer": chain[-1].issuer.rfc4514_string()},
            )
        constraints = tuple(map(constraint_of, chain))
        if all(constraint.permitted is None for constraint in constraints):
            log.warning(
                "the authority has no name constraints: who has its key can pose as any host to who trusts it",
                extra={"file": str(self._cert_file)},
            )
        return Issuer(key, first, tuple(above), tuple(anchors) or (chain[-1],), constraints)

    def _roots_beside(self) -> Sequence[x509.Certificate]:
        beside = self._cert_file.with_name(ROOT_FILE)
        return _certificates(beside) if stamp(beside) and beside != self._cert_file else ()


def _bytes(path: Path, setting: str, expected: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise SettingsError(f"{setting}: expected {expected}, got {str(path)!r} ({reason})") from None


def _certificates(path: Path) -> Sequence[x509.Certificate]:
    """At least one. Raises SettingsError."""
    expected = "a file of PEM certificates, the issuing one first"
    data = _bytes(path, CERT_SETTING, expected)
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError:
        raise SettingsError(f"{CERT_SETTING}: expected {expected}, got {str(path)!r} (it holds none)") from None


def _key(path: Path) -> PrivateKey:
    expected = "an unencrypted private key in PEM, EC or RSA"
    data = _bytes(path, KEY_SETTING, expected)
    try:
        key = load_pem_private_key(data, None)
    except TypeError:
        raise SettingsError(f"{KEY_SETTING}: expected {expected}, got {str(path)!r} (it is encrypted)") from None
    except Exception:  # A parser has many kinds of them, and any text of theirs might quote what it read.
        raise SettingsError(f"{KEY_SETTING}: expected {expected}, got {str(path)!r} (it holds none)") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise SettingsError(f"{KEY_SETTING}: expected {expected}, got {str(path)!r} (it is of another kind)")
    return key


def _fault(certificate: x509.Certificate, key: PrivateKey, now_s: float) -> str:
    """Why this pair cannot sign leaves that anybody would accept; empty if it can."""
    if not certifies(certificate, key):
        return f"its first certificate is not that of the key in {KEY_SETTING.partition(' ')[0]}"
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < RSA_BITS:
        return f"its key has {key.key_size} bits, and clients refuse an RSA key of fewer than {RSA_BITS}"
    try:
        extensions = certificate.extensions
    except ValueError:
        return "an extension of its first certificate cannot be read"
    return _wrong_use(extensions) or _wrong_time(certificate, now_s)


def _wrong_use(extensions: x509.Extensions) -> str:
    values = {type(extension.value): extension.value for extension in extensions}
    basic = values.get(x509.BasicConstraints)
    if not isinstance(basic, x509.BasicConstraints) or not basic.ca:
        return "its first certificate is not an authority's (basic constraints without CA)"
    usage = values.get(x509.KeyUsage)
    if isinstance(usage, x509.KeyUsage) and not usage.key_cert_sign:
        return "its first certificate may not sign others (key usage without keyCertSign)"
    purposes = values.get(x509.ExtendedKeyUsage)
    if isinstance(purposes, x509.ExtendedKeyUsage) and not {
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    } & set(purposes):
        return "its first certificate may not be used for servers (extended key usage without serverAuth)"
    return ""


def _wrong_time(certificate: x509.Certificate, now_s: float) -> str:
    if in_force(certificate, now_s):
        return ""
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now_s >= ends.timestamp():
        return f"it expired on {ends:%Y-%m-%d at %H:%M} UTC; renew it"
    return f"it is not valid before {begins:%Y-%m-%d at %H:%M} UTC; is the clock right?"


def _above(first: x509.Certificate, others: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """`first` and, each behind what it issued, those of `others` that stand above it."""
    chain = [first]
    while not self_signed(chain[-1]):
        issuer = next((one for one in others if _issued(one, chain[-1]) and one not in chain), None)
        if issuer is None:
            break
        chain.append(issuer)
    return chain


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except Exception:  # Not by name, not by key, or with an algorithm that is not known: it is not, either way.
        return False
    return True
