from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.stores.sqlite_file import LEAST_BYTES, SLACK_RATIO, Row, SqliteFile, weight
from sidecar.stores.sqlite_trouble import FileInUseError, FileUnusableError
from tests.stores.entries import make_key

MIB = 1024 * 1024


class Wall:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Files:
    """Opens files, and closes what is still open at the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.wall = Wall()
        self._open: list[SqliteFile] = []

    def __call__(self, bound_bytes: int = MIB, secret: bytes = b"s") -> SqliteFile:
        file = SqliteFile(self.path, bound_bytes, secret, self.wall)
        self._open.append(file)
        return file

    def close(self) -> None:
        while self._open:
            self._open.pop().close()


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    files = Files(tmp_path / "cache.sqlite")
    yield files
    files.close()


def put(file: SqliteFile, *numbers: int, size: int = 100, until_s: float = 9e9) -> object:
    return file.change(
        [Row(make_key(number), b"%d" % number + bytes(size), until_s) for number in numbers], [], [], clear=False
    )


def numbers(file: SqliteFile) -> list[int]:
    return [number for number in range(2000) if file.read(make_key(number)) is not None]


def test_what_was_written_is_read_by_the_next_process(files: Files) -> None:
    put(files(), 1, 2)
    files.close()
    file = files()
    assert file.read(make_key(1)) == b"1" + bytes(100)
    assert file.size_bytes == 2 * LEAST_BYTES
    assert sorted(file.keys(b"", 10)) == sorted([make_key(1), make_key(2)])
    assert file.keys(max(make_key(1), make_key(2)), 10) == []


def test_nobody_else_may_read_it(files: Files) -> None:
    put(files(), 1)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in files.path.parent.iterdir()}
    assert modes == {"cache.sqlite": 0o600, "cache.sqlite-wal": 0o600}


def test_changes_clear_then_forget_then_write(files: Files) -> None:
    file = files()
    put(file, 1, 2, 3)
    partitioned = make_key(2, 7)
    file.change([Row(partitioned, b"x", 9e9)], [], [], clear=False)
    changes = file.change([Row(make_key(4), b"y", 9e9)], [make_key(1)], [make_key(2)], clear=False)
    assert set(changes.removed) == {make_key(1), make_key(2), partitioned}
    assert numbers(file) == [3, 4]
    changes = file.change([Row(make_key(5), b"z", 9e9)], [], [], clear=True)
    assert set(changes.removed) == {make_key(3), make_key(4)}
    assert numbers(file) == [5]
    assert file.size_bytes == LEAST_BYTES


def test_a_range_of_keys_has_no_holes_at_its_end(files: Files) -> None:
    file, last = files(), b"\xff" * 16
    file.change(
        [Row(last, b"", 9e9), Row(last + b"\xff" * 16, b"", 9e9), Row(b"\xfe" * 16, b"", 9e9)], [], [], clear=False
    )
    assert len(file.heads(last, b"", 10, 10)) == 2
    file.change([], [], [last], clear=False)
    assert file.keys(b"", 10) == [b"\xfe" * 16]


def test_it_stays_within_its_bound_by_what_was_used_last(files: Files) -> None:
    file = files(100 * LEAST_BYTES)
    for number in range(100):
        files.wall.now_s += 1
        put(file, number)
    files.wall.now_s += 1
    file.touch([make_key(0)])
    put(file, 100)
    assert file.size_bytes <= 90 * LEAST_BYTES
    assert numbers(file) == [0, *range(12, 101)]


def test_what_is_useless_leaves_first_and_without_need(files: Files) -> None:
    file = files(100 * LEAST_BYTES)
    put(file, *range(80))
    put(file, *range(80, 100), until_s=1500.0)
    files.wall.now_s = 2000.0
    changes = file.change([Row(make_key(100), b"x", 9e9)], [], [], clear=False)
    assert numbers(file) == [*range(80), 100]
    assert (len(changes.removed), changes.evicted) == (20, 0)


def test_what_is_larger_than_the_bound_is_forgotten(files: Files) -> None:
    file = files(100 * LEAST_BYTES)
    put(file, 1, 2)
    put(file, 1, size=300 * LEAST_BYTES)
    assert numbers(file) == [2]
    assert file.size_bytes == LEAST_BYTES


def test_the_file_itself_is_bounded(files: Files) -> None:
    file = files(MIB)
    for number in range(1500):
        put(file, number, size=number * 37 % 9000)
    files.close()
    assert files.path.stat().st_size <= MIB * SLACK_RATIO + 20 * 4096


def test_a_full_file_makes_room_and_takes_the_write(files: Files) -> None:
    file = files()
    put(file, *range(100), size=3000)
    file._database.execute(f"PRAGMA max_page_count = {file._one('PRAGMA page_count')}")
    changes = file.change([Row(make_key(200), bytes(90_000), 9e9)], [], [], clear=False)
    assert changes.evicted >= 49
    assert numbers(file)[-1] == 200
    assert file.size_bytes == file._one("SELECT total(size) FROM record")


def test_a_write_that_fails_changes_nothing(files: Files) -> None:
    file = files()
    put(file, 1)
    file._database.execute(f"PRAGMA max_page_count = {file._one('PRAGMA page_count')}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        file.change([Row(make_key(2), bytes(900_000), 9e9)], [], [], clear=False)
    assert file.size_bytes == file._one("SELECT total(size) FROM record")


def test_what_was_sealed_with_another_secret_is_dropped(files: Files) -> None:
    put(files(), 1)
    files.close()
    assert numbers(files(secret=b"t")) == []


def test_of_two_processes_one_has_it(files: Files) -> None:
    put(files(), 1)
    script = "import sys; from pathlib import Path; from sidecar.stores.sqlite_file import SqliteFile\n"
    script += "from sidecar.stores.sqlite_trouble import FileInUseError\n"
    script += "try: SqliteFile(Path(sys.argv[1]), 9999999, b's', float)\nexcept FileInUseError: print('in use')"
    done = subprocess.run([sys.executable, "-c", script, files.path], capture_output=True, text=True, check=True)
    assert done.stdout == "in use\n"
    with pytest.raises(FileInUseError):
        files()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"not a database, though long enough to be taken for one" * 99, "corrupt"),
        (b"SQLite format 3\0" + bytes(5000), "corrupt"),
    ],
)
def test_a_file_that_is_no_database(files: Files, content: bytes, reason: str) -> None:
    files.path.write_bytes(content)
    with pytest.raises(FileUnusableError, match=reason):
        files()


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("PRAGMA user_version = 0", "older"),
        ("PRAGMA user_version = 99", "newer"),
        ("PRAGMA application_id = 7", "foreign"),
    ],
)
def test_a_file_of_another_format(files: Files, statement: str, reason: str) -> None:
    files()._database.execute(statement)
    files.close()
    with pytest.raises(FileUnusableError, match=reason):
        files()


def test_a_torn_file_is_found_out(files: Files) -> None:
    put(files(), *range(300), size=3000)
    files.close()
    torn = bytearray(files.path.read_bytes())
    torn[8192:-4096] = bytes(len(torn) - 12288)
    files.path.write_bytes(torn)
    with pytest.raises((sqlite3.DatabaseError, FileUnusableError), match=r"malformed|corrupt"):
        put(files(), *range(300))


def test_long_records_weigh_whole_pages() -> None:
    assert [weight(size) for size in (0, 2047, 2048, 4096, 4097)] == [2048, 2048, 4352, 4352, 8448]
