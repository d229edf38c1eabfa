"""`sidecar inject`: streams in and out, and what a person or a script is told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sidecar.cli.main import main
from sidecar.kube.annotations import VOCABULARY

POD = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: shop\nspec:\n  containers:\n  - name: app\n    image: shop:1\n"
SERVICE = "kind:  Service # kept\n"


def run(*args: str, given: str | bytes = POD) -> Result:
    return CliRunner().invoke(main, ["inject", *args], prog_name="sidecar", input=given)


def test_stdin_to_stdout_and_twice_is_once() -> None:
    once = run()
    assert (once.exit_code, once.stderr) == (0, "")
    assert "startupProbe" in once.stdout
    assert run(given=once.stdout).stdout == once.stdout


def test_every_annotation_but_the_one_that_asks_has_a_flag() -> None:
    text = run("--help").stdout
    assert [one.flag for one in VOCABULARY if f"  {one.flag} " not in text] == ["--inject"]


def test_flags_count_where_annotations_do_not() -> None:
    annotated = POD.replace("name: shop\n", "name: shop\n  annotations: {sidecar/log-level: debug}\n")
    out = run("--log-level", "error", "--mode", "transparent", "--image", "sidecar:dev", given=annotated).stdout
    assert "value: debug" in out
    assert "sidecar-firewall" in out
    assert "image: sidecar:dev" in out


def test_only_annotated_ones_if_that_is_asked_for() -> None:
    yes = POD.replace("name: shop\n", 'name: shop\n  annotations: {sidecar/inject: "true"}\n')
    out = run("--annotated-only", given=f"{POD}---\n{yes}").stdout
    assert out.startswith(f"{POD}---\n")
    assert out.count("restartPolicy: Always") == 1


def test_a_refusal_leaves_nothing_on_stdout(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(POD.replace("spec:\n", "spec:\n  hostNetwork: true\n"))
    result = run("-", str(bad), str(tmp_path / "none.yaml"), given=f"{POD}---\nkind: Pod\nspec: [\n")
    assert (result.exit_code, result.stdout) == (1, "")
    lines = result.stderr.splitlines()
    assert [line.split(": ")[0] for line in lines] == ["stdin:12:1", f"{bad}:1", str(tmp_path / "none.yaml")]


def test_warnings_go_to_stderr() -> None:
    result = run(given=POD.replace("spec:\n", "spec:\n  shareProcessNamespace: true\n"))
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: stdin:1: pod/shop: shareProcessNamespace: true")


def test_a_flag_that_is_not_fit_is_refused_in_one_line() -> None:
    result = run("--mode", "transparant")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    assert "got 'transparant'; did you mean transparent?" in result.stderr


def test_check_says_what_would_change() -> None:
    result = run("--check", given=f"{SERVICE}---\n{POD}")
    assert (result.exit_code, result.stdout) == (1, "stdin:3\n")
    done = run("--check", given=run().stdout)
    assert (done.exit_code, done.stdout) == (0, "")


def test_files_are_kept_apart(tmp_path: Path) -> None:
    texts = {"a.yaml": SERVICE.rstrip(), "b.yaml": SERVICE, "c.yaml": f"---\n{SERVICE}", "d.yaml": ""}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    assert run(*(str(tmp_path / name) for name in texts)).stdout == f"{SERVICE}---\n{SERVICE}---\n{SERVICE}"


@pytest.mark.parametrize("given", [b"\xff\xfe", b"kind: Pod\nname: \xe9\n"])
def test_another_encoding_is_refused(given: bytes) -> None:
    result = run(given=given)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no YAML: expected UTF-8" in result.stderr


def test_a_byte_order_mark_and_windows_lines_stay() -> None:
    given = "\ufeff" + f"{POD}---\n{SERVICE}".replace("\n", "\r\n")
    out = subprocess.run(
        [sys.executable, "-m", "sidecar", "inject"], input=given.encode(), capture_output=True, check=True
    ).stdout.decode()
    assert out.startswith("\ufeffapiVersion: v1\r\nkind: Pod\r\n")
    assert out.endswith(SERVICE.replace("\n", "\r\n"))
    assert out.count("\n") == out.count("\r\n") > given.count("\n")


def test_json_in_json_out() -> None:
    given = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "é"}, "spec": {"containers": [{"name": "app"}]}}
    out = json.loads(run(given=json.dumps(given)).stdout)
    assert out["spec"]["initContainers"][0]["name"] == "sidecar"
    assert out["metadata"]["name"] == "é"
