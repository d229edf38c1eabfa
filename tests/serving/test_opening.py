"""The authority of one process: made once a policy has a host to open, and kept up to date."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.authority import hardening
from sidecar.errors import SettingsError
from sidecar.policy.model import ProviderPolicy
from sidecar.policy.sources import LoadedPolicies
from sidecar.serving import opening as module
from sidecar.serving.opening import SOON_S, TICK_S, Opening, hosts_to_open
from sidecar.serving.watching import watch_authority
from sidecar.settings import read_settings
from sidecar.telemetry.instruments import Meters
from tests.fakes import FakeClock
from tests.telemetry.test_calls import points


@pytest.fixture(autouse=True)
def _dumps_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """What forbids them holds for a whole process, and so for the other tests."""
    monkeypatch.setattr(hardening, "no_core_dumps", lambda: True)
    monkeypatch.setattr(hardening, "no_core_files", lambda: None)


def policies(*hosts: str, intercept: str = "on") -> LoadedPolicies:
    """One policy a host."""
    return LoadedPolicies(
        tuple(
            ProviderPolicy.model_validate({"provider": f"p{number}", "hosts": [host], "intercept": intercept})
            for number, host in enumerate(hosts)
        )
    )


class Home:
    """A process's directories, and its opening."""

    def __init__(self, home: Path, ca_dir: Path | None) -> None:
        self.state = home / "state"
        self.state.mkdir()
        self.clock = FakeClock()
        self.opening = Opening(replace(read_settings({}, {}), state=self.state, ca_dir=ca_dir), self.clock)

    def signs_for(self, host: str) -> bool:
        authority = self.opening.authority
        return authority is not None and authority.context_for(host) is not None


def test_with_the_setting_off_nothing_is_made(tmp_path: Path) -> None:
    home = Home(tmp_path, None)
    home.opening.open(policies("api.acme.test"))
    home.opening.adopt(policies("api.acme.test", "new.acme.test"))
    assert home.opening.authority is None
    assert (list(home.state.iterdir()), home.clock.pending) == ([], 0)


@pytest.mark.parametrize("loaded", [LoadedPolicies(), policies("api.acme.test", intercept="off")])
def test_without_a_host_to_open_nothing_is_made(tmp_path: Path, loaded: LoadedPolicies) -> None:
    home = Home(tmp_path, tmp_path / "ca")
    home.opening.open(loaded)
    assert home.opening.authority is None
    assert (list(home.state.iterdir()), (tmp_path / "ca").exists(), home.clock.pending) == ([], False, 0)


def test_an_authority_is_opened_and_published(tmp_path: Path) -> None:
    home = Home(tmp_path, tmp_path / "ca")
    home.opening.open(policies("api.acme.test"))
    assert home.signs_for("api.acme.test")
    assert not home.signs_for("other.test")
    assert {"ca.crt", "bundle.crt"} <= {path.name for path in (tmp_path / "ca").iterdir()}


def test_where_the_usual_directory_cannot_be_had_the_state_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    usual = in_the_way / "ca"
    monkeypatch.setattr(module, "USUAL_CA_DIR", str(usual))
    home = Home(tmp_path, usual)
    home.opening.open(policies("api.acme.test"))
    assert home.signs_for("api.acme.test")
    assert (home.state / "ca" / "bundle.crt").exists()


def test_a_chosen_directory_must_be_had(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    home = Home(tmp_path, in_the_way / "ca")
    with pytest.raises(SettingsError, match="expected a directory that can be written"):
        home.opening.open(policies("api.acme.test"))
    assert home.opening.authority is None
    assert not (home.state / "ca").exists()


def test_a_reload_adds_hosts(tmp_path: Path) -> None:
    home = Home(tmp_path, tmp_path / "ca")
    home.opening.open(policies("api.acme.test"))
    before = home.opening.authority
    home.opening.adopt(policies("api.acme.test", "new.acme.test"))
    assert home.opening.authority is before
    assert home.signs_for("new.acme.test")
    home.opening.adopt(policies("new.acme.test"))
    assert not home.signs_for("api.acme.test")


def test_a_reload_that_brings_the_first_host_opens(tmp_path: Path) -> None:
    home = Home(tmp_path, tmp_path / "ca")
    home.opening.open(LoadedPolicies())
    home.opening.adopt(policies("api.acme.test"))
    assert home.signs_for("api.acme.test")
    assert home.clock.pending == 1


def test_a_reload_that_cannot_open_is_said_and_the_next_one_tries_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    home = Home(tmp_path, in_the_way / "ca")
    with caplog.at_level(logging.ERROR, "sidecar.serving.opening"):
        home.opening.adopt(policies("api.acme.test"))
    assert home.opening.authority is None
    (line,) = caplog.records
    assert "--ca-dir" in vars(line)["reason"]
    in_the_way.unlink()
    home.opening.adopt(policies("api.acme.test"))
    assert home.signs_for("api.acme.test")


def test_once_a_minute_what_is_published_is_mended(tmp_path: Path) -> None:
    home = Home(tmp_path, tmp_path / "ca")
    home.opening.open(policies("api.acme.test"))
    bundle = tmp_path / "ca" / "bundle.crt"
    published = bundle.read_bytes()
    for _ in range(2):
        bundle.unlink()
        home.clock.advance(TICK_S - 1)
        assert not bundle.exists()
        home.clock.advance(1)
        assert bundle.read_bytes() == published


def test_what_a_reload_needs_is_made_and_taken_over_soon(tmp_path: Path) -> None:
    home = Home(tmp_path, tmp_path / "ca")
    home.opening.open(policies("api.acme.test"))
    home.opening.adopt(policies("api.acme.test", "new.acme.test"))
    deadline_s = time.monotonic() + 30
    while [row["published"] for row in home.opening.as_json()["certificates"]] != [True, False]:
        assert time.monotonic() < deadline_s, "it was not taken over"
        home.clock.advance(SOON_S)
        threading.Event().wait(0.01)
    assert home.clock.pending == 1
    assert home.signs_for("new.acme.test")


def test_who_signs_is_told_and_measured(tmp_path: Path) -> None:
    home, meters = Home(tmp_path, tmp_path / "ca"), Meters()
    watch_authority(meters, home.opening)
    assert points(meters, "sidecar.authority.expiry") == {}
    home.opening.open(policies("api.acme.test"))
    home.clock.advance(0.5)

    told = home.opening.as_json()
    (row,) = told.pop("certificates")
    left_s = 30 * 86400.0 - 0.5
    assert told == {"kind": "own", "directory": str(tmp_path / "ca"), "expires_in_s": left_s}
    assert (row["permitted"], row["published"]) == (["api.acme.test"], True)
    assert points(meters, "sidecar.authority.expiry") == {(): left_s}


def test_the_names_are_each_there_once_and_without_ports() -> None:
    loaded = policies("api.acme.test", "*.acme.test", "api.acme.test:8443")
    assert hosts_to_open(loaded) == ["api.acme.test", "*.acme.test"]
    assert hosts_to_open(policies("api.acme.test", intercept="off")) == []
