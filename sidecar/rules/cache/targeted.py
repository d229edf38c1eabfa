"""`Cache-Control` for some caches only, such as `CDN-Cache-Control` (RFC 9213).

A field that is malformed anywhere, or empty, counts as absent. In one that is not, a directive with a value of another
type than its own is read strictly, as in `directives`: what restricts holds, what allows does not, a lifetime is over.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from sidecar.http1.message import Headers
from sidecar.rules.cache.directives import Directives, parse_directives
from sidecar.rules.cache.settings import CacheSettings
from sidecar.rules.structured import Value, parse_dictionary

_IN_SECONDS: Final = frozenset({"max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"})
_ALLOWING: Final = frozenset({"public", "must-understand"})
_UNREADABLE: Final = b"?"
_MEMOISED_BYTES: Final = 256


def directives_for(settings: CacheSettings, headers: Headers) -> Directives:
    """What a reply says to this cache: the first usable field of its `targets`, else `Cache-Control` (2.2)."""
    for name in settings.targets:
        value = headers.get(name)
        directives = None if value is None else parse_targeted(value)
        if directives is not None:
            return directives
    return parse_directives(headers.get(b"cache-control"))


def expires_for(directives: Directives, headers: Headers) -> bytes | None:
    """The `Expires` that counts beside these `directives`: none beside targeted ones (2.2)."""
    return None if directives.is_targeted else headers.get(b"expires")


def parse_targeted(value: bytes) -> Directives | None:
    """From the field's value, lines joined by commas; None if it is to be ignored (2.1)."""
    return _parse_memoised(value) if len(value) <= _MEMOISED_BYTES else _parse(value)


def _parse(value: bytes) -> Directives | None:
    members = parse_dictionary(value)
    if not members:
        return None
    arguments: dict[str, list[bytes | None]] = {
        name: [_argument(name, said)] for name, said in members.items() if _is_said(name, said)
    }
    return Directives(arguments, broken=False, is_targeted=True)


_parse_memoised = lru_cache(maxsize=256)(_parse)


def _is_said(name: str, value: Value) -> bool:
    return value is True if name in _ALLOWING else value is not False


def _argument(name: str, value: Value) -> bytes | None:
    """What would stand behind `=` in `Cache-Control`."""
    if value is True:
        return None
    if isinstance(value, int):
        return b"%d" % value
    # A number in quotes, which Cache-Control may have, is a string here.
    if isinstance(value, str) and name not in _IN_SECONDS:
        return b'"%b"' % value.replace("\\", r"\\").replace('"', r"\"").encode()
    return _UNREADABLE
