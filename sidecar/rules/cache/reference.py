"""Where a reference in a reply leads, if it stays with the same origin (RFC 3986 5, RFC 9110 4.3)."""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

_PORTS: Final = {"http": 80, "https": 443}


def same_origin_target(origin: str, target: bytes, reference: bytes) -> bytes | None:
    """What a reference in the reply to `target` points to, in origin form and without its fragment.

    None if that is another origin's, or if it cannot be read.
    """
    try:
        base = urlsplit(origin)
        found = urlsplit(urljoin(origin + target.decode("latin-1"), reference.strip().decode("latin-1")))
        if _origin(found) != _origin(base):
            return None
    except ValueError:
        return None
    path = found.path or "/"
    return (f"{path}?{found.query}" if found.query else path).encode("latin-1")


def _origin(url: SplitResult) -> tuple[str, str | None, int | None]:
    return url.scheme, url.hostname, url.port or _PORTS.get(url.scheme)
