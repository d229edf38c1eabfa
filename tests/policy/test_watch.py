"""Noticing changes: every way in which files change, on a clock turned by hand."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sidecar.policy.sources import LoadedPolicies, load_policies
from sidecar.policy.watch import MANY_FILES, MOST_UNSETTLED, PolicyWatch
from tests.fakes import FakeClock
from tests.policy.documents import ConfigMap, write

ONE = "provider: one\nhosts: [one.com]\n"


class Reloads:
    """What a daemon does: load, and keep what is good."""

    def __init__(self, *paths: Path) -> None:
        self.paths = paths
        self.count = 0
        self.watch = PolicyWatch(paths, self.reload, FakeClock())
        self.loaded = load_policies(paths)

    async def reload(self) -> None:
        self.count += 1
        self.loaded = load_policies(self.paths, self.loaded if self.loaded.digest else None)

    async def settle(self) -> LoadedPolicies:
        """Two looks: one that sees a change, and one that finds it settled."""
        await self.watch.look()
        await self.watch.look()
        return self.loaded

    def names(self) -> list[str]:
        return [policy.provider for policy in self.loaded.providers]


async def test_nothing_happens_while_nothing_changes(tmp_path: Path) -> None:
    reloads = Reloads(write(tmp_path, one=ONE))
    for _ in range(5):
        assert not await reloads.watch.look()
    assert reloads.count == 0


async def test_a_change_is_acted_on_once_it_has_settled(tmp_path: Path) -> None:
    reloads = Reloads(write(tmp_path, one=ONE))
    write(tmp_path, one=ONE.replace("one", "uno"))
    assert not await reloads.watch.look()
    assert await reloads.watch.look()
    assert not await reloads.watch.look()
    assert reloads.count == 1
    assert reloads.names() == ["uno"]


async def test_a_swap_of_a_config_map_is_a_change(tmp_path: Path) -> None:
    mount = ConfigMap(tmp_path / "policies")
    mount.publish(one=ONE)
    reloads = Reloads(mount.directory)
    mount.publish(one=ONE.replace("one.com", "uno.com"))
    loaded = await reloads.settle()
    assert loaded.providers[0].hosts == ("uno.com",)
    mount.publish(one="provider: [")
    assert (await reloads.settle()).problems
    assert reloads.names() == ["one"]
    mount.publish(one=ONE.replace("one.com", "again.com"))
    loaded = await reloads.settle()
    assert not loaded.problems
    assert loaded.providers[0].hosts == ("again.com",)
    assert reloads.count == 3


async def test_a_swap_is_seen_at_whichever_step_it_is_looked_at(tmp_path: Path) -> None:
    """And acted on with the one generation or with the other, never with half of each."""
    mount = ConfigMap(tmp_path)
    mount.publish(one=ONE, two=ONE.replace("one", "two"))
    reloads = Reloads(tmp_path)
    for _ in mount.swap(one=ONE.replace("one.com", "uno.com"), three=ONE.replace("one", "three")):
        loaded = await reloads.settle()
        assert loaded.problems == ()
        hosts = {policy.provider: policy.hosts[0] for policy in loaded.providers}
        assert hosts in ({"one": "one.com", "two": "two.com"}, {"one": "uno.com", "three": "three.com"})
    loaded = await reloads.settle()
    assert reloads.names() == ["one", "three"]


async def test_a_directory_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    reloads = Reloads(tmp_path / "a", tmp_path / "b")
    write(tmp_path / "a", one=ONE)
    assert (await reloads.settle()).problems
    ConfigMap(tmp_path / "b").publish(two=ONE.replace("one", "two"))
    assert not (await reloads.settle()).problems
    assert reloads.names() == ["one", "two"]


async def test_a_half_written_file_waits_for_its_other_half(tmp_path: Path) -> None:
    reloads = Reloads(write(tmp_path, one=ONE))
    (tmp_path / "one.yaml").write_text("provider: one\nho")
    assert not await reloads.watch.look()
    (tmp_path / "one.yaml").write_text("provider: one\nhosts: [uno.com]\n")
    assert not await reloads.watch.look()
    assert await reloads.watch.look()
    assert reloads.loaded.providers[0].hosts == ("uno.com",)
    assert reloads.count == 1


async def test_a_set_that_never_settles_is_acted_on_anyway(tmp_path: Path) -> None:
    reloads = Reloads(write(tmp_path, one=ONE))
    for n in range(MOST_UNSETTLED):
        write(tmp_path, one=f"{ONE}# {'x' * n}\n")
        await reloads.watch.look()
    assert reloads.count == 1


async def test_a_change_that_is_taken_back_is_none(tmp_path: Path) -> None:
    reloads = Reloads(write(tmp_path, one=ONE))
    write(tmp_path, two=ONE.replace("one", "two"))
    await reloads.watch.look()
    (tmp_path / "two.yaml").unlink()
    await reloads.settle()
    assert reloads.count == 0


async def test_files_come_and_go(tmp_path: Path) -> None:
    reloads = Reloads(write(tmp_path, one=ONE))
    write(tmp_path, two=ONE.replace("one", "two"))
    await reloads.settle()
    assert reloads.names() == ["one", "two"]
    (tmp_path / "one.yaml").unlink()
    await reloads.settle()
    assert reloads.names() == ["two"]


async def test_a_directory_vanishes_and_comes_back(tmp_path: Path) -> None:
    directory = write(tmp_path / "policies", one=ONE)
    reloads = Reloads(directory)
    shutil.rmtree(directory)
    assert (await reloads.settle()).problems
    assert reloads.names() == ["one"]
    write(directory, one=ONE.replace("one.com", "back.com"))
    loaded = await reloads.settle()
    assert not loaded.problems
    assert loaded.providers[0].hosts == ("back.com",)


async def test_many_files_are_looked_at_in_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threaded: list[object] = []

    async def to_thread(function: object, *args: object) -> object:
        threaded.append(function)
        assert callable(function)
        return function(*args)

    monkeypatch.setattr(asyncio, "to_thread", to_thread)
    for n in range(MANY_FILES):
        write(tmp_path, **{f"p{n}": f"provider: p{n}\nhosts: [h{n}.com]\n"})
    reloads = Reloads(tmp_path)
    write(tmp_path, p0="provider: p0\nhosts: [other.com]\n")
    await reloads.settle()
    assert reloads.count == 1
    assert len(threaded) == 2


@contextlib.asynccontextmanager
async def running(watch: PolicyWatch) -> AsyncIterator[None]:
    task = asyncio.create_task(watch.run())
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def turn(clock: FakeClock, seconds: float) -> None:
    clock.advance(seconds)
    for _ in range(5):
        await asyncio.sleep(0)


async def test_it_looks_twice_a_second_and_survives_whatever_reloading_raises(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, one=ONE)
    clock = FakeClock(park=True)
    seen: list[float] = []

    async def on_change() -> None:
        seen.append(clock.now())
        raise RuntimeError("a bug in whoever reloads")

    caplog.set_level(logging.CRITICAL, logger="sidecar.policy.watch")
    async with running(PolicyWatch([tmp_path], on_change, clock)):
        start_s = clock.now()
        for n in range(3):
            write(tmp_path, one=f"{ONE}# {n}\n")
            await turn(clock, 0.5)
            await turn(clock, 0.5)
    assert [when - start_s for when in seen] == [1.0, 2.0, 3.0]
