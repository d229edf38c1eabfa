"""Certificates for the injector, in a directory as the kubelet mounts a Secret."""

from __future__ import annotations

import os
import shutil
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)
CERTIFICATES_ONLY = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
KEY_FORMAT = (Encoding.PEM, PrivateFormat.PKCS8)


@dataclass
class Authority:
    """Signs; `pem` is what the webhook configuration's caBundle holds."""

    name: str = "injector-ca"
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self) -> None:
        subject = _name(self.name)
        self.certificate = (
            _builder(subject, subject, self.key, 10 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(CERTIFICATES_ONLY, critical=True)
            .sign(self.key, SHA256())
        )

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def pair(
        self, name: str = "sidecar-injector", lifetime: timedelta = 2 * DAY, password: bytes = b""
    ) -> tuple[bytes, bytes]:
        """Certificate and key, PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
        certificate = (
            _builder(_name(name), self.certificate.subject, key, lifetime)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .sign(self.key, SHA256())
        )
        encryption = BestAvailableEncryption(password) if password else NoEncryption()
        return certificate.public_bytes(Encoding.PEM), key.private_bytes(*KEY_FORMAT, encryption)


class MountedSecret:
    """Files that are links into `..data`, itself a link, which a rename swaps: all at once, as the kubelet does it."""

    def __init__(self, root: Path, certificate: bytes, key: bytes) -> None:
        self.root = root
        self._generation = 0
        root.mkdir(parents=True)
        self.swap(certificate, key)
        for name in ("tls.crt", "tls.key"):
            (root / name).symlink_to(f"..data/{name}")

    def swap(self, certificate: bytes, key: bytes) -> None:
        old = self.root / f"..{self._generation}"
        self._generation += 1
        new = self.root / f"..{self._generation}"
        new.mkdir()
        (new / "tls.crt").write_bytes(certificate)
        (new / "tls.key").write_bytes(key)
        (self.root / "..data_tmp").symlink_to(new.name)
        os.rename(self.root / "..data_tmp", self.root / "..data")
        shutil.rmtree(old, ignore_errors=True)


def serial_of(certificate: bytes) -> int:
    return x509.load_pem_x509_certificate(certificate).serial_number


def client_context(authority: Authority, pair: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    """Trusts the authority alone, as the API server does with caBundle."""
    context = ssl.create_default_context(cadata=authority.pem.decode())
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if pair is not None:
        context.load_cert_chain(*pair)
    return context


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, lifetime: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 5 * DAY)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
