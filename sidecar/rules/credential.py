"""Telling credentials apart without keeping them."""

from __future__ import annotations

from hashlib import blake2b

from sidecar.http1.message import Headers

ANONYMOUS = "none"
_FIELDS = (b"authorization", b"x-api-key")


def credential_id(headers: Headers, key: bytes) -> str:
    """A short digest of the call's credential, of no use without `key` (at most 64 bytes) and not to be reversed."""
    for name in _FIELDS:
        value = headers.get(name)
        if value is not None:
            return blake2b(value, digest_size=6, key=key, person=name[:16]).hexdigest()
    return ANONYMOUS
