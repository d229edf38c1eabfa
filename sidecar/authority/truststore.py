"""Certificates in the forms that Java reads: PKCS #12, and the older JKS.

Nothing in a trust store is secret; its password only shows whether the file is whole. What may live here: forms. So
`cryptography` is imported for PKCS #12 alone.
"""

from __future__ import annotations

import re
import ssl
import struct
import warnings
from collections.abc import Mapping
from hashlib import sha1, sha256
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from cryptography import x509

Entries: TypeAlias = Mapping[str, bytes]
"""Certificates, DER, by alias."""

OWN_ALIAS: Final = "sidecar"
PASSWORD: Final = "changeit"
"""What Java itself gives its own trust store."""
_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

# The store's form, by `sun.security.provider.JavaKeyStore` of the JDK: big-endian, strings as `DataOutput.writeUTF`.
_MAGIC: Final = 0xFEEDFEED
_VERSION: Final = 2
_TRUSTED: Final = 2
_SALT: Final = b"Mighty Aphrodite"


def entries(own: str, others: str) -> dict[str, bytes]:
    """From two texts of PEM certificates; what stands in both is ours. Raises ValueError for a broken one."""
    ours = list(dict.fromkeys(map(ssl.PEM_cert_to_DER_cert, _PEM.findall(own))))
    found = {OWN_ALIAS if index == 0 else f"{OWN_ALIAS}-{index + 1}": der for index, der in enumerate(ours)}
    for der in map(ssl.PEM_cert_to_DER_cert, _PEM.findall(others)):
        if der not in ours:
            # By its content, so that an alias means the same root in every store.
            found[f"root-{sha256(der).hexdigest()[:16]}"] = der
    return found


def as_jks(certificates: Entries, password: str, made_s: float) -> bytes:
    """A JKS trust store; `made_s` (Unix time) is shown as each entry's date."""
    body = bytearray(struct.pack(">III", _MAGIC, _VERSION, len(certificates)))
    for alias, der in certificates.items():
        body += struct.pack(">I", _TRUSTED) + _utf(alias) + struct.pack(">q", int(made_s * 1000))
        body += _utf("X.509") + struct.pack(">I", len(der)) + der
    digest = sha1(password.encode("utf-16-be") + _SALT + body, usedforsecurity=False)
    return bytes(body) + digest.digest()


def as_p12(certificates: Entries, password: str) -> bytes:
    """A PKCS #12 trust store, with the attribute by which Java tells that an entry is trusted."""
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization.pkcs12 import (  # noqa: PLC0415
        PKCS12Certificate,
        serialize_java_truststore,
    )

    loaded = ((alias, _load(der)) for alias, der in certificates.items())
    trusted = [PKCS12Certificate(each, alias.encode()) for alias, each in loaded if each is not None]
    return serialize_java_truststore(trusted, BestAvailableEncryption(password.encode()))


def _load(der: bytes) -> x509.Certificate | None:
    """None for what the library takes for none; among the world's roots are some with a serial number of 0."""
    from cryptography.x509 import load_der_x509_certificate  # noqa: PLC0415

    with warnings.catch_warnings(action="ignore"):
        try:
            return load_der_x509_certificate(der)
        except ValueError:
            return None


def _utf(text: str) -> bytes:
    """Aliases are ASCII, in which Java's modified UTF-8 is no different."""
    data = text.encode("ascii")
    return struct.pack(">H", len(data)) + data
