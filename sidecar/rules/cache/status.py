"""`Cache-Status`, as this cache says it (RFC 9211)."""

from __future__ import annotations

import re
from functools import lru_cache
from math import floor
from typing import Final

CACHE_NAME: Final = "sidecar"
_TOKEN: Final = re.compile(r"[A-Za-z*][A-Za-z0-9!#$%&'*+\-.^_`|~:/]*")
_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]")


def hit(ttl_s: float, detail: str = "") -> bytes:
    """Answered from the cache; `ttl_s` is what is left of the reply's lifetime, negative once it is stale."""
    return f"{CACHE_NAME}; hit; ttl={floor(ttl_s)}{_detail(detail)}".encode()


def forwarded(why: str, status: int | None, stored: bool, collapsed: bool, detail: str = "") -> bytes:
    """Answered by the provider; `why` is one of RFC 9211 2.2, `status` what the provider said if that is known."""
    if stored and status == 200 and why == "uri-miss" and not collapsed and not detail:
        return _KEPT  # What most misses say.
    return _forwarded(why, status, stored, collapsed, detail)


@lru_cache(maxsize=256)
def _forwarded(why: str, status: int | None, stored: bool, collapsed: bool, detail: str) -> bytes:
    value = f"{CACHE_NAME}; fwd={why}"
    if status is not None:
        value += f"; fwd-status={status}"
    if stored:
        value += "; stored"
    if collapsed:
        value += "; collapsed"
    return (value + _detail(detail)).encode()


def _detail(detail: str) -> str:
    if not detail:
        return ""
    if _TOKEN.fullmatch(detail):
        return f"; detail={detail}"
    text = _UNPRINTABLE.sub("?", detail).replace("\\", "\\\\").replace('"', '\\"')
    return f'; detail="{text}"'


_KEPT: Final = _forwarded("uri-miss", 200, True, False, "")
