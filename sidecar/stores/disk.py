"""The tier that a restart leaves: a file in the state directory.

Which keys it has is known in memory, so a call asks it only for what is there. Whatever is wrong with it is said in the
log; it is set aside and the tier goes on empty, or, where that is of no use, the daemon goes on without it.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final

from sidecar.clock import Clock
from sidecar.rules.cache.entry import Key, Variants
from sidecar.stores.codec import Codec
from sidecar.stores.sqlite import FileGoneError, SqliteCache
from sidecar.stores.sqlite_file import Changes
from sidecar.stores.sqlite_trouble import FileInUseError, FileUnusableError
from sidecar.stores.tier import Batch, Counts, Name, Wanted

log = logging.getLogger(__name__)

PATIENCE_S: Final = 0.025
CLOSE_S: Final = 2.0
KEYS_AT_ONCE: Final = 5_000
_SHORT: Final = (1 << 62) - 1
TOUCHED_MOST: Final = 1_000
AGAIN_S: Final = 60.0
"""How long a file that could not be had, or written, is left alone."""
SET_ASIDE: Final = "the file of kept replies cannot be used: it was set aside, and the cache goes on with an empty one"
NO_FILE: Final = "the file of kept replies cannot be had: the cache goes on in memory alone"
FULL: Final = "the file of kept replies cannot be written: it is read for as long as that is of use"


class DiskTier:
    """`stores/tier.py: Tier` over a `SqliteCache`."""

    name: str = "disk"
    patience_s: float = PATIENCE_S

    def __init__(self, path: Path, bound_bytes: int, codec: Codec, clock: Clock) -> None:
        self.counts = Counts()
        self.trouble = ""
        """Why it is not written, or not there at all, just now; empty while it is well."""
        self._path = path
        self._bound_bytes = bound_bytes
        self._clock = clock
        self._cache = SqliteCache(path, bound_bytes, codec, clock.wall)
        self._is_open = False
        self._is_closed = False
        self._keys: set[int] = set()
        """Marks of the keys that the file has."""
        self._keys_known = False
        self._listing: asyncio.Task[None] | None = None
        self._touched: list[Key] = []
        self._not_before_s = 0.0
        self._missed = False
        """Something was to be forgotten while there was no file: the next one is not to be believed."""

    async def open(self) -> None:
        try:
            reason = await self._cache.open()
        except FileInUseError:
            self._go_without("in use by another process")
        except (OSError, sqlite3.Error, FileUnusableError) as error:
            self._go_without(getattr(error, "strerror", None) or str(error))
        else:
            self._is_open = True
            self.trouble = ""
            if reason:
                log.warning(SET_ASIDE, extra={"file": self._path.name, "reason": reason})
            self._list_keys()

    async def close(self) -> None:
        if self._listing is not None:
            self._listing.cancel()
        if self._is_closed:
            return
        self._is_closed, self._is_open = True, False
        with suppress(TimeoutError):
            await self._cache.close(timeout=CLOSE_S)

    def may_have(self, key: Key) -> bool:
        return self._is_open and (not self._keys_known or short(key) in self._keys)

    async def get(self, key: Key) -> Variants:
        try:
            record = await self._cache.get(key)
        except FileGoneError as gone:
            self._lost(str(gone))
        except (sqlite3.Error, TimeoutError):
            self.counts.errors += 1
        else:
            if record is not None:
                self.counts.hits += 1
                self._touch(key)
                return tuple(record.variants)
            self.counts.misses += 1
            self._keys.discard(short(key))
        return ()

    async def write(self, batch: Batch) -> bool:
        if self._is_closed or self._clock.now() < self._not_before_s:
            return self._skip(batch)
        if not self._is_open:
            await self.open()
            if not self._is_open:
                return self._skip(batch)
        touched, self._touched = self._touched, []
        batch.clear = batch.clear or self._missed
        try:
            changes = await self._cache.apply(batch, touched)
        except FileGoneError as gone:
            self._lost(str(gone))
            return self._skip(batch)
        except (sqlite3.Error, ValueError, TypeError) as error:
            self.counts.errors += 1
            self._not_before_s = self._clock.now() + AGAIN_S
            self._say(FULL, str(error))
            return self._skip(batch)
        self._missed = False
        self.trouble = ""
        self._note(changes)
        return True

    async def purge(self, wanted: Wanted, *, soft: bool) -> set[Name]:
        names: set[Name] = set()
        after = b""
        while self._is_open:
            try:
                done = await self._cache.purge(wanted, soft, after)
            except FileGoneError as gone:
                self._lost(str(gone))
                break
            except sqlite3.Error:
                self.counts.errors += 1
                break
            names |= done.names
            self._note(done.changes)
            after = done.last
            if not after:
                break
        return names

    def size(self) -> tuple[int | None, int | None, int | None]:
        return len(self._keys) if self._keys_known else None, self._cache.size_bytes, self._bound_bytes

    # How it is done.

    def _go_without(self, reason: str) -> None:
        self._is_open = False
        self._say(NO_FILE, reason)
        self._not_before_s = self._clock.now() + AGAIN_S

    def _say(self, what: str, reason: str) -> None:
        """Once, until it is well again."""
        if not self.trouble:
            log.warning(what, extra={"file": self._path.name, "reason": reason})
        self.trouble = reason

    def _lost(self, reason: str) -> None:
        """The file failed; the thread has put an empty one in its place, or none."""
        self.counts.errors += 1
        self._keys.clear()
        self._is_open = self._keys_known = False
        if reason != "closed":
            log.warning(SET_ASIDE, extra={"file": self._path.name, "reason": reason})

    def _skip(self, batch: Batch) -> bool:
        """Give a batch up. What was to be forgotten is remembered: the file must not bring it back."""
        self.counts.dropped += len(batch.records)
        self._missed = self._missed or batch.clear or bool(batch.uris) or None in batch.records.values()
        if self._missed:
            self._keys.clear()
        return True

    def _touch(self, key: Key) -> None:
        if len(self._touched) < TOUCHED_MOST:
            self._touched.append(key)

    def _note(self, changes: Changes) -> None:
        self.counts.writes += len(changes.added)
        self.counts.evictions += changes.evicted
        self._keys.update(map(short, changes.added))
        self._keys.difference_update(map(short, changes.removed))

    def _list_keys(self) -> None:
        """Learn what the file has, in pieces between which reads are served."""
        if not self._keys_known and self._listing is None:
            self._listing = asyncio.create_task(self._learn(), name="sidecar-cache-keys")

    async def _learn(self) -> None:
        after = b""
        try:
            while keys := await self._cache.keys(after, KEYS_AT_ONCE):
                self._keys.update(map(short, keys))
                after = keys[-1]
            self._keys_known = True
        except FileGoneError as gone:
            self._lost(str(gone))
        finally:
            self._listing = None


def short(key: Key) -> int:
    """A key in 62 bits: half of the memory that the key itself would take. The same as long as the process lives."""
    return hash(key) & _SHORT
