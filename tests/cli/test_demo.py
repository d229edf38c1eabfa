"""`sidecar demo`: which stage it plays on, and what it says when it cannot."""

from __future__ import annotations

import importlib.util
import io
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from sidecar.cli import demo as module
from sidecar.cli.main import main
from sidecar.demo import show
from sidecar.demo.plain import Lines
from sidecar.demo.show import Stage
from tests.demo.stories import bad_day


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A roomy one with colours, as stdout."""
    terminal = Terminal()
    # Not the interpreter's own, which is the test runner's to replace.
    monkeypatch.setattr(module, "sys", SimpleNamespace(stdout=terminal))
    for name, value in {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    return terminal


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[Stage]:
    """Stages that were played on, each to the end of a story that never happened."""
    stages: list[Stage] = []

    def run(stage: Stage, *, stay: bool, speed: float) -> int:
        stages.append(stage)
        stage.finish(bad_day())
        stage.close()
        return 0

    monkeypatch.setattr(show, "run", run)
    return stages


@pytest.fixture
def without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec

    def find_spec(name: str) -> ModuleSpec | None:
        return None if name == "rich" else find(name)

    monkeypatch.setattr(module, "find_spec", find_spec)


@pytest.mark.usefixtures("terminal")
def test_a_terminal_gets_a_screen() -> None:
    pytest.importorskip("rich")
    assert type(module._stage(False)).__name__ == "Screen"


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(
    ("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb"), ("TERM", ""), ("COLUMNS", "60"), ("LINES", "20")]
)
def test_a_terminal_that_cannot_show_it_gets_lines(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    pytest.importorskip("rich")
    monkeypatch.setenv(name, value)
    assert isinstance(module._stage(False), Lines)


@pytest.mark.usefixtures("terminal")
def test_plain_is_plain() -> None:
    assert isinstance(module._stage(True), Lines)


def test_no_terminal_gets_lines(played: list[Stage]) -> None:
    result = CliRunner().invoke(main, ["demo"])
    assert result.exit_code == 0
    assert isinstance(played[0], Lines)
    assert "answered while the provider was sick" in result.stdout


@pytest.mark.usefixtures("without_rich", "terminal")
def test_without_rich_a_terminal_gets_lines_and_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(module._stage(False), Lines)
    assert "pip install rich" in capsys.readouterr().err


@pytest.mark.usefixtures("without_rich")
def test_a_picture_needs_rich(played: list[Stage], tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["demo", "--svg", str(tmp_path / "demo.svg")])
    assert (result.exit_code, played) == (1, [])
    assert result.stderr == "sidecar: --svg needs rich: pip install rich\n"


def test_a_picture_is_kept(played: list[Stage], tmp_path: Path) -> None:
    pytest.importorskip("rich")
    result = CliRunner().invoke(main, ["demo", "--svg", str(tmp_path / "demo.svg")])
    assert result.exit_code == 0
    assert (tmp_path / "demo.svg").read_text().startswith("<svg ")
    assert len(played) == 1


def test_a_picture_that_has_no_place_is_said_before_the_story(played: list[Stage], tmp_path: Path) -> None:
    pytest.importorskip("rich")
    for path in (tmp_path, tmp_path / "none" / "demo.svg"):
        result = CliRunner().invoke(main, ["demo", "--svg", str(path)])
        assert (result.exit_code, played) == (2, [])
        assert "cannot be written" in result.stderr
