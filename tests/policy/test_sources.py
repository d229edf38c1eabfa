"""What is in force: layers, packs, reloads, and what stays when something is broken."""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
from collections.abc import Callable
from hashlib import sha256
from itertools import chain, count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.policy import attached, files, sources
from sidecar.policy.files import read_policy
from sidecar.policy.problem import PolicyProblem
from sidecar.policy.sources import MOST_READS, LoadedPolicies, load_policies
from tests.policy.documents import ConfigMap, load, texts, write

ONE = "provider: one\nhosts: [one.com]\nretry: {attempts: 2}\n"
TWO = "provider: two\nhosts: [two.com]\n"


def attempts(loaded: LoadedPolicies) -> dict[str, int]:
    return {policy.provider: policy.retry.attempts for policy in loaded.providers if policy.retry is not None}


def test_layers_lie_over_each_other(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        defaults="""
            egress: {unknown: deny}
            about: {owner: team}
            retry: {attempts: 4, backoff: {cap: 5s}}
            limit: {rate: 1/s}
            """,
        base="provider: base\nhosts: [base.com]\nretry: {attempts: 5, methods: all}\nbreaker: off\n",
        top="""
            provider: top
            extends: base
            hosts: [top.com]
            retry: {attempts: 6}
            limit: off
            routes:
              - name: plain
                match: {path: /plain}
              - name: own
                match: {path: /own}
                retry: {attempts: 7}
                breaker: {trials: 2}
                limit: {concurrency: 3}
            """,
    )
    assert not loaded.problems
    top = next(policy for policy in loaded.providers if policy.provider == "top")
    plain, own = top.routes
    assert (top.about.owner, top.hosts, top.breaker, top.limit) == ("team", ("top.com",), None, None)
    assert top.retry is not None
    assert (top.retry.attempts, top.retry.methods, top.retry.backoff.cap) == (6, "all", 5.0)
    assert plain.retry is top.retry
    assert own.retry is not None
    assert (own.retry.attempts, own.retry.methods, own.retry.backoff.cap) == (7, "all", 5.0)
    assert own.breaker is not None
    assert (own.breaker.trials, own.breaker.consecutive) == (2, 7)
    assert own.limit is not None
    assert (own.limit.concurrency, own.limit.rate) == (3, None)
    assert loaded.egress.unknown == "deny"


def test_a_shipped_pack_can_be_extended(tmp_path: Path) -> None:
    loaded = load(tmp_path, mine="provider: stripe\nextends: stripe\nabout: {owner: payments}\nlimit: {rate: 25/s}\n")
    assert not loaded.problems
    (stripe,) = loaded.providers
    assert stripe.hosts == ("api.stripe.com",)
    assert stripe.about.owner == "payments"
    assert stripe.limit is not None
    assert (stripe.limit.rate, stripe.limit.burst) == (25.0, 100)
    assert any(route.name == "create-charge" for route in stripe.routes)


def test_a_circle_of_extends_is_told(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        a="provider: a\nextends: b\nhosts: [a.com]\n",
        b="provider: b\nextends: a\nhosts: [b.com]\n",
    )
    assert texts(loaded, tmp_path) == [
        'a.yaml:2:10: extends: expected no circle, got "b", it comes back to a.yaml',
        'b.yaml:2:10: extends: expected no circle, got "a", it comes back to b.yaml',
    ]


def test_an_inherited_host_is_told_where_it_can_be_mended(tmp_path: Path) -> None:
    loaded = load(tmp_path, a="provider: a\nhosts: [a.com]\n", b="provider: b\nextends: a\n")
    assert texts(loaded, tmp_path) == [
        'b.yaml:1:11: hosts[0]: expected a host that no other provider has, got "a.com", a.yaml:2 has it already'
    ]


def test_there_is_one_egress(tmp_path: Path) -> None:
    write(tmp_path / "a", defaults="egress: {unknown: deny}\n", one=ONE)
    write(tmp_path / "b", defaults="egress: {unknown: allow}\n", two=TWO)
    loaded = load_policies([tmp_path / "a", tmp_path / "b"])
    assert texts(loaded, tmp_path) == [
        "b/defaults.yaml:1:1: egress: expected one egress for the process, got a second, "
        "a/defaults.yaml:1 has it already"
    ]


