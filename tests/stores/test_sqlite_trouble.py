from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from sidecar.stores.sqlite_trouble import FileInUseError, FileUnusableError, error_code, in_our_words, set_aside


def said(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("as SQLite says it")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("code", "kind", "text"),
    [
        (sqlite3.SQLITE_BUSY, FileInUseError, "^$"),
        (sqlite3.SQLITE_CORRUPT, FileUnusableError, "corrupt"),
        (sqlite3.SQLITE_CORRUPT | 1 << 8, FileUnusableError, "corrupt"),
        (sqlite3.SQLITE_NOTADB, FileUnusableError, "corrupt"),
        (sqlite3.SQLITE_READONLY, FileUnusableError, "read-only"),
        (sqlite3.SQLITE_FULL, sqlite3.OperationalError, "as SQLite says it"),
    ],
)
def test_what_is_said_of_a_file_that_is_opened(code: int, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text), in_our_words():
        raise said(code)


def test_an_error_of_pythons_has_no_code() -> None:
    assert error_code(sqlite3.ProgrammingError("closed")) == 0


def test_only_the_last_unusable_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    for number, reason in enumerate(("corrupt", "older")):
        path.write_bytes(reason.encode())
        Path(f"{path}-wal").write_bytes(b"")
        set_aside(path, reason, 100.5 + number)
    assert {found.name: found.read_bytes() for found in tmp_path.iterdir()} == {"cache.sqlite.older-101": b"older"}
