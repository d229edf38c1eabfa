"""`sidecar explain`: provider, route, settings with their lines, and steps with their reasons."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sidecar.cli.explain import explain
from sidecar.cli.main import main
from sidecar.policy.order import ORDER
from tests.policy.documents import write

ACME = """
    provider: acme
    hosts: [api.acme.com]
    retry: {attempts: 5}
    dry_run: [retry]
    routes:
      - name: get-x
        match: {method: GET, path: "/v1/x/{id}"}
        breaker: off
        cache: {ttl: 60s, stale: 7d}
    """


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    return write(tmp_path, acme=ACME)


def run(*args: object, **environ: str) -> Result:
    return CliRunner(env=environ).invoke(explain, [str(arg) for arg in args], standalone_mode=False)


@pytest.mark.parametrize("url", ["https://api.acme.com/v1/x/7", "http://127.0.0.1:7600/acme/v1/x/7", "/acme/v1/x/7"])
def test_text(policies: Path, url: str) -> None:
    result = run("get", url, "--policies", policies)
    assert result.return_value == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["provider", "acme", f"{policies}/acme.yaml:2"] in lines
    assert ["route", "get-x", "(GET", "/v1/x/{id})", f"{policies}/acme.yaml:7"] in lines
    assert ["upstream", "https://api.acme.com"] in lines
    assert ["retry.attempts", "5", f"{policies}/acme.yaml:4"] in lines
    assert ["breaker", "off", f"{policies}/acme.yaml:9"] in lines
    assert ["cache.ttl", "60s", f"{policies}/acme.yaml:10"] in lines
    assert ["cache.max_entry", "1MiB", "default"] in lines
    assert ["timeouts.total", "30s", "default"] in lines


def test_steps_have_their_reasons_and_marks(policies: Path) -> None:
    steps = json.loads(run("GET", "/acme/v1/x/7", "--policies", policies, "--json").stdout)["steps"]
    reasons = {row.step: row.reason for row in ORDER}
    assert [step["name"] for step in steps] == [
        row.step for row in ORDER if row.step not in ("breaker", "limit", "fallback", "rewrite")
    ]
    assert all(step["reason"] == reasons[step["name"]] for step in steps)
    assert [step["name"] for step in steps if step["dry_run"]] == ["retry"]


def test_json(policies: Path) -> None:
    shown = json.loads(run("GET", "/acme/v1/x/7?key=secret", "--policies", policies, "--json").stdout)
    assert (shown["provider"], shown["route"], shown["target_path"]) == ("acme", "get-x", "/v1/x/7")
    assert shown["settings"]["retry.attempts"]["from"]["line"] == 4
    assert shown["settings"]["timeouts.total"] == {"value": "30s", "from": None}


def test_no_route(policies: Path) -> None:
    result = run("POST", "/acme/v1/x/7", "--policies", policies)
    assert "none matches" in result.stdout


def test_the_environment_names_policies(policies: Path) -> None:
    assert run("GET", "/acme/v1/x/7", SIDECAR_POLICIES=str(policies)).return_value == 0


def test_the_shipped_packs_are_the_default() -> None:
    result = run("GET", "https://acme.my.salesforce.com/services/data/v60.0/limits", SIDECAR_POLICIES="")
    assert "the host that the call names, by https" in result.stdout


@pytest.mark.parametrize(
    ("url", "code", "said"),
    [
        ("https://other.com/x", 1, "sidecar: no policy is for other.com; unknown hosts: allow"),
        ("/nobody/x", 1, "sidecar: no policy is for /nobody/x"),
        ("http://[", 2, "sidecar: Invalid value for URL: http://[ is no URL."),
    ],
)
def test_calls_that_have_no_policy(policies: Path, url: str, code: int, said: str) -> None:
    result = CliRunner().invoke(main, ["explain", "GET", url, "--policies", str(policies)])
    assert result.exit_code == code
    assert result.stderr.startswith(said)
    assert result.stdout == ""


def test_policies_with_problems_are_not_explained(tmp_path: Path) -> None:
    result = run("GET", "/a", "--policies", write(tmp_path, a="provider: a\n"))
    assert result.return_value == 1
    assert "expected hosts" in result.stderr
    assert result.stdout == ""
