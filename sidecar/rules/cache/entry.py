"""A stored reply."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias, final

from sidecar.http1.message import Headers
from sidecar.rules.cache.settings import CacheSettings

Fields: TypeAlias = list[tuple[bytes, bytes]]
OVERHEAD_BYTES = 1536
"""What an entry weighs beyond its fields and body: objects, keys, indexes. Measured, and rounded up."""
FIELD_BYTES = 176
"""What a field weighs beyond its characters; so measured, too."""


Key: TypeAlias = bytes
"""Where replies are kept: 16 bytes of provider, origin and normalised target (`Keys.uri`, what an unsafe method
invalidates), then 16 bytes of credential and `vary_on` fields if the request has any. Digests that only this
installation can make: no part of a request can be read from them."""
URI_BYTES = 16


@final
@dataclass(slots=True)
class Terms:
    """For how long an entry is good under one policy, in seconds, counted from when it was received."""

    settings: CacheSettings
    """What this was worked out for."""
    initial_age_s: float
    """The corrected initial age (RFC 9111 4.2.3)."""
    lifetime_s: float
    """The freshness lifetime (4.2.1, 4.2.2), compared with the age, `initial_age_s` included."""
    heuristic: bool
    """The provider gave no lifetime, so one was guessed (4.2.2)."""
    must_validate: bool
    """Never reused without asking the provider: `no-cache`, or kept only to stand in."""
    while_s: float
    """How long past its lifetime it may be served while it is being validated (`stale-while-revalidate`)."""
    error_s: float
    """How long past its lifetime it may stand in for a failure (`stale-if-error`, or the policy's ceiling)."""
    strict: bool
    """`must-revalidate` and its like: not even the request's `max-stale` makes it usable once stale (4.2.4)."""


@final
@dataclass(slots=True)
class Entry:
    """One reply of a provider's, complete. Shared by all who read it; only `terms`, `headers` and `expired` change."""

    status: int
    phrase: bytes
    fields: Fields = field(repr=False)
    """As stored (3.1): end-to-end, without `Age`, in the order in which they came."""
    body: bytes = field(repr=False)
    requested_s: float
    """When it began to age at the latest, Unix time: when the request that it answered was sent, less the `Age` that
    the reply came with (4.2.3)."""
    received_s: float
    """When its head came, Unix time; after a validation, when the 304 came."""
    vary: tuple[tuple[bytes, bytes], ...]
    """The request's fields that it varies by: lower-case name, digest of the normalised value (4.1)."""
    provider: str
    route: str
    shown: str
    """Its URL for people: no query values, no user information."""
    tags: tuple[str, ...] = ()
    expired: bool = False
    """Purged softly: stale as of now, whatever it says itself."""
    terms: Terms | None = field(default=None, repr=False, compare=False)
    """Worked out when first asked for, under the settings then in force. Not stored."""
    headers: Headers | None = field(default=None, repr=False, compare=False)
    """The fields as a reply's, made when first served and then shared by all such replies. Not stored."""

    @property
    def size_bytes(self) -> int:
        """What it weighs in memory, about."""
        size = OVERHEAD_BYTES + len(self.body) + len(self.shown) + FIELD_BYTES * (len(self.vary) + len(self.tags))
        for name, value in self.fields:
            size += len(name) + len(value) + FIELD_BYTES
        return size


Variants: TypeAlias = tuple[Entry, ...]
"""Every reply kept under one key, the most recently received first; they differ in `vary`."""
