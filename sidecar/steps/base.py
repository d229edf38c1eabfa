"""What a step is, and the ports that steps act through. Nothing here knows a particular step."""

from __future__ import annotations

from typing import Protocol

from sidecar.call import Handler
from sidecar.rules.cache.entry import Entry, Key, Variants


class Step(Protocol):
    """One resilience step. `bind` runs once per compile, its product once per call (or per attempt, below retry).

    A step that is switched off returns `inner` itself, and so costs nothing.
    """

    name: str

    def bind(self, inner: Handler) -> Handler: ...


class CacheStore:
    """Where replies are kept: memory at hand, and perhaps slower stores behind it. Nothing here raises.

    A class and no protocol, since compiled code calls a method of a class without asking for it by name.
    """

    def peek(self, key: Key) -> Variants:
        """What memory has; empty if nothing."""
        raise NotImplementedError

    def is_behind(self, key: Key) -> bool:
        """A slower store may have what memory has not. True costs a wait, False must be sure."""
        raise NotImplementedError

    async def fetch(self, key: Key) -> Variants:
        """Ask the slower stores, within a few milliseconds each, and keep what they have at hand."""
        raise NotImplementedError

    def put(self, key: Key, entry: Entry, replaced: Entry | None = None) -> None:
        """Keep an entry, in memory now and behind it soon: in place of `replaced`, and of any with the same `vary`."""
        raise NotImplementedError

    def drop(self, key: Key, entry: Entry) -> None:
        """Forget one entry."""
        raise NotImplementedError

    def invalidate(self, uri: bytes) -> int:
        """Forget every entry whose key begins with these 16 bytes; how many memory had."""
        raise NotImplementedError
