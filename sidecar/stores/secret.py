"""The secret that keys are made with: of no use to anybody who reads a store without the state directory."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

SECRET_BYTES: Final = 32
FILE: Final = "cache.key"


def keep_secret(state: Path, on_trouble: Callable[[str], object] = lambda _reason: None) -> bytes:
    """The secret in `state`, made at first use.

    One that is damaged is replaced: what was kept under it cannot be found any more, and goes. Where none can be
    written, this process has one of its own, and `on_trouble` is told why.
    """
    path = state / FILE
    try:
        found = _read(path)
        if found is not None:
            return found
        return _make(path)
    except OSError as error:
        log.warning(
            "the secret of the cache cannot be kept: a restart will not find what was stored",
            extra={"file": FILE, "reason": error.strerror},
        )
        on_trouble((error.strerror or "an error").lower())
        return secrets.token_bytes(SECRET_BYTES)


def fleet_secret(text: str | None) -> bytes:
    """What sidecars that share a Redis make their keys with: from `SIDECAR_CACHE_SECRET`, else the same everywhere."""
    return blake2b((text or "").encode(), digest_size=SECRET_BYTES, person=b"sidecar cache").digest()


def _read(path: Path) -> bytes | None:
    """None if there is none, or none of the right length."""
    try:
        found = path.read_bytes()
    except FileNotFoundError:
        return None
    if len(found) == SECRET_BYTES:
        return found
    log.warning(
        "the secret of the cache is damaged: it is replaced, and what was stored is dropped", extra={"file": FILE}
    )
    path.unlink()
    return None


def _make(path: Path) -> bytes:
    """Written beside and then linked, so that whoever finds one finds all of it, and two that start at once agree."""
    secret = secrets.token_bytes(SECRET_BYTES)
    fresh = path.with_name(f"{FILE}.{os.getpid()}-{secrets.token_hex(4)}")
    with os.fdopen(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(fresh, path)
    except FileExistsError:
        return _read(path) or secret
    finally:
        fresh.unlink()
    return secret
