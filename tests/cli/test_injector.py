"""`sidecar injector`: what its help says, and what stops its start. What it does: `tests/kube/test_webhook.py`."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sidecar.cli.injector import injector
from sidecar.cli.main import main
from sidecar.kube.annotations import VOCABULARY
from tests.kube.pki import Authority, MountedSecret

PAGE = (Path(__file__).parents[2] / "docs/kubernetes/injector.md").read_text(encoding="utf-8")
HELP = CliRunner().invoke(main, ["injector", "--help"], terminal_width=400).stdout


def run(*args: str, **environ: str) -> Result:
    return CliRunner(env={name: None for name in os.environ if name.startswith("SIDECAR_")} | environ).invoke(
        main, ["injector", *args]
    )


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    return MountedSecret(tmp_path / "tls", *Authority().pair()).root


@pytest.mark.parametrize("option", injector.params, ids=lambda option: option.opts[0])
def test_every_option_has_its_variable_and_is_explained_here_and_on_the_page(option: object) -> None:
    [flag, *_] = option.opts  # type: ignore[attr-defined]
    variable = "SIDECAR_INJECTOR_" + flag.removeprefix("--").replace("-", "_").upper()
    assert option.envvar == variable  # type: ignore[attr-defined]
    assert f"[{variable}; default: " in HELP
    assert flag in HELP
    assert f"`{flag}`" in PAGE or (flag.startswith("--default-") and "`--default-…`" in PAGE)


def test_every_annotation_but_the_switch_has_a_default() -> None:
    flags = {flag for option in injector.params for flag in option.opts}
    assert all(
        f"--default-{one.flag.removeprefix('--')}" in flags or one.field in ("inject", "image") for one in VOCABULARY
    )


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--listen", "8443"], "--listen': expected an address such as .*; did you mean 127.0.0.1:8443?"),
        (["--fail", "maybe"], "'maybe' is not one of 'open', 'closed'"),
        (["--drain", "soon"], "--drain': expected a duration"),
        (["--default-mode", "proxi"], "from --default-mode.*did you mean proxy?"),
        (["--default-memory", "lots"], "from --default-memory"),
        (["--image", "a b"], "from --image"),
        (["--tls-dir", "/nowhere"], "/nowhere/tls.crt: cannot be read"),
        (["--polices", "a"], "No such option"),
    ],
)
def test_what_is_not_fit_is_one_line_and_2(args: list[str], says: str) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert re.search(says.replace("?", r"\?"), result.stderr)
    assert len(result.stderr.splitlines()) == 1


def test_a_variable_counts_where_there_is_no_flag_and_an_empty_one_does_not() -> None:
    assert "from --default-form" in run(SIDECAR_INJECTOR_DEFAULT_FORM="odd").stderr
    assert "tls.crt: cannot be read" in run(SIDECAR_INJECTOR_DEFAULT_FORM="").stderr


def test_a_port_in_use_is_said(secret: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("--listen", f"127.0.0.1:{port}", "--tls-dir", str(secret))
    assert (result.exit_code, result.stderr) == (
        2,
        "sidecar: --listen / SIDECAR_INJECTOR_LISTEN: expected an address that is free to listen on, got "
        f"'127.0.0.1:{port}' (address already in use)\n",
    )


def test_without_the_extra_it_is_said_what_to_install(secret: Path) -> None:
    code = "import sys; sys.modules['jsonpatch'] = None; from sidecar.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "injector", "--tls-dir", str(secret)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, "pip install 'resilience-sidecar[kube]'" in done.stderr) == (2, True)
