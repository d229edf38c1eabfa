"""What a request asks of the cache (RFC 9111 5.2.1, 5.4; RFC 5861 4)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import Final, final

from sidecar.http1.message import Headers
from sidecar.rules.cache.directives import parse_directives, split_list

_MEMOISED_BYTES: Final = 256


@final
@dataclass(slots=True)
class Asked:
    """A request's directives. Shared by requests that say the same, so never changed."""

    no_store: bool = False
    no_cache: bool = False
    only_if_cached: bool = False
    max_age_s: float | None = None
    min_fresh_s: float | None = None
    max_stale_s: float | None = None
    """`inf` when it was given without a number."""
    error_s: float | None = None
    """`stale-if-error`: how far past its lifetime a reply may be that stands in for a failure."""


ANYTHING: Final = Asked()
"""What a request that says nothing asks for. The very object, so that `is` tells."""


def ask(headers: Headers) -> Asked:
    """What a request's fields ask for; `ANYTHING` if they are silent."""
    index = headers.index
    value = index.get(b"cache-control")
    if value is not None:
        return _read_memoised(value) if len(value) <= _MEMOISED_BYTES else _read(value)
    # Of use only to who does not know Cache-Control (5.4).
    pragma = index.get(b"pragma")
    return ANYTHING if pragma is None else _read_pragma(pragma)


def _read(value: bytes) -> Asked:
    directives = parse_directives(value)
    asked = Asked(
        no_store=directives.has("no-store"),
        no_cache=directives.has("no-cache"),
        only_if_cached=directives.has("only-if-cached"),
        max_age_s=directives.seconds("max-age"),
        min_fresh_s=directives.seconds("min-fresh"),
        max_stale_s=inf if directives.is_bare("max-stale") else directives.seconds("max-stale"),
        error_s=directives.seconds("stale-if-error"),
    )
    return ANYTHING if asked == ANYTHING else asked


_read_memoised = lru_cache(maxsize=256)(_read)


def _read_pragma(value: bytes) -> Asked:
    return _NO_CACHE if b"no-cache" in split_list(value.lower()) else ANYTHING


_NO_CACHE: Final = Asked(no_cache=True)
