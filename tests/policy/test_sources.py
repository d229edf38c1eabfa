"""What is in force: layers, packs, reloads, and what stays when something is broken."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from sidecar.policy.sources import LoadedPolicies, load_policies
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


def test_a_thousand_files_with_ten_thousand_routes(tmp_path: Path) -> None:
    for n in range(1000):
        routes = "".join(f"- {{name: r{r}, match: {{method: GET, path: '/v1/x{r}/{{id}}'}}}}\n" for r in range(10))
        (tmp_path / f"p{n}.yaml").write_text(f"provider: p{n}\nhosts: [h{n}.com]\nroutes:\n{routes}")
    loaded = load_policies([tmp_path])
    assert not loaded.problems
    assert sum(len(policy.routes) for policy in loaded.providers) == 10_000
    os.truncate(tmp_path / "p7.yaml", 12)
    assert len(load_policies([tmp_path], loaded).providers) == 1000
