"""Kept replies give way when a container's memory runs short, and come back when it does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.rules.cache.entry import Entry
from sidecar.serving import memory
from sidecar.serving.cgroup import V2, MemoryGroup
from sidecar.serving.memory import (
    FLOOR_BYTES,
    LEAST_BYTES,
    LOOK_S,
    MIB,
    USUAL_BYTES,
    MemoryWatch,
    cache_bound_bytes,
    too_much,
)
from sidecar.stores.shelf import Shelf
from tests.fakes import FakeClock

LIMIT_BYTES = 200 * MIB


class Container:
    """One whose use the test sets; its shelf holds `kept_bytes` of replies."""

    def __init__(self, home: Path, kept_bytes: int = 0, bound_bytes: int = 16 * MIB) -> None:
        self.home = home
        self.clock = FakeClock()
        self.shelf = Shelf(bound_bytes, lambda _: False)
        number = 0
        while self.shelf.size_bytes < kept_bytes:
            number += 1
            self.shelf.put(b"%016d" % number, self._entry(), self.clock.wall() + 1e6, self.clock.wall())
        self.use(0.5)
        (home / "memory.stat").write_text("inactive_file 0\n")
        group = MemoryGroup(home, V2, LIMIT_BYTES)
        self.watch = MemoryWatch(group, bound_bytes, lambda: self.shelf, self.clock)
        self.watch.start()

    def _entry(self) -> Entry:
        now_s = self.clock.wall()
        return Entry(200, b"OK", b"", b"x" * 100_000, now_s, now_s, (), "stripe", "-", "https://api.test", b"/a")

    def use(self, ratio: float) -> None:
        (self.home / "memory.current").write_text(f"{int(LIMIT_BYTES * ratio)}\n")

    def look(self, ratio: float) -> None:
        self.use(ratio)
        self.clock.advance(LOOK_S)


@pytest.fixture(autouse=True)
def given_back(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Each time that the allocator was asked; this process's own is left alone."""
    asked: list[None] = []
    monkeypatch.setattr(memory, "give_back", lambda: asked.append(None))
    return asked


@given(st.none() | st.integers(1, 2**34), st.none() | st.integers(0, 2**40))
def test_the_bound_is_what_was_asked_or_what_fits(asked_bytes: int | None, limit_bytes: int | None) -> None:
    bound_bytes = cache_bound_bytes(asked_bytes, limit_bytes)

    if asked_bytes is not None:
        assert bound_bytes == asked_bytes
    else:
        assert LEAST_BYTES <= bound_bytes <= USUAL_BYTES
        assert limit_bytes is None or bound_bytes == LEAST_BYTES or bound_bytes * 4 + FLOOR_BYTES <= limit_bytes + 4


@pytest.mark.parametrize(
    ("limit", "bound"), [(None, 64), (1024, 64), (320, 64), (256, 48), (128, 16), (64, 1), (32, 1)]
)
def test_bounds_of_usual_containers(limit: int | None, bound: int) -> None:
    assert cache_bound_bytes(None, None if limit is None else limit * MIB) == bound * MIB


def test_a_bound_that_cannot_fit_is_said() -> None:
    assert too_much(256 * MIB, 256 * MIB) == "--cache-memory is 256 MiB and the container's limit 256 MiB"
    assert too_much(64 * MIB, 128 * MIB) == too_much(None, MIB) == too_much(512 * MIB, None) == ""


def test_what_is_kept_is_halved_while_memory_is_short(tmp_path: Path, given_back: list[None]) -> None:
    container = Container(tmp_path, kept_bytes=8 * MIB)
    container.look(0.89)
    assert container.shelf.bound_bytes == 16 * MIB
    assert given_back == []
    container.look(0.91)
    assert container.shelf.size_bytes <= 4.1 * MIB
    assert container.shelf.bound_bytes <= 4.1 * MIB
    container.look(0.95)
    assert container.shelf.size_bytes <= 2.1 * MIB
    assert len(given_back) == 2
    for _ in range(10):
        container.look(0.95)
    assert container.shelf.bound_bytes >= LEAST_BYTES


def test_it_grows_again_step_by_step(tmp_path: Path) -> None:
    container = Container(tmp_path, kept_bytes=8 * MIB)
    container.look(0.95)
    container.look(0.8)
    bounds = [container.shelf.bound_bytes]
    for _ in range(4):
        container.look(0.6)
        bounds.append(container.shelf.bound_bytes)

    assert bounds[1] == 2 * bounds[0]
    assert bounds == sorted(bounds)
    assert bounds[-1] == 16 * MIB


def test_it_is_said_once_until_it_is_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    container = Container(tmp_path)
    for ratio in (0.95, 0.95, 0.8, 0.95):
        container.look(ratio)
    assert [line.message for line in caplog.records if line.levelname == "WARNING"] == [container.watch.trouble]
    container.look(0.5)
    assert container.watch.trouble == ""


def test_what_the_kernel_can_take_back_is_not_used(tmp_path: Path) -> None:
    container = Container(tmp_path, kept_bytes=8 * MIB)
    (tmp_path / "memory.stat").write_text(f"anon 1\ninactive_file {50 * MIB}\n")
    container.look(0.95)

    assert container.watch.trouble == ""
    assert container.shelf.bound_bytes == 16 * MIB


def test_without_a_limit_or_files_nothing_is_looked_at(tmp_path: Path) -> None:
    clock = FakeClock()
    MemoryWatch(None, MIB, lambda: None, clock).start()
    assert clock.pending == 0
    container = Container(tmp_path)
    (tmp_path / "memory.current").unlink()
    container.clock.advance(LOOK_S)
    assert container.clock.pending == 0


def test_free_memory_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    memory.give_back()
