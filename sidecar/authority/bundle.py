"""What applications trust: `ca.crt`, the authority alone, and `bundle.crt`, the system's roots and the authority.

Only certificates get here, whatever else stood in the file of the roots. Of our own authority only the newest
certificate does: OpenSSL takes the first issuer that fits by name, key and time, and, if that one does not permit the
leaf's name, does not look at the next.
"""

from __future__ import annotations

import logging
import os
import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sidecar.errors import SettingsError
from sidecar.files import PUBLIC, replace_if_other, sweep

log = logging.getLogger(__name__)

CA_FILE: Final = "ca.crt"
BUNDLE_FILE: Final = "bundle.crt"
SETTING: Final = "--ca-dir / SIDECAR_CA_DIR"
_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----[\sA-Za-z0-9+/=]+-----END CERTIFICATE-----")
USUAL_ROOTS: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Red Hat
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",  # SUSE
)


class Bundle:
    """The directory that applications mount."""

    def __init__(self, directory: Path) -> None:
        """Raises SettingsError if it cannot be made or written."""
        self._directory = directory
        self._said_rootless = False
        try:
            directory.mkdir(mode=0o755, parents=True, exist_ok=True)
            for name in (CA_FILE, BUNDLE_FILE):
                sweep(directory / name)
        except OSError as error:
            raise unwritable(directory, error) from None

    def publish(self, own: bytes) -> None:
        """See that both files are there and as they should be; `own` is PEM. Raises OSError."""
        replace_if_other(self._directory / CA_FILE, own, PUBLIC)
        replace_if_other(self._directory / BUNDLE_FILE, self._roots() + own, PUBLIC)

    def _roots(self) -> bytes:
        for path in _root_files():
            if path.parent.resolve() == self._directory.resolve():
                continue  # Meant for applications: what is ours would be taken for the system's.
            try:
                found = _CERTIFICATE.findall(path.read_bytes())
            except OSError:
                continue
            if found:
                return b"".join(block + b"\n" for block in found)
        if not self._said_rootless:
            self._said_rootless = True
            log.warning(
                "the system has no roots (install ca-certificates, or name a file in SSL_CERT_FILE): applications that"
                " trust the bundle can reach only what is intercepted",
                extra={"file": BUNDLE_FILE},
            )
        return b""


def unwritable(directory: Path, error: OSError) -> SettingsError:
    reason = os.strerror(error.errno or 0).lower()
    return SettingsError(
        f"{SETTING}: expected a directory that can be written, got {str(directory)!r} ({reason});"
        " mount a volume there that this user may write and the application may read, or say `off` to tunnel HTTPS"
    )


def _root_files() -> Iterator[Path]:
    """Where the system's roots may be, as OpenSSL looks for them, SSL_CERT_FILE first; then the usual places."""
    paths = ssl.get_default_verify_paths()
    yield from (Path(path) for path in (paths.cafile, paths.openssl_cafile, *USUAL_ROOTS) if path)
