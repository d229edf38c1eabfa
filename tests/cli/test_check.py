"""`sidecar check`: its exit code, and each of its formats."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from click.testing import CliRunner, Result

from sidecar.cli.check import check
from sidecar.policy.files import shipped_policies
from tests.policy.documents import write

GOOD = "provider: a\nhosts: [a.com]\n"
BAD = GOOD + "timeouts: {total: 30}\nretry: {attempts: 0}\n"


def run(*args: object) -> Result:
    return CliRunner().invoke(check, [str(arg) for arg in args], standalone_mode=False)


def test_good_policies(tmp_path: Path) -> None:
    result = run(write(tmp_path, a=GOOD))
    assert (result.return_value, result.stdout, result.stderr) == (0, "1 file, 1 provider: no problems\n", "")


def test_the_shipped_packs_are_good() -> None:
    assert run(shipped_policies()).return_value == 0


def test_every_problem_is_a_line(tmp_path: Path) -> None:
    result = run(write(tmp_path, a=BAD))
    assert result.return_value == 1
    assert result.stdout.splitlines() == [
        f"{tmp_path}/a.yaml:3:19: timeouts.total: expected a duration such as 200ms, 2s, 1m, 1h or 7d, got 30, "
        "did you mean 30s?",
        f"{tmp_path}/a.yaml:4:19: retry.attempts: expected at least 1, got 0",
    ]
    assert result.stderr == "2 problems in 1 file\n"


def test_a_thousand_problems_are_a_thousand_lines(tmp_path: Path) -> None:
    result = run(write(tmp_path, a=GOOD + "".join(f"bad{n}: 1\n" for n in range(1000))))
    assert len(result.stdout.splitlines()) == 1000


def test_json(tmp_path: Path) -> None:
    result = run("--format", "json", write(tmp_path, a=BAD))
    shown = json.loads(result.stdout)
    assert result.return_value == 1
    assert shown["ok"] is False
    assert [problem["key"] for problem in shown["problems"]] == ["timeouts.total", "retry.attempts"]
    good = json.loads(run("--format", "json", write(tmp_path, a=GOOD)).stdout)
    assert (good["ok"], good["providers"], good["problems"]) == (True, ["a"], [])


def test_github(tmp_path: Path) -> None:
    result = run("--format", "github", write(tmp_path, a=BAD))
    assert result.return_value == 1
    assert [line.split(",")[0] for line in result.stdout.splitlines()] == [f"::error file={tmp_path}/a.yaml"] * 2


def test_a_path_that_leads_nowhere(tmp_path: Path) -> None:
    result = run(tmp_path / "none")
    assert result.return_value == 1
    assert "no such file or directory" in result.stdout


def test_a_compressed_policy(tmp_path: Path) -> None:
    (tmp_path / "a.yaml.gz").write_bytes(gzip.compress(BAD.encode()))
    result = run(tmp_path)
    assert result.return_value == 1
    assert [line.split(": ")[0] for line in result.stdout.splitlines()] == [
        f"{tmp_path}/a.yaml.gz:3:19",
        f"{tmp_path}/a.yaml.gz:4:19",
    ]
