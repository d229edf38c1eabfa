"""Which files count, and that reading them is safe whatever they are."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from sidecar.policy.files import LARGEST_FILE_BYTES, find_files, read_file, read_policy, shipped_policies
from sidecar.policy.problem import PolicyProblem
from tests.policy.documents import ConfigMap


def names(*paths: Path) -> list[str]:
    return [file.name for file in find_files(paths).files]


def test_a_directory_is_its_yaml_files_by_name(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", "defaults.yaml", ".hidden.yaml", "readme.md", "schema.json"):
        (tmp_path / name).write_text("")
    (tmp_path / "sub.yaml").mkdir()
    assert names(tmp_path) == ["a.yml", "b.yaml", "defaults.yaml"]


def test_a_mounted_config_map_is_followed_and_counted_once(tmp_path: Path) -> None:
    data = tmp_path / "..2026_11_22"
    data.mkdir()
    (data / "a.yaml").write_text("a: 1\n")
    (tmp_path / "..data").symlink_to(data.name)
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    assert names(tmp_path) == ["a.yaml"]
    assert names(tmp_path, data, tmp_path / "a.yaml") == ["a.yaml"]


def test_a_file_brings_the_defaults_beside_it(tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_text("")
    (tmp_path / "defaults.yaml").write_text("")
    assert names(tmp_path / "a.conf") == ["defaults.yaml", "a.conf"]
    assert names(tmp_path / "defaults.yaml") == ["defaults.yaml"]


def test_paths_that_lead_nowhere_are_problems(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    found = find_files([tmp_path / "none", empty])
    assert found.files == {}
    assert [problem.text() for problem in found.problems] == [
        f"{tmp_path}/none:1:1: expected a readable file or directory, got no such file or directory, "
        "is it spelled right, and mounted?",
        f"{empty}:1:1: expected at least one *.yaml file, got an empty directory",
    ]


def test_a_config_map_that_is_not_there_is_asked_after(tmp_path: Path) -> None:
    """With `optional: true` the kubelet mounts an empty generation."""
    ConfigMap(tmp_path).publish()
    (problem,) = find_files([tmp_path]).problems
    assert problem.got == "an empty directory"
    assert problem.hint == "is the ConfigMap there, and has it a key that ends in .yaml?"


def test_a_config_map_without_a_policy_is_told_what_a_policy_is_called(tmp_path: Path) -> None:
    (tmp_path / "stripe.yaml.txt").write_text("")
    (tmp_path / "notes").write_text("")
    (problem,) = find_files([tmp_path]).problems
    assert problem.got == "none among 2"
    assert problem.hint == "policies end in .yaml, .yml, .yaml.gz or .yml.gz"


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"x")
    assert read_file(tmp_path / "a.yaml") == b"x"


def test_a_hundred_mebibytes_are_refused_unread(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    with file.open("wb") as sparse:
        sparse.truncate(100 * 1024 * 1024)
    problem = read_file(file)
    assert isinstance(problem, PolicyProblem)
    assert problem.expected == f"a file of at most {LARGEST_FILE_BYTES} bytes"
    assert problem.got == "104857600 bytes"


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.yaml")
    for path in (tmp_path / "a.yaml", tmp_path):
        problem = read_file(path)
        assert isinstance(problem, PolicyProblem)
        assert problem.expected in ("a regular file", "a readable file")


@pytest.mark.parametrize("name", ["a.yaml.gz", "a.yml.gz", "named.gz"])
def test_a_compressed_policy_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(b"provider: shop\n"))
    assert read_policy(tmp_path / name) == b"provider: shop\n"
    assert read_file(tmp_path / name) == (tmp_path / name).read_bytes()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (gzip.compress(b"a: 1\n")[:-5], "a whole gzip stream, got the beginning of one, compress it again: gzip -9n"),
        (gzip.compress(b"a: 1\n") + b"\0", "one gzip stream, got 1 bytes more behind it, compress it again: gzip -9n"),
        (b"a: 1\n", "gzip data, got something else, leave .gz out of its name"),
        (
            gzip.compress(bytes(LARGEST_FILE_BYTES + 1)),
            f"a file of at most {LARGEST_FILE_BYTES} bytes, got more, decompressed, is it a policy at all?",
        ),
    ],
    ids=["truncated", "trailing", "plain", "bomb"],
)
def test_what_cannot_be_decompressed_is_a_problem(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "a.yaml.gz").write_bytes(data)
    problem = read_policy(tmp_path / "a.yaml.gz")
    assert isinstance(problem, PolicyProblem)
    assert problem.text() == f"{tmp_path}/a.yaml.gz:1:1: expected {said}"


def test_as_much_as_may_be_read_may_be_compressed(tmp_path: Path) -> None:
    (tmp_path / "a.yaml.gz").write_bytes(gzip.compress(b"#" * LARGEST_FILE_BYTES))
    assert read_policy(tmp_path / "a.yaml.gz") == b"#" * LARGEST_FILE_BYTES


def test_compressed_data_under_another_name_is_told_its_own(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(gzip.compress(b"a: 1\n"))
    problem = read_policy(tmp_path / "a.yaml")
    assert isinstance(problem, PolicyProblem)
    assert problem.message == "expected YAML, got gzip data, end its name in .yaml.gz"


def test_of_a_config_map_the_generation_is_listed_and_not_the_links(tmp_path: Path) -> None:
    """Halfway through a swap the links still have the names of the old one."""
    mount = ConfigMap(tmp_path)
    mount.publish(kept="", gone="")
    swap = mount.swap(kept="", fresh="")
    for _ in range(2):
        next(swap)
    assert names(tmp_path) == ["fresh.yaml", "kept.yaml"]
    assert [place.parent.name for place in find_files([tmp_path]).files.values()] == ["..2026_2", "..2026_2"]


def test_a_file_beside_a_config_maps_is_a_policy_too(tmp_path: Path) -> None:
    ConfigMap(tmp_path).publish(a="")
    (tmp_path / "b.yaml").write_text("")
    assert names(tmp_path) == ["a.yaml", "b.yaml"]


def test_one_file_of_a_config_map_is_read_from_its_generation(tmp_path: Path) -> None:
    ConfigMap(tmp_path).publish(a="", defaults="")
    found = find_files([tmp_path / "a.yaml"])
    data = tmp_path / "..2026_1"
    assert found.files == {
        tmp_path / "defaults.yaml": data / "defaults.yaml",
        tmp_path / "a.yaml": data / "a.yaml",
    }
    assert found.generations


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_a_problem(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("")
    file.chmod(0)
    problem = read_file(file)
    assert isinstance(problem, PolicyProblem)
    assert problem.got == "permission denied"


def test_an_unreadable_file_is_a_problem_for_root_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    problem = read_file(tmp_path / "a.yaml")
    assert isinstance(problem, PolicyProblem)
    assert problem.got == "permission denied"


def test_the_shipped_packs_are_found() -> None:
    assert (shipped_policies() / "stripe.yaml").is_file()
