"""An aiocache backend that keeps records in a SQLite file, with a thread of its own to do it in.

Encoding and decoding are done in that thread, too: a large body takes a millisecond to check, and the loop has calls to
serve. A file that fails is dealt with where it fails, so that whatever was asked next finds a new one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from sidecar.rules.cache.entry import Key
from sidecar.stores.aio import BaseCache, NullSerializer
from sidecar.stores.codec import Codec, Record, decode_head
from sidecar.stores.sqlite_file import Changes, Row, SqliteFile
from sidecar.stores.sqlite_trouble import BEYOND_USE, FileInUseError, FileUnusableError, error_code, set_aside
from sidecar.stores.tier import Batch, Name, Wanted, split
from sidecar.stores.worker import Worker

T = TypeVar("T")

READ_S: Final = 1.0
"""How long a read may take; nobody waits that long, but what it brings is still welcome."""
HEADS_AT_ONCE: Final = 200
HEAD_BYTES: Final = 64 * 1024
"""What is read of a record to see whether a purge is about it; one with a longer head is read whole."""


class FileGoneError(Exception):
    """There is no file to ask; the text is one word that says why."""


class Purged(NamedTuple):
    """One step of a purge."""

    last: Key
    """Go on after this one; empty when there are no more."""
    names: set[Name]
    changes: Changes


class SqliteCache(BaseCache):  # type: ignore[misc] # aiocache has no types
    """Values are `Record`s, which know their own time to live; keys are bytes."""

    NAME = "sqlite"

    def __init__(self, path: Path, bound_bytes: int, codec: Codec, wall: Callable[[], float]) -> None:
        super().__init__(serializer=NullSerializer(encoding=None), timeout=READ_S)
        self._path = path
        self._bound_bytes = bound_bytes
        self._codec = codec
        self._wall = wall
        self._worker = Worker("sidecar-cache")
        self._file: SqliteFile | None = None
        """The thread's alone, but for its size."""

    @property
    def size_bytes(self) -> int:
        return 0 if self._file is None else self._file.size_bytes

    async def open(self) -> str:
        """Open the file; why an older one had to be set aside, or empty.

        Raises `FileInUseError`, `FileUnusableError` or OSError.
        """
        return await self._worker.run(self._open)

    async def apply(self, batch: Batch, touched: Sequence[Key] = ()) -> Changes:
        """Make all changes of a batch, in one transaction. Raises `FileGoneError` or `sqlite3.Error`."""
        return await self._worker.run(self._do, self._apply, batch, touched)

    async def keys(self, after: Key, most: int) -> list[Key]:
        return await self._worker.run(self._do, SqliteFile.keys, after, most)

    async def purge(self, wanted: Wanted, soft: bool, after: Key) -> Purged:
        """The next step of a purge. Raises `FileGoneError` or `sqlite3.Error`."""
        return await self._worker.run(self._do, self._purge, wanted, soft, after)

    # What aiocache asks of a backend.

    async def _get(self, key: Key, encoding: object = None, _conn: object = None) -> Record | None:
        return await self._worker.run(self._do, self._read, key)

    async def _multi_get(
        self, keys: Sequence[Key], encoding: object = None, _conn: object = None
    ) -> list[Record | None]:
        return [await self._get(key) for key in keys]

    async def _set(self, key: Key, value: Record, ttl: object = None, **_: object) -> bool:
        await self.apply(Batch({key: value}))
        return True

    async def _multi_set(self, pairs: Sequence[tuple[Key, Record]], ttl: object = None, _conn: object = None) -> bool:
        await self.apply(Batch(dict(pairs)))
        return True

    async def _delete(self, key: Key, _conn: object = None) -> int:
        return len((await self.apply(Batch({key: None}))).removed)

    async def _exists(self, key: Key, _conn: object = None) -> bool:
        return await self._get(key) is not None

    async def _clear(self, namespace: object = None, _conn: object = None) -> bool:
        await self.apply(Batch(clear=True))
        return True

    async def _close(self, *_: object, **__: object) -> None:
        await self._worker.run(self._shut)
        self._worker.stop()

    # In the thread.

    def _open(self) -> str:
        secret = blake2b(b"", key=self._codec.secret, digest_size=16, person=b"sidecar file").digest()
        self._shut()
        try:
            self._file = SqliteFile(self._path, self._bound_bytes, secret, self._wall)
        except FileUnusableError as unusable:
            reason = str(unusable)
            set_aside(self._path, reason, self._wall())
            self._file = SqliteFile(self._path, self._bound_bytes, secret, self._wall)
            return reason
        return ""

    def _shut(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _do(self, work: Callable[..., T], *args: Any) -> T:
        if self._file is None:
            raise FileGoneError("closed")
        try:
            return work(self._file, *args)
        except sqlite3.Error as error:
            code = error_code(error)
            if code == sqlite3.SQLITE_FULL:
                raise
            raise self._replace(BEYOND_USE.get(code, "unreadable")) from None

    def _replace(self, reason: str) -> FileGoneError:
        """The file is of no use any more: have a new one, if that can be."""
        self._shut()
        try:
            set_aside(self._path, reason, self._wall())
            self._open()
        except (OSError, sqlite3.Error, FileInUseError, FileUnusableError):
            self._shut()
        return FileGoneError(reason)

    def _read(self, file: SqliteFile, key: Key) -> Record | None:
        data = file.read(key)
        record = None if data is None else self._codec.decode(data)
        if record is not None and record.key == key:
            return record
        if data is not None:
            file.change([], [key], [], clear=False)
        return None

    def _apply(self, file: SqliteFile, batch: Batch, touched: Sequence[Key]) -> Changes:
        if touched:
            file.touch(touched)
        rows = [self._row(record) for record in batch.records.values() if record is not None]
        forgotten = [key for key, record in batch.records.items() if record is None]
        return file.change(rows, forgotten, list(batch.uris), clear=batch.clear)

    def _row(self, record: Record) -> Row:
        return Row(record.key, self._codec.encode(record), record.until_s)

    def _purge(self, file: SqliteFile, wanted: Wanted, soft: bool, after: Key) -> Purged:
        start = wanted.key or wanted.uri or b""
        heads = file.heads(start, after, HEADS_AT_ONCE, HEAD_BYTES)
        rows, forgotten, names = [], [], set[Name]()
        for key, head in heads:
            record = decode_head(head) or self._read(file, key)
            if record is None or not any(wanted.fits(key, entry) for entry in record.variants):
                continue
            whole = self._read(file, key)
            left, taken = (None, set[Name]()) if whole is None else split(whole, wanted, soft=soft)
            names |= taken
            if left is None:
                forgotten.append(key)
            else:
                rows.append(self._row(left))
        changes = file.change(rows, forgotten, [], clear=False)
        return Purged(heads[-1][0] if heads else b"", names, changes)
