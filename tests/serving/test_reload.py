"""The policies in force: what replaces them, what does not, and what is said of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sidecar.policy.sources import LoadedPolicies
from sidecar.serving.reload import PoliciesInForce, UnfitPolicies
from sidecar.telemetry.instruments import Meters
from tests.fakes import FakeClock

GOOD = "provider: shop\nhosts: [shop.example]\n"


class Bench:
    """A `PoliciesInForce` whose compiled form is the names of the providers."""

    def __init__(self, directory: Path) -> None:
        self.clock = FakeClock()
        self.meters = Meters()
        self.in_force: list[str] = []
        self.broken = False
        self.policies = PoliciesInForce([directory], self._compile, self._swap, self.clock, self.meters.reloads)

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


async def test_reloads_come_one_at_a_time(bench: Bench) -> None:
    bench.policies.load()

    assert await asyncio.gather(*(bench.policies.reload() for _ in range(5))) == [True] * 5
    assert bench.results == {"ok": 6}
