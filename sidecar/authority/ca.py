"""Certificates of authorities: making our own, and reading what one permits.

Our own is as narrow as RFC 5280 allows: it may sign certificates and nothing else, none below it may sign any, it is
for TLS servers, and for DNS names within the hosts of the policies. Bases are written without a dot in front, the only
form that the RFC defines and that OpenSSL, GnuTLS, NSS, Go and Java read alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any, Final, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sidecar.authority.names import Constraint

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

ORGANIZATION: Final = "sidecar"
COMMON_NAME: Final = "sidecar authority"
NOTHING: Final = "invalid"
"""A top-level domain that never exists (RFC 2606): with no base at all, a certificate would permit every name."""
SKEW_S: Final = 300
"""How far in the past a certificate begins, for clocks that are behind ours."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who signs leaves: a key with its certificate, and what others need to believe it."""

    key: PrivateKey = field(repr=False)
    certificate: x509.Certificate
    sent: tuple[x509.Certificate, ...]
    """What goes out behind a leaf: the authorities between it and the anchors."""
    anchors: tuple[x509.Certificate, ...]
    """What an application must trust."""
    constraints: tuple[Constraint, ...]
    """All of them hold."""
    older: tuple[x509.Certificate, ...] = ()
    """What the same key was certified by before, and some application may have read; the newest first."""

    def permits(self, name: str) -> bool:
        return all(constraint.permits(name) for constraint in self.constraints)

    def in_force(self, now_s: float) -> bool:
        return in_force(self.certificate, now_s)

    @property
    def begins_s(self) -> float:
        return self.certificate.not_valid_before_utc.timestamp()

    @property
    def ends_s(self) -> float:
        return self.certificate.not_valid_after_utc.timestamp()


def sign_own(key: ec.EllipticCurvePrivateKey, bases: Iterable[str], now_s: float, life_s: float) -> x509.Certificate:
    """A certificate of our own for `key`, with the constraint that `bases` make."""
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, COMMON_NAME),
        ]
    )
    constraint = x509.NameConstraints(
        permitted_subtrees=[x509.DNSName(base) for base in sorted(bases) or [NOTHING]],
        excluded_subtrees=[x509.IPAddress(ip_network(every)) for every in ("0.0.0.0/0", "::/0")],
    )
    key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment(now_s - SKEW_S))
        .not_valid_after(moment(now_s + life_s))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage("key_cert_sign"), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(constraint, critical=True)
        .add_extension(key_id, critical=False)
        .sign(key, hashes.SHA256())
    )


def key_usage(use: str) -> x509.KeyUsage:
    """For `use`, named as in `x509.KeyUsage`, alone."""
    uses = dict.fromkeys(
        (
            "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
            "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
        ),
        False,
    )  # fmt: skip
    return x509.KeyUsage(**{**uses, use: True})


def constraint_of(certificate: x509.Certificate) -> Constraint:
    """What it permits of DNS names."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return Constraint(None)
    permitted = _dns(found.permitted_subtrees)
    return Constraint(permitted or None, _dns(found.excluded_subtrees))


def _dns(subtrees: Iterable[x509.GeneralName] | None) -> frozenset[str]:
    return frozenset(name.value.lower() for name in subtrees or () if isinstance(name, x509.DNSName))


def in_force(certificate: x509.Certificate, now_s: float) -> bool:
    return certificate.not_valid_before_utc <= moment(now_s) < certificate.not_valid_after_utc


def certifies(certificate: x509.Certificate, key: PrivateKey) -> bool:
    """Whether it is `key`'s."""
    return certificate.public_key() == key.public_key()


def self_signed(certificate: x509.Certificate) -> bool:
    return certificate.issuer == certificate.subject


def moment(at_s: float) -> datetime:
    return datetime.fromtimestamp(int(at_s), UTC)


def shown(certificate: x509.Certificate) -> dict[str, Any]:
    """What may be shown of it, as JSON."""
    constraint = constraint_of(certificate)
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "serial": f"{certificate.serial_number:x}",
        "not_before": _stamp(certificate.not_valid_before_utc),
        "not_after": _stamp(certificate.not_valid_after_utc),
        "permitted": None if constraint.permitted is None else sorted(constraint.permitted),
        "excluded": sorted(constraint.excluded),
        "sha256": certificate.fingerprint(hashes.SHA256()).hex(),
    }


def _stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def pem(certificates: Iterable[x509.Certificate]) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)
