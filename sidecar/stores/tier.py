"""What the shelf expects of a slower store behind it, and the words in which they talk."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from sidecar.rules.cache.entry import Entry, Key, Variants
from sidecar.stores.codec import Record

Name: TypeAlias = tuple[Key, tuple[tuple[bytes, bytes], ...]]
"""What tells one entry from all others: its key and its `vary`."""


@dataclass(slots=True)
class Counts:
    """What became of a tier's work since the start."""

    hits: int = 0
    misses: int = 0
    errors: int = 0
    """Operations that failed, were too slow, or found what was not theirs."""
    writes: int = 0
    dropped: int = 0
    """Writes given up: too many were waiting."""
    evictions: int = 0


@dataclass(slots=True)
class Batch:
    """Changes to be made to a tier: the clearing first, then the invalidations, then the records."""

    records: dict[Key, Record | None] = field(default_factory=dict)
    """None to forget what the key has."""
    uris: dict[bytes, float] = field(default_factory=dict)
    """What keys begin with that were invalidated, and when, Unix time."""
    clear: bool = False

    def __bool__(self) -> bool:
        return bool(self.records or self.uris or self.clear)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries a purge is about: those that fit everything that is given."""

    provider: str | None = None
    route: str | None = None
    uri: bytes | None = None
    """What the key begins with."""
    url: str | None = None
    """As shown; one that ends in `*` stands for all that begin like it."""
    tag: str | None = None
    key: Key | None = None

    def fits(self, key: Key, entry: Entry) -> bool:
        return (
            (self.key is None or key == self.key)
            and (self.uri is None or key.startswith(self.uri))
            and (self.provider is None or entry.provider == self.provider)
            and (self.route is None or entry.route == self.route)
            and (self.tag is None or self.tag in entry.tags)
            and (self.url is None or self._fits_url(entry.shown))
        )

    def _fits_url(self, shown: str) -> bool:
        url = self.url or ""
        return shown.startswith(url[:-1]) if url.endswith("*") else shown == url


class Tier(Protocol):
    """A slower store. Nothing here raises: what fails is counted, said in the log, and taken for nothing."""

    name: str
    patience_s: float
    """How long a call waits for it, at most; what comes later is still put on the shelf."""
    counts: Counts

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def may_have(self, key: Key) -> bool:
        """False must be sure, or mean that there is no use in asking now."""
        ...

    async def get(self, key: Key) -> Variants: ...

    async def write(self, batch: Batch) -> bool:
        """False: not now, offer it again later."""
        ...

    async def purge(self, wanted: Wanted, *, soft: bool) -> AbstractSet[Name]:
        """Forget, or with `soft` mark as expired, every entry that is wanted; which they were."""
        ...

    def size(self) -> tuple[int | None, int | None, int | None]:
        """Keys, bytes, and the bound of these; None for what it does not know."""
        ...


def split(record: Record, wanted: Wanted, *, soft: bool) -> tuple[Record | None, set[Name]]:
    """What a purge leaves of a record, None if nothing, and what it took or marked."""
    taken: set[Name] = set()
    left = []
    for entry in record.variants:
        if not wanted.fits(record.key, entry):
            left.append(entry)
            continue
        taken.add((record.key, entry.vary))
        if soft:
            entry.expired = True
            left.append(entry)
    return record._replace(variants=tuple(left)) if left else None, taken
