"""A mounted ConfigMap's generations, at each of the steps in which the kubelet swaps them."""

from __future__ import annotations

from pathlib import Path

from sidecar.policy.volume import beside, contents, generations, is_published
from tests.policy.documents import ConfigMap


def test_an_ordinary_directory_has_none(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("")
    assert contents(tmp_path) is None
    assert generations([tmp_path, tmp_path / "none"]) == ()
    assert not is_published(tmp_path / "a.yaml")


def test_a_volume_has_one_at_a_time(tmp_path: Path) -> None:
    mount = ConfigMap(tmp_path)
    mount.publish(a="a: 1\n")
    assert contents(tmp_path) == tmp_path / "..2026_1"
    assert is_published(tmp_path / "a.yaml")
    assert generations([tmp_path]) == ((str(tmp_path), str(tmp_path / "..2026_1"), "a.yaml"),)


def test_what_a_file_names_is_beside_it(tmp_path: Path) -> None:
    mount = ConfigMap(tmp_path)
    mount.publish(a="a: 1\n", **{"old.json": "{}"})
    steps = mount.swap(a="a: 2\n", **{"new.json": "{}"})
    next(steps)
    next(steps)
    assert beside(tmp_path / "a.yaml", "new.json") == str(tmp_path / "..data" / "new.json")
    assert beside(tmp_path / "a.yaml", "none.json") == str(tmp_path / "none.json")
    assert beside(tmp_path / "a.yaml", "/etc/roots.pem") == "/etc/roots.pem"
    for _ in steps:
        pass
    assert beside(tmp_path / "a.yaml", "new.json") == str(tmp_path / "new.json")
    assert beside(tmp_path / "a.yaml", "../x/new.json") == str(tmp_path.parent / "x" / "new.json")


def test_every_step_of_a_swap_but_the_last_is_told_from_its_end(tmp_path: Path) -> None:
    mount = ConfigMap(tmp_path)
    mount.publish(a="a: 1\n", gone="a: 1\n")
    before = generations([tmp_path])
    steps = mount.swap(a="a: 2\n", fresh="a: 1\n")
    written, swapped, linked, unlinked, removed = [generations([tmp_path]) for _ in steps]
    assert written == before
    assert len({before, swapped, linked, unlinked}) == 4
    assert removed == unlinked
