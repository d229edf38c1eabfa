"""What the tests of the authority share: certificates forged with its key, files as users mount them, real clients."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sidecar.authority.authority import Authority
from sidecar.authority.ca import pem
from tests.fakes import FakeClock
from tests.real import need

HOSTS = ("api.stripe.com", "*.salesforce.com")
DAY_S = 86400.0


def clock_of_now() -> FakeClock:
    """Stands at the machine's time, by which real clients judge certificates."""
    return FakeClock(wall_s=datetime.now(UTC).timestamp())


@dataclass
class Pod:
    """A state directory, a shared directory, and a clock to turn; `open` as often as a pod's container starts."""

    root: Path
    clock: FakeClock = field(default_factory=clock_of_now)

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def ca_dir(self) -> Path:
        return self.root / "shared"

    @property
    def ca_file(self) -> Path:
        return self.ca_dir / "ca.crt"

    @property
    def key_file(self) -> Path:
        return self.state / "ca.key"

    def open(self, *hosts: str, **options: Any) -> Authority:
        self.state.mkdir(exist_ok=True)
        return Authority.open(self.state, self.ca_dir, hosts or HOSTS, self.clock, **options)

    def certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.ca_file.read_bytes())

    def forge(self, name: str, **options: Any) -> Path:
        """A leaf that whoever stole the key would make; its key and its chain in one file."""
        stolen = load_pem_private_key(self.key_file.read_bytes(), None)
        assert isinstance(stolen, ec.EllipticCurvePrivateKey)
        return write_leaf(
            self.root / f"forged-{len(list(self.root.iterdir()))}.pem", stolen, self.certificate(), name, **options
        )


def write_leaf(
    path: Path, issuer_key: ec.EllipticCurvePrivateKey, issuer: x509.Certificate, name: str, *, in_san: bool = True
) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if in_san:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    leaf = builder.sign(issuer_key, hashes.SHA256())
    path.write_bytes(key_pem(key) + pem([leaf]))
    return path


def key_pem(key: Any, password: bytes | None = None) -> bytes:
    lock: KeySerializationEncryption = BestAvailableEncryption(password) if password else NoEncryption()
    data: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock)
    return data


def server_context(chain: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return context


def leaf_of(context: ssl.SSLContext, name: str, trusted: Path | None = None) -> x509.Certificate:
    """What `context` presents to a client that asks for `name`; with `trusted`, one that verifies, which raises."""
    client = ssl.create_default_context(cafile=str(trusted)) if trusted else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if trusted is None:
        client.check_hostname = False
        client.verify_mode = ssl.CERT_NONE
    asking = handshake(client, context, name)
    shown = asking.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown)


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> ssl.SSLObject:
    """A client's side of a connection that is established. Raises what the client finds wrong."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(back, there, server_hostname=name)
    answering = server.wrap_bio(there, back, server_side=True)
    for _ in range(3):
        for side in (asking, answering):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert asking.version() in ("TLSv1.2", "TLSv1.3")
    return asking


def openssl_verifies(leaf: Path, trusted: Path, name: str) -> bool:
    """What `openssl verify` says, strictly, for a TLS server of that name."""
    command = [need("openssl"), "verify", "-x509_strict", "-no-CApath", "-no-CAstore", "-purpose", "sslserver"]
    command += ["-verify_hostname", name, "-CAfile", str(trusted), str(leaf)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def verifies(certificate: x509.Certificate, trusted: Path, name: str) -> bool:
    leaf = trusted.parent.parent / "presented.pem"
    leaf.write_bytes(pem([certificate]))
    return openssl_verifies(leaf, trusted, name)


@dataclass(frozen=True)
class Made:
    """An authority that a user would bring."""

    key: Any
    certificate: x509.Certificate


def make_authority(
    above: Made | None = None,
    *,
    key: Any = None,
    ca: bool = True,
    signs: bool = True,
    purposes: Sequence[x509.ObjectIdentifier] = (),
    permitted: Iterable[str] = (),
    excluded: Iterable[str] = (),
    begins_days: int = -1,
    ends_days: int = 10,
    name: str = "Corporate",
) -> Made:
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    uses = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
         "decipher_only", "crl_sign"),
        False,
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(above.certificate.subject if above else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=begins_days))
        .not_valid_after(now + timedelta(days=ends_days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(key_cert_sign=signs, digital_signature=not signs, **uses), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if above:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(above.key.public_key())
        builder = builder.add_extension(identifier, critical=False)
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    inside, outside = ([x509.DNSName(each) for each in names] or None for names in (permitted, excluded))
    if inside or outside:
        builder = builder.add_extension(x509.NameConstraints(inside, outside), critical=True)
    return Made(key, builder.sign(above.key if above else key, hashes.SHA256()))
