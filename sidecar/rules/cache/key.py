"""Where a reply is kept, and which requests it may answer (RFC 9111 2, 4.1).

Targets and field values are made alike only where that cannot change what they mean. Nothing that a request carried
can be read from a key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Final, final

from sidecar.http1.message import Headers
from sidecar.rules.cache.directives import split_list
from sidecar.rules.cache.entry import URI_BYTES, Entry, Key
from sidecar.rules.credential import may_be_credential

_ESCAPE: Final = re.compile(rb"%[0-9A-Fa-f]{2}")
_PERCENT: Final = 0x25
"""As a number: for bytes within bytes the interpreter raises and clears an exception first."""
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_IN_NO_ORDER: Final = frozenset({b"accept", b"accept-charset", b"accept-encoding", b"accept-language"})
"""Lists whose order says nothing: preference is in their weights (RFC 9110 12.4.2, 12.5)."""
_IN_ANY_CASE: Final = frozenset({b"accept-charset", b"accept-encoding", b"accept-language"})
_ABSENT: Final = b""
"""In place of the digest of a field that a request has not; every digest has 16 bytes."""


def normal_target(target: bytes) -> bytes:
    """The one spelling of all that are equivalent for any scheme (RFC 3986 6.2.2): escapes in capitals, none for
    unreserved characters, and `/` for no path. The query's order stays: it may mean something."""
    if not target.startswith(b"/"):
        target = b"/" + target
    return _ESCAPE.sub(_normal_escape, target) if _PERCENT in target else target


def vary_names(headers: Headers) -> tuple[bytes, ...] | None:
    """The request fields that a reply depends on, in lower case and sorted; None if nobody can tell (`*`)."""
    value = headers.get(b"vary")
    return () if value is None else _vary_names(value)


@lru_cache(maxsize=256)
def _vary_names(value: bytes) -> tuple[bytes, ...] | None:
    names = {name.strip().lower() for name in value.split(b",")}
    names.discard(b"")
    return None if b"*" in names else tuple(sorted(names))


@final
class Keys:
    """Makes keys for one pipeline. `secret` (up to 64 bytes) is the installation's, `vary_on` the policy's fields, in
    lower case."""

    __slots__ = ("_seed", "_uri_seed", "_vary_on")

    def __init__(self, secret: bytes, provider: str, origin: str, vary_on: tuple[bytes, ...] = ()) -> None:
        self._seed = blake2b(key=secret, digest_size=URI_BYTES)
        self._uri_seed = self._seed.copy()
        self._uri_seed.update(f"{provider}\n{origin}\n".encode())
        self._vary_on = frozenset(vary_on)

    def key(self, target: bytes, headers: Headers) -> Key:
        """Under what the reply to a GET is kept: its `uri`, and who asks, if the request says so in any field."""
        partition: list[bytes] | None = None
        vary_on = self._vary_on
        for name in headers.index:
            if may_be_credential(name) or name in vary_on:
                if partition is None:
                    partition = [name]
                else:
                    partition.append(name)
        uri = self.uri(target)
        return uri if partition is None else uri + self._partition(partition, headers)

    def uri(self, target: bytes) -> bytes:
        """The first 16 bytes of every key of a target, in origin form."""
        seed = self._uri_seed.copy()
        seed.update(normal_target(target))
        return seed.digest()

    def vary(self, names: Iterable[bytes], headers: Headers) -> tuple[tuple[bytes, bytes], ...]:
        """What a request says in the fields that a reply varies by (`vary_names`), as an entry keeps it."""
        return tuple([(name, self._selecting(name, headers)) for name in names])

    def matches(self, entry: Entry, headers: Headers) -> bool:
        """Whether a request says the same in every field that the entry varies by (4.1)."""
        for name, digest in entry.vary:  # noqa: SIM110 (a loop costs half of `all` here)
            if self._selecting(name, headers) != digest:
                return False
        return True

    def _selecting(self, name: bytes, headers: Headers) -> bytes:
        value = headers.index.get(name)
        if value is None:
            return _ABSENT
        seed = self._seed.copy()
        seed.update(b"%b:%b" % (name, _normal_value(name, value)))
        return seed.digest()

    def _partition(self, names: list[bytes], headers: Headers) -> bytes:
        names.sort()
        seed = self._seed.copy()
        for name in names:
            value = headers.index[name]
            # Lengths keep one field's end from passing for the next one's beginning.
            seed.update(b"%b:%d:%b\n" % (name, len(value), value))
        return seed.digest()


def _normal_escape(match: re.Match[bytes]) -> bytes:
    byte = int(match[0][1:], 16)
    return bytes((byte,)) if byte in _UNRESERVED else match[0].upper()


def _normal_value(name: bytes, value: bytes) -> bytes:
    """Without space around its commas, and a list of preferences in one order."""
    members = split_list(value)
    if name not in _IN_NO_ORDER:
        return b",".join(members)
    if name in _IN_ANY_CASE:
        members = [member.lower() for member in members]
    return b",".join(sorted(b";".join(part.strip() for part in member.split(b";")) for member in members if member))
