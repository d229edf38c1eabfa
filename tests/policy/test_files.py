"""Which files count, and that reading them is safe whatever they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sidecar.policy.files import LARGEST_FILE_BYTES, find_files, read_file, shipped_policies
from sidecar.policy.problem import PolicyProblem


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
    assert found.files == ()
    assert [problem.text() for problem in found.problems] == [
        f"{tmp_path}/none:1:1: expected a readable file or directory, got no such file or directory",
        f"{empty}:1:1: expected at least one *.yaml file, got an empty directory",
    ]


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
