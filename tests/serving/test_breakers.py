"""The file of breakers: written soon and seldom, read once, and never worth a call."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.policy.keep import Keep
from sidecar.rules.breaker import BreakerSettings, CircuitState
from sidecar.serving import breakers
from sidecar.serving.breakers import (
    AGAIN_S,
    APART_S,
    BREAKERS_FILE,
    GATHER_S,
    LOCK_FILE,
    NOT_READ,
    NOT_WRITTEN,
    SHARED,
    SHARED_SAID,
    BreakersFile,
)
from tests.fakes import FakeClock

BREAKER = BreakerSettings()


class Process:
    """One daemon's part of it. Its clock is turned by `pass_s`, which waits for what is being written."""

    def __init__(self, state: Path, wall_s: float = 1_800_000_000.0) -> None:
        self.clock = FakeClock(wall_s=wall_s)
        self.keep = Keep(self.clock, lambda: 0.0)
        self.file = BreakersFile(state, self.keep, self.clock)
        self.file.load()

    def force(self, scope: str = "charge", state: CircuitState | None = CircuitState.FORCED_OPEN) -> None:
        self.keep.circuit("stripe", scope, BREAKER).force(state)

    def state(self, scope: str = "charge") -> CircuitState:
        return self.keep.circuit("stripe", scope, BREAKER).state

    async def pass_s(self, seconds: float) -> None:
        self.clock.advance(seconds)
        if self.file._task is not None:
            await self.file._task


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What is written, as it is."""
    written: list[bytes] = []
    real = breakers.replace

    def spy(path: Path, data: bytes, mode: int) -> None:
        written.append(data)
        real(path, data, mode)

    monkeypatch.setattr(breakers, "replace", spy)
    return written


def failing(monkeypatch: pytest.MonkeyPatch, number: int) -> Callable[[], None]:
    """Have every write fail, until what is returned is called."""
    real = breakers.replace

    def fail(path: Path, data: bytes, mode: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(breakers, "replace", fail)
    return lambda: monkeypatch.setattr(breakers, "replace", real)


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [line.message for line in caplog.records]


async def test_one_process_goes_on_where_the_last_was_killed(tmp_path: Path) -> None:
    first = Process(tmp_path)
    first.force()
    await first.pass_s(GATHER_S)
    first.file._lock.let_go()  # As the kernel does for a process that is gone.
    second = Process(tmp_path)

    assert second.state() is CircuitState.FORCED_OPEN
    assert second.state("other") is CircuitState.CLOSED
    assert stat.S_IMODE((tmp_path / BREAKERS_FILE).stat().st_mode) == 0o600
    second.file._lock.let_go()


async def test_an_end_in_order_writes_what_waits(tmp_path: Path) -> None:
    first = Process(tmp_path)
    first.force()
    await first.file.close()
    second = Process(tmp_path)

    assert second.state() is CircuitState.FORCED_OPEN
    await second.file.close()
    assert first.clock.pending == 0


async def test_nothing_is_written_where_nothing_happened(tmp_path: Path, writes: list[bytes]) -> None:
    first = Process(tmp_path)
    assert first.state() is CircuitState.CLOSED
    await first.pass_s(60)
    await first.file.close()

    assert writes == []
    assert not (tmp_path / BREAKERS_FILE).exists()


async def test_many_changes_are_one_write_a_second(tmp_path: Path, writes: list[bytes]) -> None:
    first = Process(tmp_path)
    for number in range(50):
        first.force(f"r{number}")
    await first.pass_s(GATHER_S)
    assert len(writes) == 1
    assert len(json.loads(writes[0])["memory"]["breakers"]) == 50
    for _ in range(50):
        first.force()
        await first.pass_s(0.01)
    assert len(writes) == 1
    await first.pass_s(APART_S)
    assert len(writes) == 2
    await first.file.close()
    assert len(writes) == 2


async def test_a_change_during_a_write_is_written_after_it(tmp_path: Path, writes: list[bytes]) -> None:
    first = Process(tmp_path)
    first.force("one")
    first.clock.advance(GATHER_S)
    assert first.file._task is not None
    first.force("two")
    await first.pass_s(0)
    assert len(writes) <= 1
    await first.pass_s(APART_S + GATHER_S)

    assert len(json.loads(writes[-1])["memory"]["breakers"]) == 2
    await first.file.close()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "corrupt"),
        (b"not json", "corrupt"),
        (b"{}", "foreign"),
        (b'{"version": 0}', "older"),
        (None, "unreadable"),
    ],
)
async def test_a_file_of_no_use_is_set_aside_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes | None, reason: str
) -> None:
    path = tmp_path / BREAKERS_FILE
    path.mkdir() if content is None else path.write_bytes(content)
    first = Process(tmp_path)
    first.force()
    await first.file.close()

    assert messages(caplog) == [NOT_READ]
    assert vars(caplog.records[0])["reason"] == reason
    aside = tmp_path / f"{BREAKERS_FILE}.{reason}"
    assert aside.is_dir() if content is None else aside.read_bytes() == content
    assert Process(tmp_path).state() is CircuitState.FORCED_OPEN
    assert messages(caplog) == [NOT_READ]


async def test_what_a_kill_left_half_written_is_swept(tmp_path: Path) -> None:
    left = tmp_path / f".{BREAKERS_FILE}.0123456789abcdef"
    left.write_bytes(b'{"version": 1, "sh')
    await Process(tmp_path).file.close()

    assert not left.exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EACCES])
async def test_a_volume_that_cannot_be_written_is_said_once_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    first = Process(tmp_path)
    mend = failing(monkeypatch, number)
    first.force()
    for _ in range(5):
        await first.pass_s(AGAIN_S)
    assert messages(caplog) == [NOT_WRITTEN]
    assert first.file.trouble == os.strerror(number).lower()

    mend()
    await first.pass_s(AGAIN_S)
    assert first.file.trouble == ""
    assert (tmp_path / BREAKERS_FILE).exists()
    await first.file.close()


async def test_of_two_that_share_a_directory_only_one_writes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, writes: list[bytes]
) -> None:
    first, second = Process(tmp_path), Process(tmp_path)
    assert messages(caplog) == [SHARED_SAID]
    assert (first.file.trouble, second.file.trouble) == ("", SHARED)
    second.force()
    await second.pass_s(60)
    assert writes == []

    await first.file.close()
    await second.pass_s(AGAIN_S)
    assert len(writes) == 1
    assert second.file.trouble == ""
    await second.file.close()
    assert messages(caplog) == [SHARED_SAID]


async def test_the_second_leaves_the_firsts_file_where_it_is(tmp_path: Path) -> None:
    first = Process(tmp_path)
    (tmp_path / BREAKERS_FILE).write_bytes(b"?")
    second = Process(tmp_path)

    assert (tmp_path / BREAKERS_FILE).read_bytes() == b"?"
    for one in (first, second):
        await one.file.close()


async def test_where_there_are_no_locks_it_writes_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unknown(handle: int, operation: int) -> Any:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(breakers.fcntl, "flock", unknown)
    first = Process(tmp_path)
    first.force()
    await first.file.close()

    assert messages(caplog) == []
    assert (tmp_path / BREAKERS_FILE).exists()
    assert (tmp_path / LOCK_FILE).exists()
