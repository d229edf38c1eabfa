"""The policies in force: what replaces them, what does not, and what is said of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sidecar.policy.mounts import MOUNTINFO
from sidecar.policy.sources import LoadedPolicies
from sidecar.serving.lastgood import LastGood
from sidecar.serving.reload import PoliciesInForce, UnfitPolicies
from sidecar.telemetry.instruments import Meters
from tests.fakes import FakeClock

GOOD = "provider: shop\nhosts: [shop.example]\n"


class Bench:
    """A `PoliciesInForce` whose compiled form is the names of the providers."""

    def __init__(
        self, directory: Path, mountinfo: Path = Path(MOUNTINFO), *, last_good: LastGood | None = None
    ) -> None:
        self.clock = FakeClock()
        self.meters = Meters()
        self.in_force: list[str] = []
        self.broken = False
        self.policies = PoliciesInForce(
            [directory],
            self._compile,
            self._swap,
            self.clock,
            self.meters.reloads,
            last_good=last_good,
            mountinfo=mountinfo,
        )

    def _compile(self, loaded: LoadedPolicies) -> list[str]:
        if self.broken:
            raise RuntimeError("a bug")
        return [policy.provider for policy in loaded.providers]

    def _swap(self, loaded: LoadedPolicies, compiled: list[str]) -> None:
        self.in_force = compiled

    @property
    def results(self) -> dict[object, object]:
        return {labels[0]: count for labels, count in self.meters.reloads.collect().points}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    (tmp_path / "shop.yaml").write_text(GOOD)
    return Bench(tmp_path)


def test_the_first_load_refuses_any_problem(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("provider: bad\nnope: 1\n")

    with pytest.raises(UnfitPolicies) as caught:
        bench.policies.load()

    assert caught.value.problems
    assert bench.in_force == []
    assert bench.policies.loaded is None
    assert bench.results == {}


def test_what_is_in_force_has_a_digest_and_an_age(bench: Bench) -> None:
    bench.policies.load()
    bench.clock.advance(90)
    shown = bench.policies.as_json()

    assert bench.in_force == ["shop"]
    assert (shown["age_s"], shown["providers"], shown["errors"]) == (90.0, ["shop"], [])
    assert shown["loaded_at"] == "2027-01-15T08:00:00.000Z"
    assert len(shown["digest"]) == 64
    assert bench.results == {"ok": 1}


async def test_a_reload_without_a_change_keeps_the_age(bench: Bench) -> None:
    bench.policies.load()
    bench.clock.advance(90)

    assert await bench.policies.reload()
    assert bench.policies.age_s == 90.0
    assert bench.policies.as_json()["reloads"] == {"total": 1, "failed": 0}


async def test_a_bad_file_is_reported_and_the_rest_takes_effect(bench: Bench, tmp_path: Path) -> None:
    bench.policies.load()
    (tmp_path / "shop.yaml").write_text("provider: shop\nnope: 1\n")
    (tmp_path / "books.yaml").write_text("provider: books\nhosts: [books.example]\n")

    assert not await bench.policies.reload()
    shown = bench.policies.as_json()
    assert sorted(bench.in_force) == ["books", "shop"]
    assert {error["file"] for error in shown["errors"]} == {str(tmp_path / "shop.yaml")}
    assert [file["stale"] for file in shown["files"]] == [False, True]
    assert shown["failed_at"] is not None
    assert bench.results == {"ok": 1, "failed": 1}

    (tmp_path / "shop.yaml").write_text(GOOD)
    assert await bench.policies.reload()
    assert bench.policies.as_json()["failed_at"] is None
    assert bench.policies.problems == ()


async def test_a_bug_in_compiling_leaves_what_is_in_force(bench: Bench, tmp_path: Path) -> None:
    bench.policies.load()
    bench.broken = True
    (tmp_path / "books.yaml").write_text("provider: books\nhosts: [books.example]\n")

    assert not await bench.policies.reload()
    assert bench.in_force == ["shop"]
    assert bench.policies.failures == 1
    bench.broken = False
    assert await bench.policies.reload()
    assert sorted(bench.in_force) == ["books", "shop"]


# Waiting for the first.


async def test_what_is_not_fit_at_first_is_waited_for(
    bench: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With a good file beside the bad one, too: half of the protection is not what anybody asked for."""
    bad = tmp_path / "bad.yaml"
    bad.write_text("provider: bad\nnope: 1\n")
    bench.policies.load(wait=True)
    shown = bench.policies.as_json()

    assert bench.policies.loaded is None
    assert bench.in_force == []
    assert (shown["digest"], shown["loaded_at"], shown["age_s"], shown["providers"]) == ("", None, None, [])
    assert [(file["path"], file["stale"]) for file in shown["files"]] == [
        (str(bad), True),
        (str(tmp_path / "shop.yaml"), True),
    ]
    assert (shown["errors"][0]["file"], shown["errors"][0]["line"]) == (str(bad), 1)
    assert shown["failed_at"] is not None
    assert bench.results == {"failed": 1}
    assert [record.message for record in caplog.records] == [
        "the policies are not fit, and nothing is served until they are"
    ]

    bad.write_text("provider: bad\nhosts: [bad.example]\nnope: 1\n")
    assert not await bench.policies.reload()
    assert bench.policies.loaded is None
    assert bench.in_force == []
    assert bench.policies.as_json()["errors"][0]["line"] == 3

    bad.write_text("provider: bad\nhosts: [bad.example]\n")
    bench.clock.advance(90)
    assert await bench.policies.reload()
    shown = bench.policies.as_json()
    assert bench.in_force == ["bad", "shop"]
    assert (shown["age_s"], shown["errors"], shown["failed_at"]) == (0.0, [], None)
    assert shown["reloads"] == {"total": 2, "failed": 1}
    assert bench.results == {"failed": 2, "ok": 1}


