"""What can be wrong with a SQLite file, in our words, and where one goes that is beyond use."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

BEYOND_USE: Final = {
    sqlite3.SQLITE_CORRUPT: "corrupt",
    sqlite3.SQLITE_NOTADB: "corrupt",
    sqlite3.SQLITE_READONLY: "read-only",
}
"""What SQLite says of a file that another should take the place of, in a word."""


class FileUnusableError(Exception):
    """The file as it is cannot be used; the text is one word that says why."""


class FileInUseError(Exception):
    """Another process has it."""


@contextmanager
def in_our_words() -> Iterator[None]:
    """Raises `FileInUseError` or `FileUnusableError` for what SQLite says of a file that it opens."""
    try:
        yield
    except sqlite3.Error as error:
        code = error_code(error)
        if code == sqlite3.SQLITE_BUSY:
            raise FileInUseError from None
        if code in BEYOND_USE:
            raise FileUnusableError(BEYOND_USE[code]) from None
        raise


def error_code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 for an error of Python's."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def set_aside(path: Path, reason: str, now_s: float) -> None:
    """Rename a file that cannot be used, so that somebody may look at it; of those, only the last is kept. Raises
    OSError."""
    for older in path.parent.glob(f"{path.name}.*-[0-9]*"):
        older.unlink(missing_ok=True)
    path.rename(path.with_name(f"{path.name}.{reason}-{int(now_s)}"))
    for journal in ("-wal", "-shm", "-journal"):
        path.with_name(path.name + journal).unlink(missing_ok=True)
