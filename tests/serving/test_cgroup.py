"""How much memory a container may have: as both versions of control groups write it down."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.serving.cgroup import MemoryGroup, find_memory_group, parse_groups, parse_limit, parse_stat

MIB = 1024 * 1024
NO_LIMIT = "9223372036854771712\n"
V1_GROUPS = "9:name=systemd:/x\n4:cpu,memory:/kubepods/pod1/c1\n0::/\n"
V2_GROUPS = "0::/kubepods.slice/pod1/c1\n"


class Machine:
    """The files that a kernel would show."""

    def __init__(self, home: Path) -> None:
        self.root = home / "cgroup"
        self.own = home / "own"

    def write(self, directory: str, **files: str) -> Path:
        place = self.root / directory
        place.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (place / name.replace("__", ".")).write_text(text)
        return place

    def find(self, groups: str) -> MemoryGroup | None:
        self.own.write_text(groups)
        return find_memory_group(self.root, self.own)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_version_2_in_a_container_that_sees_only_itself(machine: Machine) -> None:
    stat = "anon 100\ninactive_file 3000000\nactive_file 7\n"
    machine.write(".", memory__max="268435456\n", memory__current="53000000\n", memory__stat=stat)
    group = machine.find("0::/\n")

    assert group is not None
    assert group.limit_bytes == 256 * MIB
    assert group.used_bytes() == 50_000_000


def test_version_1_where_the_mount_is_the_container_itself(machine: Machine) -> None:
    stat = "inactive_file 1\ntotal_inactive_file 3000000\n"
    machine.write(
        "memory", memory__limit_in_bytes="134217728\n", memory__usage_in_bytes="53000000\n", memory__stat=stat
    )
    group = machine.find(V1_GROUPS)

    assert group is not None
    assert (group.limit_bytes, group.used_bytes()) == (128 * MIB, 50_000_000)


def test_the_limit_that_is_met_first_counts(machine: Machine) -> None:
    machine.write(".")
    machine.write("kubepods.slice", memory__max="max\n")
    pod = machine.write("kubepods.slice/pod1", memory__max="100000000\n")
    machine.write("kubepods.slice/pod1/c1", memory__max="200000000\n")
    group = machine.find(V2_GROUPS)

    assert group is not None
    assert (group.directory, group.limit_bytes) == (pod, 100_000_000)


@pytest.mark.parametrize("groups", [V1_GROUPS, V2_GROUPS, "", "nonsense\n::\n4:memory\n", "0::/../../x\n"])
def test_without_a_limit_there_is_none(machine: Machine, groups: str) -> None:
    machine.write(".", memory__max="max\n")
    machine.write("memory", memory__limit_in_bytes=NO_LIMIT)

    assert machine.find(groups) is None


def test_without_control_groups_there_is_none(tmp_path: Path) -> None:
    assert find_memory_group(tmp_path / "none", tmp_path / "neither") is None


def test_this_machines_own_files_are_understood() -> None:
    group = find_memory_group()

    assert group is None or 0 < group.used_bytes() <= group.limit_bytes * 2


@pytest.mark.parametrize(
    ("text", "limit"),
    [("1048576\n", 1048576), ("0\n", 0), ("max\n", None), (NO_LIMIT, None), ("", None), ("-1\n", None), ("1e9", None)],
)
def test_limits(text: str, limit: int | None) -> None:
    assert parse_limit(text) == limit


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    limit = parse_limit(text)
    assert limit is None or limit >= 0
    assert all(".." not in str(mount) for mount, _, _ in parse_groups(text))


def test_a_row_that_is_not_there_is_zero() -> None:
    assert parse_stat("anon 5\ninactive_file_x 7\n", "inactive_file") == 0