def test_what_is_fit_is_not_waited_for(bench: Bench) -> None:
    bench.policies.load(wait=True)
    assert bench.in_force == ["shop"]


def test_after_a_restart_the_last_good_version_serves(tmp_path: Path) -> None:
    state, directory = tmp_path / "state", tmp_path / "policies"
    state.mkdir()
    directory.mkdir()
    file = directory / "shop.yaml"
    file.write_text(GOOD)
    first = Bench(directory, last_good=LastGood(state, [directory]))
    first.policies.load(wait=True)
    asyncio.run(first.policies.keep())
    file.write_text("provider: shop\nnope: 1\n")
    (directory / "books.yaml").write_text("provider: books\nhosts: [books.example]\n")

    restarted = Bench(directory, last_good=LastGood(state, [directory]))
    restarted.policies.load(wait=True)
    shown = restarted.policies.as_json()
    assert sorted(restarted.in_force) == ["books", "shop"]
    assert [(Path(one["path"]).name, one["stale"]) for one in shown["files"]] == [
        ("books.yaml", False),
        ("shop.yaml", True),
    ]
    assert {error["file"] for error in shown["errors"]} == {str(file)}
    assert restarted.results == {"failed": 1}
    with pytest.raises(UnfitPolicies):
        Bench(directory, last_good=LastGood(state, [directory])).policies.load()


async def test_what_a_reload_puts_in_force_is_kept(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(GOOD)
    last_good = LastGood(tmp_path, [tmp_path])
    bench = Bench(tmp_path, last_good=last_good)
    bench.policies.load()
    assert last_good.recall() is None
    assert await bench.policies.reload()
    recalled = last_good.recall()
    assert recalled is not None
    assert [policy.provider for policy in recalled.providers] == ["shop"]


# Mounted by subPath.


async def test_a_file_that_never_changes_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = tmp_path / "policies"
    directory.mkdir()
    file, table = directory / "shop.yaml", tmp_path / "mountinfo"
    file.write_text(GOOD)
    table.write_text(f"9 8 253:1 /pods/1/..2026_11_22_10_15_30.318/shop.yaml {file.resolve()} ro - ext4 /dev/vda1 rw\n")
    bench = Bench(directory, table)
    bench.policies.load()
    assert await bench.policies.reload()

    message = "is mounted by subPath and will never update: mount the directory"
    assert bench.policies.as_json()["warnings"] == [{"file": str(file.resolve()), "message": message}]
    assert [one.text() for one in bench.policies.warnings] == [f"{file.resolve()} {message}"]
    said = [record for record in caplog.records if record.message == "policies are mounted so that they never change"]
    assert [(record.__dict__["file"], record.__dict__["reason"]) for record in said] == [(str(file.resolve()), message)]

    table.write_text("")
    assert await bench.policies.reload()
    assert bench.policies.as_json()["warnings"] == []


def test_where_the_kernel_tells_nothing_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(GOOD)
    bench = Bench(tmp_path, tmp_path / "none")
    bench.policies.load()
    assert bench.policies.warnings == ()


async def test_reloads_come_one_at_a_time(bench: Bench) -> None:
    bench.policies.load()

    assert await asyncio.gather(*(bench.policies.reload() for _ in range(5))) == [True] * 5
    assert bench.results == {"ok": 6}
