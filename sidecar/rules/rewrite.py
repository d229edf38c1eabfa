"""A provider's URLs in its replies as the listener's own, so that a client that follows them stays with the sidecar.

What may live here: reading and changing field values. Grammars: RFC 3986 for URLs, RFC 8288 3 for `Link`. Whatever
cannot be read is left as it came.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

Owns: TypeAlias = Callable[[bytes], bool]
"""Whether an authority, in lower case and without its scheme's usual port, is the provider's own."""

_URL: Final = re.compile(
    rb"(?:(https?):)?//([A-Za-z0-9._~:\[\]-]+)(/[^?#]*)?(\?[^#]*)?(#.*)?", re.IGNORECASE | re.DOTALL
)
_PATH: Final = re.compile(rb"(/(?:[^/?#][^?#]*)?)(\?[^#]*)?(#.*)?", re.DOTALL)
_UNSAFE: Final = re.compile(rb"[\x00-\x20\x7f\\\"<>]")
"""What no URL has in it, and clients read in different ways."""
_LINK: Final = re.compile(rb'[ \t]*+(?:<([^<>]*+)>(?:[^",<>]|"(?:[^"\\]|\\.)*+")*+)?(?:,|\Z)', re.DOTALL)
_USUAL_PORTS: Final = {b"https": b":443", b"http": b":80"}


def rewrite_fields(
    fields: Sequence[tuple[bytes, bytes]], names: frozenset[bytes], base: bytes, owns: Owns
) -> list[bytes]:
    """New values for `fields`, in their order. `names` are in lower case; `base` is scheme, authority and prefix, such
    as `http://127.0.0.1:7600/stripe`."""
    return [
        value if (lower := name.lower()) not in names else rewrite_value(lower, value, base, owns)
        for name, value in fields
    ]


def rewrite_value(name: bytes, value: bytes, base: bytes, owns: Owns) -> bytes:
    return rewrite_links(value, base, owns) if name == b"link" else rewrite_url(value, base, owns)


def rewrite_url(url: bytes, base: bytes, owns: Owns) -> bytes:
    """An absolute URL of the provider's own, or an absolute path, below `base`; anything else as it is.

    A path that is relative to the request's stays right by itself."""
    if _UNSAFE.search(url) is not None:
        return url
    absolute = _URL.fullmatch(url)
    if absolute is not None:
        scheme, authority, path, query, fragment = absolute.groups()
        host = authority.lower()
        if not owns(host.removesuffix(_USUAL_PORTS[scheme.lower()]) if scheme else host):
            return url
        return base + _within(path or b"/") + (query or b"") + (fragment or b"")
    local = _PATH.fullmatch(url)
    if local is None:
        return url
    path, query, fragment = local.groups()
    prefix = base[base.index(b"/", base.index(b"//") + 2) :]
    return prefix + _within(path) + (query or b"") + (fragment or b"")


def rewrite_links(value: bytes, base: bytes, owns: Owns) -> bytes:
    """A `Link` field with each target rewritten, and its parameters as they came."""
    pieces: list[bytes] = []
    end = 0
    while end < len(value):
        link = _LINK.match(value, end)
        if link is None:
            return value
        target = link[1]
        if target is None:
            pieces.append(link[0])
        else:
            start, stop = link.span(1)
            pieces += (value[end:start], rewrite_url(target, base, owns), value[stop : link.end()])
        end = link.end()
    return b"".join(pieces)


def _within(path: bytes) -> bytes:
    """A path that stays below the prefix it is put behind: dot segments are taken out (RFC 3986 5.2.4), in their
    escaped spellings too, since clients take these for the same."""
    if b"." not in path and b"%2" not in path:
        return path
    kept: list[bytes] = []
    *before, last = path[1:].split(b"/")
    for segment in before:
        dots = _dots(segment)
        if dots == 2 and kept:
            kept.pop()
        elif not dots:
            kept.append(segment)
    if _dots(last) == 2 and kept:
        kept.pop()
    kept.append(b"" if _dots(last) else last)
    return b"/" + b"/".join(kept)


def _dots(segment: bytes) -> int:
    """1 for `.`, 2 for `..`, 0 for any other segment."""
    plain = segment.lower().replace(b"%2e", b".")
    return len(plain) if plain in (b".", b"..") else 0