def test_defaults_hold_in_their_own_directory(tmp_path: Path) -> None:
    write(tmp_path / "a", defaults="retry: {attempts: 9}\n", two=TWO)
    write(tmp_path / "b", one="provider: one\nhosts: [one.com]\n")
    assert attempts(load_policies([tmp_path / "a", tmp_path / "b"])) == {"two": 9, "one": 3}


def test_defaults_are_checked_without_a_provider(tmp_path: Path) -> None:
    loaded = load(tmp_path, defaults="retry: {attempts: 0}\nprovider: x\negress: {ports: [0]}\n")
    assert [line.split(": ")[1] for line in texts(loaded, tmp_path)] == [
        "retry.attempts",
        "provider",
        "egress.ports[0]",
    ]


def test_at_start_one_problem_stops_everything(tmp_path: Path) -> None:
    loaded = load(tmp_path, one=ONE, two="provider: [\n")
    assert loaded.problems
    assert loaded.providers == ()
    assert loaded.digest == ""
    assert [(file.path.name, file.stale) for file in loaded.files] == [("one.yaml", True), ("two.yaml", True)]


def test_the_digest_is_of_names_and_contents(tmp_path: Path) -> None:
    first = load(tmp_path / "a", one=ONE, two=TWO)
    assert load(tmp_path / "b", one=ONE, two=TWO).digest == first.digest
    assert load(tmp_path / "b", one=ONE, two=TWO + "\n").digest != first.digest
    assert load(tmp_path / "c", one=ONE, three=TWO).digest != first.digest
    assert len(first.digest) == 64


def test_a_broken_file_keeps_its_last_good_version_and_others_take_effect(tmp_path: Path) -> None:
    first = load(tmp_path, one=ONE, two=TWO)
    write(tmp_path, one="provider: one\nhosts: [one.com]\nretry: {attempts: 0}\n", two=TWO + "retry: {attempts: 5}\n")
    second = load_policies([tmp_path], first)
    assert attempts(second) == {"one": 2, "two": 5}
    assert [problem.key for problem in second.problems] == ["retry.attempts"]
    assert [(file.path.name, file.stale) for file in second.files] == [("one.yaml", True), ("two.yaml", False)]
    assert second.files[0].digest == first.files[0].digest
    assert second.digest not in ("", first.digest)
    write(tmp_path, one=ONE.replace("2", "7"))
    third = load_policies([tmp_path], second)
    assert not third.problems
    assert attempts(third) == {"one": 7, "two": 5}


def test_a_half_written_file_changes_nothing(tmp_path: Path) -> None:
    first = load(tmp_path, one=ONE)
    for text in ("", "provider: one\nhosts: [one.c", "provider: one\nretry:"):
        (tmp_path / "one.yaml").write_text(text)
        second = load_policies([tmp_path], first)
        assert second.problems
        assert second.providers == first.providers
        assert second.digest == first.digest


def test_a_removed_file_takes_its_provider_away(tmp_path: Path) -> None:
    first = load(tmp_path, one=ONE, two=TWO)
    (tmp_path / "two.yaml").unlink()
    second = load_policies([tmp_path], first)
    assert not second.problems
    assert attempts(second) == {"one": 2}


def test_a_removed_pack_that_is_extended_stays(tmp_path: Path) -> None:
    first = load(tmp_path, one=ONE, two="provider: two\nextends: one\nhosts: [two.com]\n")
    (tmp_path / "one.yaml").unlink()
    second = load_policies([tmp_path], first)
    assert second.problems
    assert attempts(second) == {"one": 2, "two": 2}


@pytest.mark.parametrize("emptied", [True, False])
def test_a_directory_that_goes_keeps_its_policies_until_it_returns(tmp_path: Path, emptied: bool) -> None:
    directory = tmp_path / "policies"
    first = load(directory, one=ONE, two=TWO)
    shutil.rmtree(directory)
    if emptied:
        directory.mkdir()
    gone = load_policies([directory], first)
    assert attempts(gone) == {"one": 2, "two": 3}
    assert len(gone.problems) == 1
    back = load_policies([write(directory, one=ONE.replace("2", "8"))], gone)
    assert not back.problems
    assert attempts(back) == {"one": 8}


