"""Files of fallbacks: found beside the policy that names them, read with it, and read again when they change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sidecar.policy.attached import read_attached
from sidecar.policy.bodies import FileBody
from sidecar.policy.files import LARGEST_FILE_BYTES
from sidecar.policy.model import Settings
from sidecar.policy.sources import LoadedPolicies, load_policies
from sidecar.policy.units import NotUnderstood
from tests.policy.documents import load, texts, write

ACME = "provider: acme\nhosts: [api.acme.com]\n"


def bodies(settings: Settings) -> list[FileBody | None]:
    return [rung.file for rung in settings.fallback or ()]


def data_of(loaded: LoadedPolicies) -> bytes:
    (body,) = bodies(loaded.providers[0])
    assert body is not None
    return body.data


def test_a_file_is_found_from_the_policy_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "replies").mkdir()
    (tmp_path / "replies" / "a.json").write_bytes(b"[]")
    loaded = load(
        tmp_path,
        defaults="fallback: [{file: replies/a.json}]\n",
        acme=f"{ACME}routes: [{{name: a, match: {{}}, fallback: [{{file: ./replies/../replies/a.json}}]}}]\n",
    )
    assert loaded.problems == ()
    (policy,) = loaded.providers
    expected = [FileBody(str(tmp_path / "replies" / "a.json"), b"[]")]
    assert bodies(policy) == bodies(policy.routes[0]) == expected


def test_one_that_is_missing_is_a_problem_with_its_line(tmp_path: Path) -> None:
    loaded = load(tmp_path, acme=f"{ACME}fallback:\n  - file: nowhere.json\n")
    (problem,) = texts(loaded, tmp_path)
    assert problem.startswith("acme.yaml:4:11: fallback[0].file: expected a readable file of at most 1MiB, got ")
    assert problem.endswith(", nowhere.json: no such file or directory")
    assert loaded.providers == ()


def test_one_that_is_no_file_or_too_large_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    large = tmp_path / "large"
    large.write_bytes(b"x" * LARGEST_FILE_BYTES)
    assert len(read_attached(str(large))) == LARGEST_FILE_BYTES
    large.write_bytes(b"x" * (LARGEST_FILE_BYTES + 1))
    for name in ("fifo", "large", "."):
        with pytest.raises(NotUnderstood, match="a readable file of at most 1MiB"):
            read_attached(str(tmp_path / name))


def test_a_reload_reads_it_again_though_the_policy_is_the_same(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"one")
    directory = write(tmp_path, acme=f"{ACME}fallback: [{{file: a.txt}}]\n")
    first = load_policies([directory])
    assert load_policies([directory], first).made == first.made
    file.write_bytes(b"other")
    second = load_policies([directory], first)
    assert (data_of(first), data_of(second)) == (b"one", b"other")


@pytest.mark.parametrize("inherited", [False, True])
def test_a_file_that_is_gone_at_a_reload_keeps_what_was_read_and_holds_up_nobody_else(
    tmp_path: Path, inherited: bool
) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"one")
    other = "provider: other\nhosts: [other.com]\n"
    fallback = "fallback: [{file: a.txt}]\n"
    files = {"defaults": fallback, "acme": ACME} if inherited else {"acme": ACME + fallback}
    directory = write(tmp_path, other=f"{other}fallback: off\n", **files)
    loaded = load_policies([directory])
    file.unlink()
    write(tmp_path, other=f"{other}fallback: off\nretry: off\n")
    loaded = load_policies([directory], loaded)
    assert [problem.key for problem in loaded.problems] == ["fallback[0].file"]
    assert data_of(loaded) == b"one"
    assert loaded.providers[1].retry is None
    loaded = load_policies([directory], loaded)
    assert len(loaded.problems) == 1, "it is still gone"
    file.write_bytes(b"back")
    loaded = load_policies([directory], loaded)
    assert (loaded.problems, data_of(loaded)) == ((), b"back")


def test_one_that_comes_back_as_it_was_is_no_problem_any_more(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"one")
    directory = write(tmp_path, acme=f"{ACME}fallback: [{{file: a.txt}}]\n")
    loaded = load_policies([directory])
    file.rename(tmp_path / "away")
    loaded = load_policies([directory], loaded)
    assert len(loaded.problems) == 1
    (tmp_path / "away").rename(file)
    loaded = load_policies([directory], loaded)
    assert (loaded.problems, data_of(loaded)) == ((), b"one")


def test_defaults_on_their_own_are_checked_as_well(tmp_path: Path) -> None:
    (problem,) = texts(load(tmp_path, defaults="fallback: [{file: nowhere}]\n"), tmp_path)
    assert problem.endswith("nowhere: no such file or directory")
