"""The demo's policy is one that the daemon takes, at every speed."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.demo.policy import PROVIDER, policy_for
from sidecar.demo.script import Tempo
from sidecar.policy.sources import load_policies


@pytest.mark.parametrize("speed", [0.5, 1.0, 5.0, 10.0])
def test_it_is_fit(tmp_path: Path, speed: float) -> None:
    (tmp_path / "acme.yaml").write_text(policy_for(4242, Tempo(speed)))
    loaded = load_policies([tmp_path])
    assert loaded.problems == ()
    [policy] = loaded.providers
    assert policy.provider == PROVIDER
    assert str(policy.upstream) == "http://127.0.0.1:4242"
    assert [route.name for route in policy.routes] == ["get-product", "get-rates", "create-order"]


def test_times_run_with_the_story(tmp_path: Path) -> None:
    found = []
    for speed in (1.0, 2.0):
        (tmp_path / "acme.yaml").write_text(policy_for(4242, Tempo(speed)))
        [policy] = load_policies([tmp_path]).providers
        assert policy.timeouts is not None
        found.append(policy.timeouts.attempt)
    assert found == [0.4, 0.2]
