"""Telling credentials apart without keeping them, and knowing the fields that carry them."""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from sidecar.http1.message import Headers

ANONYMOUS: Final = "none"
_FIELDS: Final = (
    b"authorization",
    b"x-api-key",
    b"api-key",
    b"apikey",
    b"x-goog-api-key",
    b"x-auth-token",
    b"x-access-token",
    b"private-token",
    b"ocp-apim-subscription-key",
)
"""In the order in which they are believed to say who calls."""
_LOOKS_SECRET: Final = re.compile(rb"auth|token|secret|password|credential|session|signature|cookie|api-?key|-key$")
_NOT_SECRET: Final = frozenset({b"idempotency-key", b"x-idempotency-key", b"sec-websocket-key"})


def credential_id(headers: Headers, key: bytes) -> str:
    """A short digest of the call's credential, of no use without `key` (at most 64 bytes) and not to be reversed."""
    for name in _FIELDS:
        value = headers.get(name)
        if value is not None:
            return blake2b(value, digest_size=6, key=key, person=name[:16]).hexdigest()
    return ANONYMOUS


@lru_cache(maxsize=1024)
def may_be_credential(name: bytes) -> bool:
    """Whether a request field of this lower-case name may say who calls. Doubt counts as yes: a reply is then shared
    with fewer, never with more."""
    return _LOOKS_SECRET.search(name) is not None and name not in _NOT_SECRET
