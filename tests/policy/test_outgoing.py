"""What a policy says of the outgoing proxy: what lies over what, where secrets come from, and that none is shown."""

from __future__ import annotations

import re
from base64 import b64decode
from pathlib import Path

import pytest

from sidecar.policy.outgoing import UpstreamProxy
from sidecar.policy.sources import LoadedPolicies, load_policies

PROXY = "upstream_proxy: {url: 'http://proxy.corp:3128', credentials: {file: secret}, no_proxy: [a.test]}\n"
EGRESS_PAGE = Path(__file__).parents[2] / "docs" / "egress.md"


def load(directory: Path, previous: LoadedPolicies | None = None, **files: str) -> LoadedPolicies:
    for name, text in files.items():
        own = "" if name == "defaults" else f"provider: {name}\nhosts: [api.{name}.test]\n"
        (directory / f"{name}.yaml").write_text(own + text)
    return load_policies([directory], previous)


def proxies(loaded: LoadedPolicies) -> dict[str, UpstreamProxy | None]:
    return {policy.provider: policy.upstream_proxy for policy in loaded.providers} | {"-": loaded.upstream_proxy}


def user(proxy: UpstreamProxy | None) -> str:
    return "" if proxy is None else b64decode(proxy.authorization.removeprefix(b"Basic ")).decode()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("scott:t:iger\n")
    return path


def test_defaults_hold_for_all_providers_and_for_unknown_hosts(tmp_path: Path, secret: Path) -> None:
    loaded = load(
        tmp_path,
        defaults=PROXY,
        a="",
        b="upstream_proxy: off\n",
        c="upstream_proxy: http://other:1\n",
        d="upstream_proxy: {url: 'http://other:1'}\n",
        e="upstream_proxy: {no_proxy: 'b.test, 10.0.0.0/8 [::1]'}\n",
    )
    assert loaded.problems == ()
    found = proxies(loaded)
    assert {name: str(proxy and proxy.url) for name, proxy in found.items()} == {
        "-": "http://proxy.corp:3128",
        "a": "http://proxy.corp:3128",
        "b": "None",
        "c": "http://other:1",
        "d": "http://other:1",
        "e": "http://proxy.corp:3128",
    }
    users = {"-": "scott:t:iger", "a": "scott:t:iger", "b": "", "c": "", "d": "", "e": "scott:t:iger"}
    assert {name: user(proxy) for name, proxy in found.items()} == users, "one proxy never has another's credentials"
    spared = found["e"]
    assert spared is not None
    assert [spared.spares(host) for host in ("x.b.test", "10.1.2.3", "::1", "a.test")] == [True, True, True, False]


def test_a_variable_takes_the_place_of_a_file(tmp_path: Path, secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROXY_USER", "jane:doe")
    loaded = load(tmp_path, defaults=PROXY, a="upstream_proxy: {credentials: {env: PROXY_USER}}\n")
    assert {name: user(proxy) for name, proxy in proxies(loaded).items()} == {"-": "scott:t:iger", "a": "jane:doe"}


def test_credentials_are_read_anew_by_a_reload_and_kept_while_they_cannot_be(tmp_path: Path, secret: Path) -> None:
    first = load(tmp_path, defaults=PROXY, a="")
    secret.write_text("scott:changed\n")
    second = load_policies([tmp_path], first)
    assert {user(proxy) for proxy in proxies(second).values()} == {"scott:changed"}
    secret.write_text("no colon, which is a secret\n")
    third = load_policies([tmp_path], second)
    assert {user(proxy) for proxy in proxies(third).values()} == {"scott:changed"}
    assert len(third.problems) == 1
    assert third.problems[0].key == "upstream_proxy.credentials.file"
    assert "no colon" not in third.problems[0].text()
    (tmp_path / "b.yaml").write_text("provider: b\nhosts: [api.b.test]\nupstream_proxy: off\n")
    fourth = load_policies([tmp_path], third)
    assert {policy.provider for policy in fourth.providers} == {"a", "b"}, "all else takes effect"
    secret.write_text("scott:again")
    fifth = load_policies([tmp_path], fourth)
    assert fifth.problems == ()
    assert user(fifth.upstream_proxy) == "scott:again"


@pytest.mark.parametrize("contents", ["", "nocolon", ":x", "a:b\nc:d", "a:\x00", "a:b\r\nX: y"])
def test_a_file_that_is_no_user_and_password(tmp_path: Path, secret: Path, contents: str) -> None:
    secret.write_text(contents)
    (problem,) = load(tmp_path, defaults=PROXY, a="").problems
    assert problem.text().endswith("expected a file with user:password on one line, got what is not shown")


def test_no_repr_shows_a_secret(tmp_path: Path, secret: Path) -> None:
    loaded = load(tmp_path, defaults=PROXY, a="")
    shown = repr(loaded) + repr(loaded.providers[0]) + str(loaded.upstream_proxy)
    assert "iger" not in shown
    assert "c2NvdHQ" not in shown


def test_defaults_alone_are_checked(tmp_path: Path) -> None:
    (problem,) = load(tmp_path, defaults=PROXY).problems
    assert "secret: no such file" in problem.text()


def test_the_example_of_the_page_is_a_policy(tmp_path: Path, secret: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", EGRESS_PAGE.read_text(), re.DOTALL)
    assert "file: /var/run/secrets/proxy}" in example
    loaded = load(tmp_path, defaults=example.replace("/var/run/secrets/proxy", str(secret)))
    assert loaded.problems == ()
    assert loaded.upstream_proxy is not None
