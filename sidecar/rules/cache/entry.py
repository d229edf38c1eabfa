"""A stored reply.

Constructors are written out, since those that a dataclass makes stay interpreted in a compiled build.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeAlias, final

from sidecar.http1.message import CRLF, Fields, Headers, unpack
from sidecar.rules.cache import mypyc_attr
from sidecar.rules.cache.settings import CacheSettings
from sidecar.rules.cache.shown import shown_url

OVERHEAD_BYTES: Final = 1216
"""What an entry weighs beyond its fields and body: objects, keys, indexes. Measured, and rounded up."""
TAG_BYTES: Final = 176
"""What a tag, or a field that it varies by, weighs; so measured, too."""
MOST_COPIED_BYTES: Final = 4096
"""Larger bodies stay the objects that they came as: to copy them would cost more than it spares."""
SERVED_BYTES: Final = 192
"""What it weighs more once it has been served, beside its fields."""
FIELD_BYTES: Final = 304
"""What a field weighs beyond its characters once it has been served, and so unpacked."""


Key: TypeAlias = bytes
"""Where replies are kept: 16 bytes of provider, origin and normalised target (`Keys.uri`, what an unsafe method
invalidates), then 16 bytes of credential and `vary_on` fields if the request has any. Digests that only this
installation can make: no part of a request can be read from them."""
URI_BYTES: Final = 16


@final
@mypyc_attr(acyclic=True)
@dataclass(init=False, slots=True)
class Terms:
    """What an entry may be used for under one policy; times are in seconds. Shared by entries that say the same."""

    settings: CacheSettings
    """What this was worked out for."""
    status: int
    """Of the replies that it is for."""
    stated_s: float
    """The lifetime that the directives state (RFC 9111 4.2.1); negative if it is for other fields or the policy."""
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
    has_validator: bool
    """The provider can be asked whether it still holds (4.3.1)."""
    usual: bool = field(default=False, compare=False)
    """Such a reply was found worth keeping for what its status, directives and validators say, and for nothing else."""

    def __init__(  # noqa: PLR0917
        self,
        settings: CacheSettings,
        status: int,
        stated_s: float,
        heuristic: bool,
        must_validate: bool,
        while_s: float,
        error_s: float,
        strict: bool,
        has_validator: bool,
    ) -> None:
        self.settings = settings
        self.status = status
        self.stated_s = stated_s
        self.heuristic = heuristic
        self.must_validate = must_validate
        self.while_s = while_s
        self.error_s = error_s
        self.strict = strict
        self.has_validator = has_validator
        self.usual = False


@final
@mypyc_attr(acyclic=True)
@dataclass(init=False, slots=True)
class Entry:
    """One reply of a provider's, complete. Shared by all who read it; only `expired` and what is not stored change."""

    status: int
    phrase: bytes
    block: bytes = field(repr=False)
    """`target`, `packed` and `body` behind each other. Most entries are never read, and one object is cheaper to keep,
    and to let go, than three: each lies somewhere else, long gone from the processor's caches."""
    packed_at: int
    body_at: int
    apart: bytes = field(repr=False)
    """The body, if it is too large to be copied."""
    requested_s: float
    """When it began to age at the latest, Unix time: when the request that it answered was sent, less the `Age` that
    the reply came with (4.2.3)."""
    received_s: float
    """When its head came, Unix time; after a validation, when the 304 came."""
    vary: tuple[tuple[bytes, bytes], ...]
    """The request's fields that it varies by: lower-case name, digest of the normalised value (4.1)."""
    provider: str
    route: str
    origin: str
    """Such as `https://api.stripe.com`."""
    tags: tuple[str, ...] = ()
    expired: bool = False
    """Purged softly: stale as of now, whatever it says itself."""
    terms: Terms | None = field(default=None, repr=False, compare=False)
    """Worked out when first asked for, under the settings then in force. Not stored."""
    initial_age_s: float = field(default=0.0, repr=False, compare=False)
    """The corrected initial age (4.2.3), worked out with them. Not stored."""
    lifetime_s: float = field(default=0.0, repr=False, compare=False)
    """The freshness lifetime (4.2.1, 4.2.2), compared with the age, which begins with `initial_age_s`. Not stored."""
    headers: Headers | None = field(default=None, repr=False, compare=False)
    """The fields as a reply's, made when first served and then shared by all such replies. Not stored."""

    def __init__(  # noqa: PLR0917
        self,
        status: int,
        phrase: bytes,
        packed: bytes,
        body: bytes,
        requested_s: float,
        received_s: float,
        vary: tuple[tuple[bytes, bytes], ...],
        provider: str,
        route: str,
        origin: str,
        target: bytes,
        tags: tuple[str, ...] = (),
        expired: bool = False,
        terms: Terms | None = None,
        initial_age_s: float = 0.0,
        lifetime_s: float = 0.0,
        headers: Headers | None = None,
    ) -> None:
        self.status = status
        self.phrase = phrase
        self.packed_at = len(target)
        self.body_at = len(target) + len(packed)
        if len(body) <= MOST_COPIED_BYTES:
            self.block = b"".join((target, packed, body))
            self.apart = b""
        else:
            self.block = target + packed
            self.apart = body
        self.requested_s = requested_s
        self.received_s = received_s
        self.vary = vary
        self.provider = provider
        self.route = route
        self.origin = origin
        self.tags = tags
        self.expired = expired
        self.terms = terms
        self.initial_age_s = initial_age_s
        self.lifetime_s = lifetime_s
        self.headers = headers

    @property
    def target(self) -> bytes:
        """What was asked for at `origin`. Its query may hold secrets: people see `shown`, and slower stores get no
        more."""
        return self.block[: self.packed_at]

    @property
    def packed(self) -> bytes:
        """Its `fields`."""
        return self.block[self.packed_at : self.body_at]

    @property
    def body(self) -> bytes:
        return self.apart or self.block[self.body_at :]

    @property
    def body_bytes(self) -> int:
        return len(self.apart) or len(self.block) - self.body_at

    def take(self, body: bytes) -> None:
        """Give one that has none its body."""
        if len(body) <= MOST_COPIED_BYTES:
            self.block += body
        else:
            self.apart = body

    @property
    def fields(self) -> Fields:
        """As stored (3.1): end-to-end, without `Age`, in the order in which they came."""
        return unpack(self.packed)

    @property
    def shown(self) -> str:
        """Its URL for people: no query values, no user information."""
        return shown_url(self.origin, self.target)

    @property
    def size_bytes(self) -> int:
        """What it weighs in memory, about, until it is first served."""
        size = OVERHEAD_BYTES + len(self.block) + len(self.apart)
        return size + TAG_BYTES * (len(self.vary) + len(self.tags))

    @property
    def served_bytes(self) -> int:
        """What it weighs from then on: its fields are there thrice, packed and each by itself."""
        packed = self.packed
        unpacked_bytes = FIELD_BYTES * (packed.count(CRLF) + 1) + 2 * len(packed) if packed else 0
        return self.size_bytes + SERVED_BYTES + unpacked_bytes


Variants: TypeAlias = tuple[Entry, ...]
"""Every reply kept under one key, the most recently received first; they differ in `vary`."""
