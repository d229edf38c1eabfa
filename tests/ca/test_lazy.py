"""A daemon that starts by its record: nothing is read or made as long as all is as it says, and nothing goes unseen."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.authority import hardening
from sidecar.authority import lazy as module
from sidecar.authority.ca import pem
from sidecar.authority.lazy import LazyAuthority
from sidecar.authority.making import Making, Report
from sidecar.authority.record import RECORD_FILE, Places, Record
from sidecar.errors import SettingsError
from tests.ca.pki import DAY_S, HOSTS, Pod, key_pem, leaf_of, make_authority, verifies

HEAVY = ("cryptography", "ctypes")
START = """
import json, sys, time
from pathlib import Path
from sidecar.authority.lazy import LazyAuthority
from sidecar.authority.record import Places

class Clock:
    def wall(self):
        return float(sys.argv[2])

def heavy():
    return [name for name in sys.argv[3:] if name in sys.modules]

root = Path(sys.argv[1])
authority = LazyAuthority.open(Places(root / "state", root / "shared"), ["api.stripe.com", "*.salesforce.com"], Clock())
authority.tick()
authority.adopt(["api.stripe.com"])
told = [authority.context_for("other.example"), authority.context_for("10.0.0.1"), authority.late("api.stripe.com")]
told += [len(authority.certificates()), authority.expires_in_s() > 0]
before = heavy()
opened = authority.context_for("api.stripe.com") is not None
print(json.dumps({"told": told, "before": before, "opened": opened, "after": heavy()}))
"""


@pytest.fixture(autouse=True)
def _dumps_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """What forbids them holds for a whole process, and so for the other tests."""
    monkeypatch.setattr(hardening, "no_core_dumps", lambda: True)


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[Making]:
    """Every child that was started."""
    started: list[Making] = []

    def making(*args: Any) -> Making:
        started.append(Making(*args))
        return started[-1]

    monkeypatch.setattr(module, "Making", making)
    return started


def begin(pod: Pod, *hosts: str, **options: Any) -> LazyAuthority:
    pod.state.mkdir(exist_ok=True)
    return LazyAuthority.open(Places(pod.state, pod.ca_dir, **options), hosts or HOSTS, pod.clock)


def finish(authority: LazyAuthority) -> None:
    """Until what is being made is in force."""

    def is_over() -> bool:
        authority.tick()
        return not authority.is_making

    until(is_over)


def until(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come about"
        threading.Event().wait(0.01)


def presents(pod: Pod, authority: LazyAuthority, name: str) -> bool:
    """Whether it has a leaf for `name` that an application accepts."""
    context = authority.context_for(name)
    return context is not None and verifies(leaf_of(context, name), pod.ca_file, name)


# Starts.


def test_a_process_that_finds_all_in_order_imports_nothing_until_it_must(pod: Pod) -> None:
    pod.open()
    files = {path: path.stat().st_mtime_ns for path in (*pod.state.iterdir(), *pod.ca_dir.iterdir())}
    command = [sys.executable, "-c", START, str(pod.root), str(pod.clock.wall()), *HEAVY]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "told": [None, None, False, 1, True],
        "before": [],
        "opened": True,
        "after": list(HEAVY),
    }
    assert {path: path.stat().st_mtime_ns for path in files} == files


def test_the_first_start_makes_everything_in_a_child(pod: Pod, children: list[Making]) -> None:
    busy: list[str] = []
    pod.state.mkdir()
    authority = LazyAuthority.open(
        Places(pod.state, pod.ca_dir), HOSTS, pod.clock, meanwhile=lambda: busy.append("meanwhile")
    )
    assert (len(children), busy) == (1, ["meanwhile"])
    assert not authority.is_making
    assert authority.expires_in_s() == pytest.approx(30 * DAY_S, abs=2)
    assert authority.certificates() == pod.open().certificates()
    assert presents(pod, authority, "api.stripe.com")
    assert authority.context_for("other.example") is None


def test_a_start_as_before_makes_nothing(pod: Pod, children: list[Making]) -> None:
    pod.open()
    before = pod.ca_file.read_bytes()
    authority = begin(pod)
    assert children == []
    assert presents(pod, authority, "na1.salesforce.com")
    assert pod.ca_file.read_bytes() == before


def test_what_is_published_is_mended_without_a_child(pod: Pod, children: list[Making]) -> None:
    pod.open()
    good = pod.ca_file.read_bytes()
    pod.ca_file.unlink()
    authority = begin(pod)
    assert pod.ca_file.read_bytes() == good
    (pod.ca_dir / "bundle.crt").write_bytes(b"")
    authority.tick()
    assert (pod.ca_dir / "bundle.crt").read_bytes().endswith(good)
    assert children == []


DAMAGES: dict[str, Callable[[Pod], object]] = {
    "no record": lambda pod: (pod.state / RECORD_FILE).unlink(),
    "half a record": lambda pod: os.truncate(pod.state / RECORD_FILE, 200),
    "a record of somebody's": lambda pod: (pod.state / RECORD_FILE).write_text('{"version": 1, "record": []}'),
    "no text": lambda pod: (pod.state / RECORD_FILE).write_bytes(b"\xff\x00"),
    "an altered record": lambda pod: alter(pod.state / RECORD_FILE, '"api.stripe.com"', '"evil.example"'),
    "no key": lambda pod: pod.key_file.unlink(),
    "a damaged key": lambda pod: pod.key_file.write_bytes(b"x"),
    "a key that others may read": lambda pod: pod.key_file.chmod(0o640),
    "no certificate": lambda pod: (pod.state / "ca.crt").unlink(),
    "a damaged certificate": lambda pod: (pod.state / "ca.crt").write_bytes(b"x"),
    "time for the next": lambda pod: pod.clock.advance(21 * DAY_S),
    "an end": lambda pod: pod.clock.advance(31 * DAY_S),
    "a clock set back": lambda pod: pod.clock.advance(-DAY_S),
}


def alter(path: Path, before: str, after: str) -> None:
    path.write_text(path.read_text().replace(before, after))


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_not_as_recorded_is_looked_into_by_a_child(pod: Pod, children: list[Making], damage: str) -> None:
    pod.open()
    DAMAGES[damage](pod)
    authority = begin(pod)
    assert len(children) == 1
    assert authority.context_for("api.stripe.com") is not None
    assert pod.key_file.stat().st_mode & 0o777 == 0o600
    begin(pod)
    assert len(children) == 1


def test_a_host_that_the_certificate_does_not_permit_is_certified_by_a_child(pod: Pod, children: list[Making]) -> None:
    pod.open()
    authority = begin(pod, *HOSTS, "new.example")
    assert len(children) == 1
    assert presents(pod, authority, "new.example")
    assert authority.late("new.example")


def test_what_the_child_says_is_in_our_log(pod: Pod, caplog: pytest.LogCaptureFixture) -> None:
    pod.open()
    pod.key_file.write_bytes(b"x")
    caplog.set_level(logging.INFO)
    begin(pod)
    lines = [line for line in caplog.records if line.levelno == logging.WARNING]
    assert [(line.name, vars(line)["file"]) for line in lines] == [
        ("sidecar.authority.own", "ca.key"),
        ("sidecar.authority.own", "ca.crt"),
    ]
    assert all("a new one is made" in line.getMessage() for line in lines)


def test_a_child_that_fails_is_a_settings_error_in_its_words(pod: Pod) -> None:
    (pod.root / "state").mkdir()
    (pod.state / "ca.crt").mkdir()
    with pytest.raises(SettingsError, match=r"^--state / SIDECAR_STATE: expected a directory in which the authority"):
        begin(pod)


def test_a_child_that_dies_is_a_settings_error(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(SettingsError, match=r"could not be made \(exit code 1\)"):
        begin(pod)


def test_a_directory_that_cannot_be_written_needs_no_child(pod: Pod, children: list[Making]) -> None:
    pod.ca_dir.write_bytes(b"a file")
    with pytest.raises(SettingsError, match=r"^--ca-dir / SIDECAR_CA_DIR: expected a directory"):
        begin(pod)
    assert children == []


# Meanwhile.


def test_a_reload_within_the_constraint_needs_nothing(pod: Pod, children: list[Making]) -> None:
    authority = begin(pod)
    authority.adopt(["na1.salesforce.com"])
    assert len(children) == 1
    assert not authority.is_making
    assert authority.context_for("api.stripe.com") is None
    assert presents(pod, authority, "na1.salesforce.com")


def test_a_reload_that_adds_a_host_has_it_certified_behind_our_back(pod: Pod, children: list[Making]) -> None:
    pod.open()
    authority = begin(pod)
    authority.adopt([*HOSTS, "new.example"])
    assert (authority.is_making, len(children)) == (True, 1)
    authority.adopt([*HOSTS, "new.example"])
    finish(authority)
    assert len(children) == 1
    assert [row["published"] for row in authority.certificates()] == [True, False]
    assert presents(pod, authority, "new.example")


def test_who_calls_a_new_host_at_once_does_not_go_past_its_policy(pod: Pod, children: list[Making]) -> None:
    pod.open()
    authority = begin(pod)
    authority.adopt([*HOSTS, "new.example"])
    assert presents(pod, authority, "new.example")
    assert (authority.is_making, len(children)) == (False, 1)


def test_a_certificate_past_its_time_is_renewed_by_a_child(pod: Pod, children: list[Making]) -> None:
    pod.open()
    authority = begin(pod)
    pod.clock.advance(20 * DAY_S + 1)
    authority.tick()
    assert authority.is_making
    finish(authority)
    assert len(children) == 1
    assert authority.expires_in_s() == pytest.approx(30 * DAY_S, abs=2)
    authority.tick()
    assert not authority.is_making


def test_a_child_that_fails_later_is_said_once_and_what_is_in_force_stays(
    pod: Pod, children: list[Making], caplog: pytest.LogCaptureFixture
) -> None:
    pod.open()
    authority = begin(pod)
    record = (pod.state / RECORD_FILE).read_bytes()
    (pod.state / "ca.crt").unlink()
    (pod.state / "ca.crt").mkdir()
    for _ in range(2):
        authority.tick()
        until(lambda: children[-1].is_over)
        authority.tick()
    assert len(children) == 2
    assert caplog.text.count("could not be brought up to date") == 1
    assert authority.trouble
    assert (pod.state / RECORD_FILE).read_bytes() == record
    (pod.state / "ca.crt").rmdir()
    finish(authority)
    assert presents(pod, authority, "api.stripe.com")


def test_a_key_that_cannot_be_read_when_it_is_needed_is_said(pod: Pod, caplog: pytest.LogCaptureFixture) -> None:
    pod.open()
    authority = begin(pod)
    pod.key_file.unlink()
    pod.key_file.mkdir()
    assert authority.context_for("api.stripe.com") is None
    assert "could not be brought up to date" in caplog.text
    pod.key_file.rmdir()
    assert authority.context_for("api.stripe.com") is not None


def test_once_it_signs_it_makes_things_itself(pod: Pod, children: list[Making]) -> None:
    pod.open()
    authority = begin(pod)
    assert presents(pod, authority, "api.stripe.com")
    authority.adopt([*HOSTS, "new.example"])
    assert presents(pod, authority, "new.example")
    pod.clock.advance(21 * DAY_S)
    authority.tick()
    assert authority.expires_in_s() == pytest.approx(30 * DAY_S, abs=2)
    assert authority.late("never.example")
    begin(pod, *HOSTS, "new.example")
    assert children == []


# Supplied.


def supply(pod: Pod, **options: Any) -> dict[str, Path]:
    made = make_authority(**options)
    files = {"cert_file": pod.root / "tls.crt", "key_file": pod.root / "tls.key"}
    files["key_file"].write_bytes(key_pem(made.key))
    files["cert_file"].write_bytes(pem([made.certificate]))
    return files


def test_a_supplied_one_is_recorded_too_and_read_when_it_was_replaced(pod: Pod, children: list[Making]) -> None:
    files = supply(pod)
    assert begin(pod, **files).supplied
    authority = begin(pod, **files)
    assert len(children) == 1
    published = pod.ca_file.read_bytes()
    supply(pod)
    authority.tick()
    finish(authority)
    assert pod.ca_file.read_bytes() != published
    assert presents(pod, authority, "api.stripe.com")


def test_a_bad_replacement_is_never_in_force(pod: Pod, caplog: pytest.LogCaptureFixture) -> None:
    files = supply(pod)
    authority = begin(pod, **files)
    assert presents(pod, authority, "api.stripe.com")
    files["cert_file"].write_bytes(b"x")
    authority.tick()
    authority.tick()
    assert presents(pod, authority, "api.stripe.com")
    with pytest.raises(SettingsError, match=r"^--ca-cert / SIDECAR_CA_CERT: expected a file of PEM certificates"):
        begin(pod, **files)


def test_the_other_kind_of_authority_does_not_go_by_our_record(pod: Pod, children: list[Making]) -> None:
    begin(pod)
    files = supply(pod)
    assert begin(pod, **files).supplied
    assert not begin(pod).supplied
    assert len(children) == 3
    with pytest.raises(SettingsError, match="expected both or neither"):
        begin(pod, cert_file=files["cert_file"])


def test_forbidden_hosts_are_warned_of_at_each_start(pod: Pod, caplog: pytest.LogCaptureFixture) -> None:
    files = supply(pod, permitted=["stripe.com"])
    for _ in range(2):
        authority = begin(pod, **files)
    assert [vars(line)["hosts"] for line in caplog.records if "does not permit" in line.getMessage()] == [
        "salesforce.com",
        "salesforce.com",
    ]
    assert authority.context_for("na1.salesforce.com") is None
    assert presents(pod, authority, "api.stripe.com")


def test_the_key_is_in_neither_record_nor_order_nor_report(pod: Pod, children: list[Making]) -> None:
    begin(pod)
    secret = "".join(pod.key_file.read_text().splitlines()[1:-1])
    text = (pod.state / RECORD_FILE).read_text()
    assert "PRIVATE" not in text
    assert not any(secret[at : at + 16] in text for at in range(0, len(secret) - 16, 16))
    assert (pod.state / RECORD_FILE).stat().st_mode & 0o777 == 0o600
    (child,) = children
    assert isinstance(child._process.args, list)
    assert child._process.args[1:] == ["-P", "-m", "sidecar.authority"]


def test_a_record_of_another_version_is_none(pod: Pod) -> None:
    pod.open()
    assert Record.read(pod.state) is not None
    alter(pod.state / RECORD_FILE, '"version": 1', '"version": 2')
    assert Record.read(pod.state) is None


def test_a_child_that_hangs_is_ended(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    pod.state.mkdir()
    slow = pod.root / "slow"
    slow.write_text("#!/bin/sh\nexec cat /dev/zero >/dev/null\n")
    slow.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(slow))
    monkeypatch.setattr("sidecar.authority.making.LONGEST_S", 0.05)
    with pytest.raises(SettingsError, match="could not be made within"):
        begin(pod)


def test_a_report_is_relayed_as_it_was_said(caplog: pytest.LogCaptureFixture) -> None:
    line = {"logger": "sidecar.authority.own", "level": logging.WARNING, "message": "a 100% sure thing", "extra": {}}
    Report("", [line]).relay()
    assert caplog.messages == ["a 100% sure thing"]