def test_a_new_file_that_clashes_stays_out(tmp_path: Path) -> None:
    first = load(tmp_path, one=ONE)
    write(tmp_path, a="provider: other\nhosts: [one.com]\n", c="provider: c\nhosts: [c.com]\n")
    second = load_policies([tmp_path], first)
    assert second.problems
    assert "one" in attempts(second)
    assert "other" not in attempts(second)


def test_a_broken_defaults_file_keeps_its_last_good_version(tmp_path: Path) -> None:
    first = load(tmp_path, defaults="retry: {attempts: 9}\n", two=TWO)
    write(tmp_path, defaults="retry: {attempts: nine}\n", two=TWO + "breaker: off\n")
    second = load_policies([tmp_path], first)
    assert attempts(second) == {"two": 9}
    assert second.providers[0].breaker is None


def test_an_unreadable_file_keeps_its_last_good_version(tmp_path: Path) -> None:
    first = load(tmp_path, one=ONE)
    (tmp_path / "one.yaml").write_bytes(b"provider: \xff\n")
    second = load_policies([tmp_path], first)
    assert attempts(second) == {"one": 2}
    assert "UTF-8" in second.problems[0].text()


def test_what_did_not_change_is_not_made_again(tmp_path: Path) -> None:
    first = load(tmp_path, one=ONE, two=TWO)
    write(tmp_path, two=TWO + "retry: {attempts: 5}\n")
    second = load_policies([tmp_path], first)
    assert second.providers[0] is first.providers[0]
    assert second.providers[1] is not first.providers[1]


def test_a_changed_pack_changes_who_extends_it(tmp_path: Path) -> None:
    first = load(tmp_path, one=ONE, two="provider: two\nextends: one\nhosts: [two.com]\n")
    write(tmp_path, one=ONE.replace("2", "6"))
    assert attempts(load_policies([tmp_path], first)) == {"one": 6, "two": 6}


def test_a_config_map_is_swapped_as_a_whole(tmp_path: Path) -> None:
    mount = ConfigMap(tmp_path / "policies")
    mount.publish(one=ONE, two=TWO)
    first = load_policies([mount.directory])
    assert attempts(first) == {"one": 2, "two": 3}
    mount.publish(one=ONE.replace("2", "4"), three="provider: three\nhosts: [three.com]\n")
    second = load_policies([mount.directory], first)
    assert not second.problems
    assert attempts(second) == {"one": 4, "three": 3}
    assert [file.path.name for file in second.files] == ["one.yaml", "three.yaml"]


