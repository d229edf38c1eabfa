"""Files that are whole at every moment."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Event, Thread

import pytest

from sidecar.files import PRIVATE, PUBLIC, replace, replace_if_other, sweep


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_reader_finds_all_of_the_old_or_all_of_the_new(tmp_path: Path) -> None:
    path, contents = tmp_path / "bundle.crt", [bytes([letter]) * 300_000 for letter in b"ab"]
    replace(path, contents[0], PUBLIC)
    over, seen = Event(), set[bytes]()

    def read() -> None:
        while not over.is_set():
            seen.add(path.read_bytes())

    reader = Thread(target=read)
    reader.start()
    for turn in range(60):
        replace(path, contents[turn % 2], PUBLIC)
    over.set()
    reader.join()
    assert seen <= set(contents)
    assert seen


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_mode_is_what_was_asked_for_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        replace(tmp_path / "key", b"k", PRIVATE)
        replace(tmp_path / "crt", b"c", PUBLIC)
    finally:
        os.umask(before)
    assert (mode(tmp_path / "key"), mode(tmp_path / "crt")) == (0o600, 0o644)


def test_a_failure_leaves_the_old_and_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "crt").mkdir()
    with pytest.raises(OSError, match="directory"):
        replace(tmp_path / "crt", b"new", PUBLIC)
    assert [path.name for path in tmp_path.iterdir()] == ["crt"]


def test_only_what_differs_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "crt"
    assert replace_if_other(path, b"one", PUBLIC)
    assert not replace_if_other(path, b"one", PUBLIC)
    path.chmod(0o600)
    assert replace_if_other(path, b"one", PUBLIC)
    path.unlink()
    assert replace_if_other(path, b"one", PUBLIC)


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    for name in (".ca.key.0123456789abcdef", "ca.key", ".ca.key.swp", ".ca.crt.0123456789abcdef"):
        (tmp_path / name).touch()
    sweep(tmp_path / "ca.key")
    assert {path.name for path in tmp_path.iterdir()} == {"ca.key", ".ca.key.swp", ".ca.crt.0123456789abcdef"}
