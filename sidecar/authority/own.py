"""The authority that the sidecar makes itself, and keeps in its state directory: made once, renewed, widened.

Every certificate of its key has the same subject and key identifier, so a leaf verifies against each that permits its
name: the one that is published now, and the one that a running application read before. So a new one, wider or longer
lived, breaks nobody. The key is replaced only when it is lost or unfit.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from sidecar.authority.ca import NOTHING, Issuer, certifies, constraint_of, in_force, pem, sign_own
from sidecar.authority.names import Hosts, fewest
from sidecar.authority.record import CERT_FILE, KEY_FILE, stamps
from sidecar.files import PRIVATE, PUBLIC, replace, sweep

log = logging.getLogger(__name__)

Certificates: TypeAlias = tuple[x509.Certificate, ...]

RENEW_RATIO: Final = 2 / 3
"""How much of its life a certificate is used before the next is made."""


class UnfitError(Exception):
    """A file holds something else than it should. The text never quotes it."""


class OwnCa:
    """Our own authority. `issuer` is who signs now; `refresh` brings it up to date."""

    def __init__(self, state: Path, hosts: Hosts, now_s: float, life_s: float) -> None:
        """Raises OSError when what `state` holds can neither be used nor replaced."""
        self._state = state
        self._life_s = life_s
        for name in (KEY_FILE, CERT_FILE):
            sweep(state / name)
        self._key = key = self._kept_key() or self._make_key()
        kept = self._kept_certificates(key, now_s)
        self.issuer = _issuer(key, kept) if kept else self._certify(hosts.bases, (), now_s)
        self._fitted: Hosts | None = None
        self.refresh(hosts, now_s)

    def refresh(self, hosts: Hosts, now_s: float) -> None:
        """Renew what is past its time, for just `hosts`; widen what does not permit them all. Raises OSError."""
        if not self.issuer.in_force(now_s) or now_s >= self.renew_at_s:
            self.issuer = self._certify(hosts.bases, self._certificates, now_s)
            self._fitted = hosts
        elif hosts is not self._fitted:
            self._fit(hosts, now_s)

    def _fit(self, hosts: Hosts, now_s: float) -> None:
        """Permit all of `hosts`. What is permitted beyond them stays so until the renewal."""
        bases = hosts.bases
        if not all(map(self.issuer.permits, bases)):
            permitted = self.issuer.constraints[0].permitted or frozenset()
            self.issuer = self._certify(fewest(bases | permitted - {NOTHING}), self._certificates, now_s)
        self._fitted = hosts

    @property
    def _certificates(self) -> Certificates:
        return (self.issuer.certificate, *self.issuer.older)

    @property
    def stamps(self) -> dict[str, str]:
        return stamps([self._state / KEY_FILE, self._state / CERT_FILE])

    @property
    def renew_at_s(self) -> float:
        begins_s = self.issuer.certificate.not_valid_before_utc.timestamp()
        return begins_s + (self.issuer.ends_s - begins_s) * RENEW_RATIO

    def _certify(self, bases: frozenset[str], before: Certificates, now_s: float) -> Issuer:
        """The next certificate, on the disk before anything is signed under it."""
        older = (certificate for certificate in before if in_force(certificate, now_s))
        issuer = _issuer(self._key, (sign_own(self._key, bases, now_s, self._life_s), *older))
        replace(self._state / CERT_FILE, pem((issuer.certificate, *issuer.older)), PUBLIC)
        log.info(
            "the authority has a new certificate",
            extra={
                "serial": f"{issuer.certificate.serial_number:x}",
                "not_after": issuer.certificate.not_valid_after_utc.isoformat(),
                "permitted": len(bases),
            },
        )
        return issuer

    def _make_key(self) -> ec.EllipticCurvePrivateKey:
        key = ec.generate_private_key(ec.SECP256R1())
        plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        replace(self._state / KEY_FILE, plain, PRIVATE)
        return key

    def _kept_key(self) -> ec.EllipticCurvePrivateKey | None:
        """None if there is none, or one of no use, which a line in the log then says."""
        try:
            return _read_key(self._state / KEY_FILE)
        except FileNotFoundError:
            return None
        except UnfitError as unfit:
            reason = str(unfit)
        except OSError as error:
            reason = _why(error)
        log.warning(
            "the key of the authority is of no use: a new one is made, and running applications have to read the new"
            " certificate",
            extra={"file": KEY_FILE, "reason": reason},
        )
        return None

    def _kept_certificates(self, key: ec.EllipticCurvePrivateKey, now_s: float) -> Certificates:
        """Those of `key` that are in force, the newest first; none if the newest is of no use."""
        try:
            return _read_certificates(self._state / CERT_FILE, key, now_s)
        except FileNotFoundError:
            return ()
        except UnfitError as unfit:
            reason = str(unfit)
        except OSError as error:
            reason = _why(error)
        log.warning(
            "the certificate of the authority is of no use: a new one is made",
            extra={"file": CERT_FILE, "reason": reason},
        )
        return ()


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Raises UnfitError, OSError."""
    if path.stat().st_mode & 0o077:
        # A volume's group is given access to all its files where a pod has an fsGroup: take it back.
        log.warning("others could read the key of the authority: now only its owner may", extra={"file": path.name})
        path.chmod(PRIVATE)
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except OSError:
        raise
    except Exception:  # A parser has many kinds of them, and any text of theirs might quote what it read.
        raise UnfitError("it is damaged: no unencrypted private key in PEM") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise UnfitError("it is foreign: not on the curve P-256")
    return key


def _read_certificates(path: Path, key: ec.EllipticCurvePrivateKey, now_s: float) -> Certificates:
    """Raises UnfitError, OSError."""
    data = path.read_bytes()
    try:
        found = x509.load_pem_x509_certificates(data)
        constraint = constraint_of(found[0])
    except ValueError:
        raise UnfitError("it is damaged") from None
    if not certifies(found[0], key):
        raise UnfitError("it is foreign: not the key's")
    if constraint.permitted is None:
        raise UnfitError("it is foreign: without name constraints")
    if not in_force(found[0], now_s):
        raise UnfitError("it has expired, or is not valid yet")
    return tuple(each for each in found if certifies(each, key) and in_force(each, now_s))


def _issuer(key: ec.EllipticCurvePrivateKey, certificates: Certificates) -> Issuer:
    first, *older = certificates
    return Issuer(key, first, (), (first,), (constraint_of(first),), tuple(older))


def _why(error: OSError) -> str:
    return f"it cannot be read ({os.strerror(error.errno or 0).lower()})"
