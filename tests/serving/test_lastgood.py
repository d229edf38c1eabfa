"""What a restart finds of the policies that were in force, and when it had better find nothing."""

from __future__ import annotations

import gzip
import logging
import tempfile
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.policy.sources import LoadedPolicies, load_policies
from sidecar.serving.lastgood import POLICIES_FILE, LastGood
from tests.policy.documents import ConfigMap, write

ONE = "provider: one\nhosts: [one.com]\nabout: {owner: Zoë}\n"
TWO = "provider: two\nhosts: [two.com]\n"


class Process:
    """What one process does with its state directory."""

    def __init__(self, home: Path, *paths: str) -> None:
        self.state = home / "state"
        self.state.mkdir(exist_ok=True)
        self.paths = [home / path for path in paths or ("policies",)]
        self.last_good = LastGood(self.state, self.paths)

    @property
    def file(self) -> Path:
        return self.state / POLICIES_FILE

    def keep(self) -> LoadedPolicies:
        loaded = load_policies(self.paths)
        assert not loaded.problems
        self.last_good.keep(loaded)
        return loaded

    def recalled(self) -> list[str]:
        found = self.last_good.recall()
        return [] if found is None else [policy.provider for policy in found.providers]


def test_a_restart_finds_the_same_set(tmp_path: Path) -> None:
    write(tmp_path / "policies", one=ONE, defaults="retry: {attempts: 9}\n")
    (tmp_path / "policies" / "two.yaml.gz").write_bytes(gzip.compress(TWO.encode()))
    kept = Process(tmp_path).keep()
    found = Process(tmp_path).last_good.recall()

    assert found is not None
    assert (found.digest, found.providers, found.problems) == (kept.digest, kept.providers, ())
    assert Process(tmp_path).file.stat().st_mode & 0o777 == 0o600
    assert Process(tmp_path).last_good.trouble == ""


def test_it_is_found_for_the_same_paths_only(tmp_path: Path) -> None:
    write(tmp_path / "policies", one=ONE)
    Process(tmp_path).keep()
    assert Process(tmp_path).recalled() == ["one"]
    assert Process(tmp_path, "policies", "more").recalled() == []


def test_nothing_is_found_where_nothing_was_kept(tmp_path: Path) -> None:
    assert Process(tmp_path).recalled() == []


def test_a_file_that_broke_meanwhile_stays_as_it_was_kept(tmp_path: Path) -> None:
    """The set in force has its last good version; on disk there is none any more."""
    directory = write(tmp_path / "policies", one=ONE, two=TWO)
    process = Process(tmp_path)
    loaded = process.keep()
    write(directory, one="provider: [", two=TWO.replace("two.com", "duo.com"))
    process.last_good.keep(load_policies(process.paths, loaded))

    found = Process(tmp_path).last_good.recall()
    assert found is not None
    assert {policy.provider: policy.hosts[0] for policy in found.providers} == {"one": "one.com", "two": "duo.com"}


def test_a_swap_between_loading_and_keeping_leaves_what_was_kept(tmp_path: Path) -> None:
    mount = ConfigMap(tmp_path / "policies")
    mount.publish(one=ONE)
    process = Process(tmp_path)
    process.keep()
    mount.publish(one=ONE.replace("one.com", "uno.com"))
    loaded = load_policies(process.paths)
    mount.publish(one=ONE.replace("one.com", "eins.com"))
    process.last_good.keep(loaded)

    found = Process(tmp_path).last_good.recall()
    assert found is not None
    assert found.providers[0].hosts == ("one.com",)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"files": []},
        {"files": {"policies/one.yaml": 7}},
        {"files": {}},
        {"files": {"policies/one.yaml": "provider: [\n"}},
    ],
    ids=["newer", "no-mapping", "no-text", "empty", "unfit-by-now"],
)
def test_what_is_of_no_use_is_not_found(tmp_path: Path, change: dict[str, Any]) -> None:
    write(tmp_path / "policies", one=ONE)
    process = Process(tmp_path)
    process.keep()
    process.file.write_bytes(orjson.dumps(orjson.loads(process.file.read_bytes()) | change))
    assert process.recalled() == []


@given(st.binary(max_size=200) | st.recursive(st.none() | st.text(), st.lists, max_leaves=4).map(orjson.dumps))
def test_whatever_stands_there_instead_is_nothing(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as home:
        process = Process(Path(home))
        process.file.write_bytes(data)
        assert process.recalled() == []


def test_what_cannot_be_written_is_a_trouble_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "policies", one=ONE)
    process = Process(tmp_path)
    process.state.rmdir()
    with caplog.at_level(logging.WARNING, "sidecar.serving.lastgood"):
        process.keep()
        process.keep()
    assert process.last_good.trouble == "no such file or directory"
    assert [record.levelname for record in caplog.records] == ["WARNING"]

    process.state.mkdir()
    process.keep()
    assert process.last_good.trouble == ""
