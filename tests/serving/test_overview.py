"""What the admin listener is told of kept replies, before and after a policy keeps any."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sidecar.admin.port import Selection, Trouble
from sidecar.policy.keep import Keep
from sidecar.policy.mounts import MOUNTINFO
from sidecar.policy.sources import LoadedPolicies
from sidecar.serving.directory import Directory
from sidecar.serving.opening import Opening
from sidecar.serving.overview import PROBLEMS_SHOWN, Life, Overview
from sidecar.serving.reload import PoliciesInForce
from sidecar.settings import read_settings
from tests.serving.test_cached import Kept
from tests.telemetry.harness import make_telemetry


def no_directory(loaded: LoadedPolicies) -> Directory:
    raise AssertionError("nothing is loaded")


def overview(kept: Kept, *paths: Path, mountinfo: Path = Path(MOUNTINFO)) -> Overview:
    telemetry = make_telemetry({}, kept.clock)
    policies: PoliciesInForce[Directory] = PoliciesInForce(
        paths,
        no_directory,
        lambda _loaded, _directory: None,
        kept.clock,
        telemetry.meters.reloads,
        mountinfo=mountinfo,
    )
    if paths:
        policies.load(wait=True)
    return Overview(
        life=Life(),
        policies=policies,
        keep=Keep(kept.clock, lambda: 0.5),
        unknown=kept.town.unknown,
        opening=Opening(replace(read_settings({}, {}), ca_dir=None), kept.clock),
        telemetry=telemetry,
        clock=kept.clock,
    )


def test_every_problem_of_the_first_policies_keeps_it_unready_and_is_named(tmp_path: Path) -> None:
    directory = tmp_path / "policies"
    directory.mkdir()
    (directory / "bad.yaml").write_text("provider: bad\nhosts: [bad.example]\nnope: 1\n")
    told = overview(Kept(tmp_path), directory, tmp_path / "none")

    check = told.checks()[0]
    assert (check.name, check.ok) == ("policies", False)
    first, none, bad = check.detail.split("; ")
    assert first == "no policies are in force yet"
    assert none.startswith(f"{tmp_path / 'none'}:1:1: expected a readable file or directory")
    assert bad.startswith(f"{directory / 'bad.yaml'}:3:1: nope: expected ")


def test_more_problems_than_a_probe_can_tell_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "policies" / "bad.yaml"
    file.parent.mkdir()
    file.write_text("provider: bad\nhosts: [bad.example]\n" + "".join(f"no{n}: 1\n" for n in range(PROBLEMS_SHOWN + 7)))
    detail = overview(Kept(tmp_path), file).checks()[0].detail

    assert detail.count("bad.yaml:") == PROBLEMS_SHOWN
    assert detail.endswith("; 7 more stand on /policies")


def test_what_never_changes_is_a_trouble(tmp_path: Path) -> None:
    file, table = tmp_path / "policies" / "bad.yaml", tmp_path / "mountinfo"
    file.parent.mkdir()
    file.write_text("nope: 1\n")
    table.write_text(f"9 8 253:1 /..2026_11_22_10_15_30.318/bad.yaml {file.resolve()} ro - tmpfs tmpfs rw\n")
    (trouble,) = overview(Kept(tmp_path), file, mountinfo=table).troubles()

    assert trouble.name == "policies"
    assert trouble.detail == f"{file.resolve()} is mounted by subPath and will never update: mount the directory"


def test_while_it_waits_it_says_that_calls_are_refused(tmp_path: Path) -> None:
    told = overview(Kept(tmp_path))
    assert told.checks()[1].detail == "calls are not taken"
    told._life.waiting = True
    assert told.checks()[1].detail == "calls are refused until there are policies"


async def test_while_no_policy_caches_nothing_is_kept(tmp_path: Path) -> None:
    told = overview(Kept(tmp_path))

    assert await told.cache(Selection(), 10) == {"stores": [], "providers": [], "entries": []}
    assert await told.cached("0" * 32) == []
    assert await told.purge(Selection(), soft=False) == 0


async def test_what_is_kept_is_told_and_purged(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    told = overview(kept)
    told.cached_replies = kept.replies
    key = kept.put().hex()

    assert [entry["key"] for entry in (await told.cache(Selection(), 10))["entries"]] == [key]
    assert [entry["key"] for entry in await told.cached(key)] == [key]
    assert await told.purge(Selection(), soft=False) == 1


def test_while_nothing_is_opened_nobody_signs(tmp_path: Path) -> None:
    told = overview(Kept(tmp_path)).authority()
    assert told == {"kind": None, "directory": None, "expires_in_s": None, "certificates": []}


async def test_what_is_done_without_is_told_and_nothing_else(tmp_path: Path) -> None:
    told = overview(Kept(tmp_path))
    told._troubles = lambda: {"breakers.json": "no space left on device", "cache.key": ""}

    assert list(told.troubles()) == [Trouble("breakers.json", "no space left on device")]
