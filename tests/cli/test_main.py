"""The command group: lazy, one line an error, an exit code for each end."""

from __future__ import annotations

import subprocess
import sys
from typing import NoReturn

import click
import pytest
from click.testing import CliRunner, Result

from sidecar import __version__
from sidecar.cli import main as module
from sidecar.cli.main import COMMANDS, main
from sidecar.errors import SettingsError


def invoke(*args: str) -> Result:
    return CliRunner().invoke(main, args, prog_name="sidecar")


def command_that_raises(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    @click.command()
    def fail() -> NoReturn:
        raise error

    monkeypatch.setattr(module, "fail", fail, raising=False)
    monkeypatch.setitem(COMMANDS, "fail", (f"{module.__name__}:fail", "Fail."))


def test_help_lists_every_command() -> None:
    result = invoke("--help")

    assert result.exit_code == 0
    for name, (_, line) in COMMANDS.items():
        assert name in result.output
        assert line in result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    result = invoke(name, "--help")

    assert result.exit_code == 0
    assert f"sidecar {name}" in result.stdout


@pytest.mark.parametrize("args", [["-V"], ["--version"]])
def test_the_version(args: list[str]) -> None:
    assert invoke(*args).output == f"sidecar {__version__}\n"


@pytest.mark.parametrize(
    "args", [["nothing"], ["--nothing"], ["run", "--nothing"], ["run", "extra"], ["run", "--listen"]]
)
def test_wrong_usage_is_one_line_on_stderr_and_2(args: list[str]) -> None:
    result = invoke(*args)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("sidecar: ")
    assert result.stderr.count("\n") == 1
    assert "--help" in result.stderr


def test_no_command_shows_the_help_and_is_2() -> None:
    result = invoke()

    assert result.exit_code == 2
    assert "Commands:" in result.stderr


@pytest.mark.parametrize(
    ("error", "exit_code", "said"),
    [
        (SettingsError("--listen / SIDECAR_LISTEN: no"), 2, "sidecar: --listen / SIDECAR_LISTEN: no\n"),
        (click.ClickException("two\nlines"), 1, "sidecar: two lines\n"),
        (KeyboardInterrupt(), 130, "\n"),
        (click.Abort(), 130, ""),
    ],
)
def test_how_a_command_ends(monkeypatch: pytest.MonkeyPatch, error: BaseException, exit_code: int, said: str) -> None:
    command_that_raises(monkeypatch, error)

    result = invoke("fail")

    assert (result.exit_code, result.stderr) == (exit_code, said)


def test_a_reader_that_left_gets_no_traceback() -> None:
    code = "import sys; from sidecar.cli.main import main; sys.argv = ['sidecar', 'schema']; main()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["run", "--help"], ["check", "--help"]])
def test_no_command_line_imports_what_only_the_daemon_needs(args: list[str]) -> None:
    code = (
        "import sys, contextlib\n"
        "from sidecar.cli.main import main\n"
        f"with contextlib.suppress(SystemExit): main({args!r})\n"
        "print([name for name in ('aiohttp', 'uvloop', 'opentelemetry', 'asyncio') if name in sys.modules],"
        " file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stderr == "[]\n"


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "sidecar", "-V"], capture_output=True, text=True, check=True)

    assert done.stdout == f"sidecar {__version__}\n"