def test_a_config_map_that_is_swapped_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the swap falls, one generation is in force, whole."""
    both = {"one": ONE, "two": TWO}
    for reads in (1, 2, 3):
        mount = ConfigMap(tmp_path / str(reads))
        mount.publish(**both)
        count = 0

        def read_slowly(
            path: Path, place: Path | None, at: int = reads, mount: ConfigMap = mount
        ) -> bytes | PolicyProblem:
            nonlocal count
            count += 1
            if count == at:
                mount.publish(one=ONE.replace("2", "6"), two=TWO + "retry: {attempts: 6}\n")
            return read_policy(path, place)

        monkeypatch.setattr("sidecar.policy.sources.read_policy", read_slowly)
        loaded = load_policies([mount.directory])
        assert loaded.problems == ()
        assert attempts(loaded) == ({"one": 6, "two": 6} if reads <= 2 else {"one": 2, "two": 3})


def generation(version: int) -> dict[str, str]:
    """Two files that name their version, one of this version alone, and a body that one of them takes from a fourth."""
    fallback = f"fallback: [{{status: 200, file: body{version}.json}}]\n"
    return {
        "one": f"provider: one\nhosts: [one.com]\nabout: {{owner: v{version}}}\n{fallback}",
        "two": f"provider: two\nhosts: [two.com]\nabout: {{owner: v{version}}}\n",
        f"only{version}": f"provider: only{version}\nhosts: [only.com]\nabout: {{owner: v{version}}}\n",
        f"body{version}.json": f"[{version}]",
    }


def whole(loaded: LoadedPolicies) -> int | None:
    """The version of which everything is; None for a mix."""
    (version,) = {policy.about.owner for policy in loaded.providers} or {""}
    names = {policy.provider for policy in loaded.providers}
    return int((version or "v0")[1:]) if names == {"one", "two", f"only{(version or 'v0')[1:]}"} else None


@given(st.lists(st.sampled_from([0, 0, 0, 0, 0, 0, 1, 2, 3]), max_size=30), st.booleans())
@settings(max_examples=150, deadline=None)
def test_wherever_swaps_fall_one_generation_is_in_force(advances: list[int], reloads: bool) -> None:
    """Each look at the disk may find the kubelet a few steps further on, with a second swap behind the first."""
    with tempfile.TemporaryDirectory() as home, pytest.MonkeyPatch.context() as patch:
        mount = ConfigMap(Path(home))
        mount.publish(**generation(0))
        before = load_policies([mount.directory]) if reloads else None
        steps = chain(mount.swap(**generation(1)), mount.swap(**generation(2)))
        left = iter(advances)

        def advance() -> None:
            for _ in range(next(left, 0)):
                next(steps, None)

        def at_a_step(function: Callable[..., Any]) -> Callable[..., Any]:
            def stepped(*args: Any) -> Any:
                advance()
                return function(*args)

            return stepped

        for module, name in (
            (sources, "read_policy"),
            (sources, "generations_of"),
            (files, "contents"),
            (files, "is_published"),
            (attached, "read_file"),
        ):
            patch.setattr(module, name, at_a_step(getattr(module, name)))
        loaded = load_policies([mount.directory], before)
        assert loaded.problems == ()
        assert whole(loaded) is not None


def test_a_config_map_that_is_swapped_without_end_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = ConfigMap(tmp_path / "policies")
    mount.publish(one=ONE)
    versions = count(3)

    def read_never(path: Path, place: Path | None) -> bytes | PolicyProblem:
        mount.publish(one=ONE.replace("2", str(next(versions))))
        return read_policy(path, place)

    monkeypatch.setattr("sidecar.policy.sources.read_policy", read_never)
    assert [problem.got for problem in load_policies([mount.directory]).problems] == ["no such file or directory"]
    assert next(versions) == 3 + MOST_READS


# Policies of several ConfigMaps.


def mounts(tmp_path: Path, **files: dict[str, str]) -> dict[str, ConfigMap]:
    made = {name: ConfigMap(tmp_path / name) for name in files}
    for name, mount in made.items():
        mount.publish(**files[name])
    return made


def test_several_config_maps_make_one_set(tmp_path: Path) -> None:
    mounts(tmp_path, a={"defaults": "retry: {attempts: 9}\n", "two": TWO}, b={"one": ONE})
    loaded = load_policies([tmp_path / "a", tmp_path / "b"])
    assert attempts(loaded) == {"two": 9, "one": 2}


def test_a_provider_in_two_config_maps_is_told_with_both_files(tmp_path: Path) -> None:
    mounts(tmp_path, a={"one": ONE}, b={"one": ONE})
    loaded = load_policies([tmp_path / "a", tmp_path / "b"])
    assert loaded.providers == ()
    assert texts(loaded, tmp_path) == [
        'b/one.yaml:1:11: provider: expected a name that no other file has, got "one", a/one.yaml:1 has it already',
        'b/one.yaml:2:9: hosts[0]: expected a host that no other provider has, got "one.com", '
        "a/one.yaml:2 has it already",
    ]


def test_a_provider_moves_from_one_config_map_to_another_without_a_gap(tmp_path: Path) -> None:
    """Put where it goes first: what is there twice for a while stays as it was."""
    made = mounts(tmp_path, a={"one": ONE, "two": TWO}, b={"three": TWO.replace("two", "three")})
    paths = [tmp_path / "a", tmp_path / "b"]
    loaded = load_policies(paths)
    made["b"].publish(one=ONE.replace("2", "7"), three=TWO.replace("two", "three"))
    loaded = load_policies(paths, loaded)
    assert len(loaded.problems) == 2
    assert attempts(loaded) == {"one": 2, "two": 3, "three": 3}
    made["a"].publish(two=TWO)
    loaded = load_policies(paths, loaded)
    assert loaded.problems == ()
    assert attempts(loaded) == {"one": 7, "two": 3, "three": 3}


def test_a_config_map_that_is_deleted_leaves_its_policies_in_force_and_is_told(tmp_path: Path) -> None:
    made = mounts(tmp_path, a={"defaults": "retry: {attempts: 9}\n", "two": TWO}, b={"one": ONE})
    paths = [tmp_path / "a", tmp_path / "b"]
    loaded = load_policies(paths)
    made["a"].publish()
    made["b"].publish(one=ONE.replace("2", "5"))
    loaded = load_policies(paths, loaded)
    assert attempts(loaded) == {"two": 9, "one": 5}
    assert [problem.file for problem in loaded.problems] == [str(tmp_path / "a")]
    made["a"].publish(two=TWO)
    loaded = load_policies(paths, loaded)
    assert (attempts(loaded), loaded.problems) == ({"two": 3, "one": 5}, ())


def test_a_set_without_one_of_its_config_maps_does_not_begin(tmp_path: Path) -> None:
    made = mounts(tmp_path, a={"one": ONE}, b={})
    paths = [tmp_path / "a", tmp_path / "b", tmp_path / "c"]
    loaded = load_policies(paths)
    assert loaded.providers == ()
    assert [problem.file for problem in loaded.problems] == [str(tmp_path / "b"), str(tmp_path / "c")]
    made["b"].publish(two=TWO)
    ConfigMap(tmp_path / "c").publish(three=TWO.replace("two", "three"))
    assert attempts(load_policies(paths)) == {"one": 2, "two": 3, "three": 3}


# Compressed ones.


def zipped(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()))


def test_compressed_files_are_policies_and_defaults_like_others(tmp_path: Path) -> None:
    zipped(tmp_path / "defaults.yaml.gz", "retry: {attempts: 9}\n")
    zipped(tmp_path / "two.yml.gz", TWO)
    loaded = load_policies([write(tmp_path, one=ONE)])
    assert loaded.problems == ()
    assert attempts(loaded) == {"one": 2, "two": 9}
    assert loaded.files[2].digest == sha256(TWO.encode()).hexdigest()


def test_problems_of_compressed_files_have_lines(tmp_path: Path) -> None:
    zipped(tmp_path / "one.yaml.gz", ONE + "nope: 1\n")
    assert texts(load_policies([tmp_path]), tmp_path)[0].startswith("one.yaml.gz:4:1: nope: ")


def test_a_policy_beside_its_compressed_self_is_one_too_many(tmp_path: Path) -> None:
    zipped(tmp_path / "one.yaml.gz", ONE)
    loaded = load_policies([write(tmp_path, one=ONE)])
    assert "one.yaml:1 has it already" in texts(loaded, tmp_path)[0]


def test_a_compressed_file_that_breaks_keeps_its_last_good_version(tmp_path: Path) -> None:
    zipped(tmp_path / "one.yaml.gz", ONE)
    first = load_policies([tmp_path])
    (tmp_path / "one.yaml.gz").write_bytes(b"\x1f\x8b")
    second = load_policies([tmp_path], first)
    assert len(second.problems) == 1
    assert attempts(second) == {"one": 2}


def test_a_thousand_files_with_ten_thousand_routes(tmp_path: Path) -> None:
    for n in range(1000):
        routes = "".join(f"- {{name: r{r}, match: {{method: GET, path: '/v1/x{r}/{{id}}'}}}}\n" for r in range(10))
        (tmp_path / f"p{n}.yaml").write_text(f"provider: p{n}\nhosts: [h{n}.com]\nroutes:\n{routes}")
    loaded = load_policies([tmp_path])
    assert not loaded.problems
    assert sum(len(policy.routes) for policy in loaded.providers) == 10_000
    os.truncate(tmp_path / "p7.yaml", 12)
    assert len(load_policies([tmp_path], loaded).providers) == 1000
