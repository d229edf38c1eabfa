"""The file of kept replies: SQLite, bounded by bytes, blocking. Its records are bytes to it.

It holds the file's lock as long as it is open, so of two processes only one has it. Nothing waits for the disk itself
(`synchronous=OFF`): what a process wrote is the kernel's, and survives its being killed; after a power cut the file may
be torn, which SQLite or a record's checksum finds out, and a cache can then start empty.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from sidecar.rules.cache.entry import Key
from sidecar.stores.sqlite_trouble import FileUnusableError, error_code, in_our_words

APPLICATION_ID: Final = 0x53435243
FORMAT: Final = 3
PAGE_BYTES: Final = 4096
ROW_BYTES: Final = 256
"""What a row weighs beyond its record: keys, indexes, the rest of a page."""
LEAST_BYTES: Final = 2048
"""What a small row is counted as, so that the bound holds for the number of keys, too."""
SLACK_RATIO: Final = 1.25
"""The hard limit of the file, over what is counted: pages that are free, or not full."""
LEAVE_RATIO: Final = 0.9
"""How full the file is when an eviction is done, so that not every write is one."""
AT_ONCE: Final = 256
SWEPT_AT_ONCE: Final = 128
_SCHEMA: Final = f"""
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT};
CREATE TABLE about (secret BLOB NOT NULL);
CREATE TABLE record (
    key BLOB PRIMARY KEY NOT NULL,
    until_s REAL NOT NULL,
    used_s REAL NOT NULL,
    size INTEGER NOT NULL,
    value BLOB NOT NULL
);
CREATE INDEX record_until ON record (until_s);
CREATE INDEX record_used ON record (used_s, size);
"""
LAST: Final = b"\xff" * 33
"""What no key is longer than, or after: the end of a range of keys that begin alike."""
_PUT: Final = "INSERT OR REPLACE INTO record (key, until_s, used_s, size, value) VALUES (?, ?, ?, ?, ?)"


class Row(NamedTuple):
    """One record to be written."""

    key: Key
    value: bytes
    until_s: float


class Changes(NamedTuple):
    """Keys that the file has now and had not, and those that it has no more."""

    added: Sequence[Key]
    removed: Sequence[Key]
    evicted: int = 0


class SqliteFile:
    """One open file. Raises `sqlite3.Error` from everything; `wall` is Unix time."""

    def __init__(self, path: Path, bound_bytes: int, secret: bytes, wall: Callable[[], float]) -> None:
        """Opens or makes it. Raises `FileUnusableError`. `secret` tells whether its records can be read at all."""
        self._bound_bytes = bound_bytes
        self._wall = wall
        with suppress(FileExistsError):
            # SQLite would give it the mode that the umask leaves. (One that is there is not touched: closing it would
            # let go of the locks that this process has on it.)
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        self._database = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            with in_our_words():
                self._prepare(secret)
                self.size_bytes = self._one("SELECT total(size) FROM record")
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        self._database.close()

    def read(self, key: Key) -> bytes | None:
        row = self._database.execute("SELECT value FROM record WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def touch(self, keys: Sequence[Key]) -> None:
        """They were read, and so leave later."""
        now_s = self._wall()
        with self._changing():
            self._database.executemany("UPDATE record SET used_s = ? WHERE key = ?", [(now_s, key) for key in keys])

    def keys(self, after: Key, most: int) -> list[Key]:
        """In order; empty when there are no more."""
        return self._keys("SELECT key FROM record WHERE key > ? ORDER BY key LIMIT ?", after, most)

    def heads(self, start: bytes, after: Key, most: int, most_bytes: int) -> list[tuple[Key, bytes]]:
        """The first bytes of records whose keys begin with `start`, in order; empty when there are no more."""
        statement = (
            "SELECT key, substr(value, 1, ?) FROM record WHERE key > ? AND key BETWEEN ? AND ? ORDER BY key LIMIT ?"
        )
        rows = self._database.execute(statement, (most_bytes, after, start, start + LAST, most))
        return [(bytes(key), bytes(head or b"")) for key, head in rows]

    def change(self, rows: Sequence[Row], forgotten: Sequence[Key], uris: Sequence[bytes], *, clear: bool) -> Changes:
        """All of it or nothing: clear, then forget, then write, then make room."""
        try:
            return self._change(rows, forgotten, uris, clear=clear)
        except sqlite3.OperationalError as error:
            if error_code(error) != sqlite3.SQLITE_FULL:
                raise
        # Pages may be less full than they are counted as.
        made_room = self._make_room(int(self.size_bytes / 2))
        changes = self._change(rows, forgotten, uris, clear=clear)
        return changes._replace(removed=[*made_room, *changes.removed], evicted=changes.evicted + len(made_room))

    # How it is done.

    def _prepare(self, secret: bytes) -> None:
        run = self._database.execute
        # In this mode the first lock is kept, which is what makes the file ours.
        run("PRAGMA locking_mode = EXCLUSIVE")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = OFF")
        run("BEGIN IMMEDIATE")
        run("COMMIT")
        found = self._one("PRAGMA application_id"), self._one("PRAGMA user_version")
        tables = self._one("SELECT count(*) FROM sqlite_master")
        run(f"PRAGMA max_page_count = {int(self._bound_bytes * SLACK_RATIO) // PAGE_BYTES + 16}")
        run("PRAGMA journal_size_limit = 4194304")
        run("PRAGMA cache_size = -1024")
        if not tables:
            self._database.executescript(_SCHEMA)
        elif found[0] != APPLICATION_ID:
            raise FileUnusableError("foreign")
        elif found[1] != FORMAT:
            raise FileUnusableError("older" if found[1] < FORMAT else "newer")
        self._adopt(secret)

    def _adopt(self, secret: bytes) -> None:
        """Records that were sealed with another secret cannot be read, and only take room."""
        with self._changing():
            row = self._database.execute("SELECT secret FROM about").fetchone()
            if row is None or row[0] != secret:
                self._database.execute("DELETE FROM record")
                self._database.execute("DELETE FROM about")
                self._database.execute("INSERT INTO about VALUES (?)", (secret,))

    def _change(self, rows: Sequence[Row], forgotten: Sequence[Key], uris: Sequence[bytes], *, clear: bool) -> Changes:
        before_bytes = self.size_bytes
        try:
            with self._changing():
                removed = [*self._forget(forgotten, uris, clear=clear), *self._sweep()]
                for row in rows:
                    self._put(row)
                evicted = (
                    self._evict(int(self._bound_bytes * LEAVE_RATIO)) if self.size_bytes > self._bound_bytes else []
                )
        except BaseException:
            self.size_bytes = before_bytes
            raise
        return Changes([row.key for row in rows], [*removed, *evicted], len(evicted))

    def _put(self, row: Row) -> None:
        size = weight(len(row.value))
        if size > self._bound_bytes * LEAVE_RATIO:
            self._delete([row.key])
            return
        self.size_bytes += size - self._size_of(row.key)
        self._database.execute(_PUT, (row.key, row.until_s, self._wall(), size, row.value))

    def _forget(self, keys: Sequence[Key], uris: Sequence[bytes], *, clear: bool) -> list[Key]:
        wanted = [*keys]
        if clear:
            wanted = self._keys("SELECT key FROM record")
        for uri in uris:
            wanted += self._keys("SELECT key FROM record WHERE key BETWEEN ? AND ?", uri, uri + LAST)
        self._delete(wanted)
        return wanted

    def _sweep(self) -> list[Key]:
        """Some of what is of no use any more: nobody's data stays for want of others that need the room."""
        keys = self._keys("SELECT key FROM record WHERE until_s <= ? LIMIT ?", self._wall(), SWEPT_AT_ONCE)
        self._delete(keys)
        return keys

    def _delete(self, keys: Sequence[Key]) -> None:
        for key in keys:
            self.size_bytes -= self._size_of(key)
            self._database.execute("DELETE FROM record WHERE key = ?", (key,))

    def _make_room(self, goal_bytes: int) -> list[Key]:
        with self._changing():
            return self._evict(goal_bytes)

    def _evict(self, goal_bytes: int) -> list[Key]:
        """What was not used for longest."""
        evicted: list[Key] = []
        while self.size_bytes > goal_bytes:
            keys = self._keys("SELECT key FROM record ORDER BY used_s LIMIT ?", AT_ONCE)
            if not keys:
                break
            evicted += self._delete_until(goal_bytes, keys)
        return evicted

    def _delete_until(self, goal_bytes: int, keys: Sequence[Key]) -> list[Key]:
        for count, key in enumerate(keys):
            if self.size_bytes <= goal_bytes:
                return list(keys[:count])
            self._delete([key])
        return list(keys)

    def _size_of(self, key: Key) -> int:
        row = self._database.execute("SELECT size FROM record WHERE key = ?", (key,)).fetchone()
        return 0 if row is None else int(row[0])

    def _keys(self, statement: str, *args: object) -> list[Key]:
        return [bytes(key) for (key,) in self._database.execute(statement, args)]

    def _one(self, statement: str) -> int:
        return int(self._database.execute(statement).fetchone()[0])

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """A transaction."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            # A failure as grave as a full disk has rolled it back already.
            with suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
            raise


def weight(value_bytes: int) -> int:
    """What a record of so many bytes is counted as: long ones take whole pages."""
    if value_bytes < LEAST_BYTES:
        return LEAST_BYTES
    return -(-value_bytes // PAGE_BYTES) * PAGE_BYTES + ROW_BYTES
