"""What an unsafe request makes doubtful (RFC 9111 4.4)."""

from __future__ import annotations

from typing import Final

from sidecar.http1.message import Headers
from sidecar.rules.cache.reference import same_origin_target

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""RFC 9110 9.2.1. A method that is not known may change anything."""


def invalidated(method: str, status: int, origin: str, target: bytes, headers: Headers) -> tuple[bytes, ...]:
    """The targets, in origin form, of which nothing kept may be used unasked any more.

    None if the method is safe or the provider refused: then nothing has changed. References to other origins are not
    believed.
    """
    if method in SAFE or not 200 <= status < 400:
        return ()
    targets = [target]
    for name in (b"location", b"content-location"):
        reference = headers.get(name)
        found = None if reference is None else same_origin_target(origin, target, reference)
        if found is not None and found not in targets:
            targets.append(found)
    return tuple(targets)
