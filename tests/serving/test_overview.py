"""What the admin listener is told of kept replies, before and after a policy keeps any."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sidecar.admin.port import Selection
from sidecar.policy.keep import Keep
from sidecar.policy.sources import LoadedPolicies
from sidecar.serving.directory import Directory
from sidecar.serving.opening import Opening
from sidecar.serving.overview import Life, Overview
from sidecar.serving.reload import PoliciesInForce
from sidecar.settings import read_settings
from tests.serving.test_cached import Kept
from tests.telemetry.harness import make_telemetry


def no_directory(loaded: LoadedPolicies) -> Directory:
    raise AssertionError("nothing is loaded")


def overview(kept: Kept) -> Overview:
    telemetry = make_telemetry({}, kept.clock)
    policies: PoliciesInForce[Directory] = PoliciesInForce(
        [], no_directory, lambda _loaded, _directory: None, kept.clock, telemetry.meters.reloads
    )
    return Overview(
        life=Life(),
        policies=policies,
        keep=Keep(kept.clock, lambda: 0.5),
        unknown=kept.town.unknown,
        opening=Opening(replace(read_settings({}, {}), ca_dir=None), kept.clock),
        telemetry=telemetry,
        clock=kept.clock,
    )


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
