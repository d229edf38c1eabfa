"""The whole demo as its user runs it: it ends by itself, shows that the sidecar helps, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.wire.client import eventually

LEFT_OUT = "SIDECAR_|OTEL_|.*_proxy$|NO_COLOR$|COLUMNS$|LINES$"
CLEAN = {name: value for name, value in os.environ.items() if not re.match(LEFT_OUT, name, re.I)}
ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"
"""The alternate screen."""


@contextmanager
def demo(tmp_path: Path, *args: str, stdout: int = subprocess.PIPE, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """The command, with a directory for temporary files that a test can look into. It ends with a test that fails."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sidecar", "demo", *args],
        env=CLEAN | {"TMPDIR": str(tmp_path)} | environ,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        except BaseException:
            process.terminate()
            raise


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_the_story_ends_and_the_sidecar_made_a_difference(tmp_path: Path) -> None:
    with demo(tmp_path, "--plain", "--speed", "6") as process:
        out, err = process.communicate(timeout=50)
    assert (process.returncode, err) == (0, "")
    assert "\x1b" not in out
    assert len(re.findall(r"^ 0:\d\d  ", out, re.MULTILINE)) >= 30

    def row(title: str) -> tuple[float, float]:
        found = re.search(rf"^ {title} +([\d.,]+)(?: %)? +([\d.,]+)(?: %)?$", out, re.MULTILINE)
        assert found is not None, out
        return float(found[1].replace(",", "")), float(found[2].replace(",", ""))

    with_it, without = row("answered")
    assert with_it > without + 15
    assert row("calls")[0] == row("calls")[1] > 200
    with_it, without = row("requests that the sick provider got")
    assert with_it < without
    assert re.search(r"With the sidecar: \d+ fresh, .*\d+ cache, \d+ stale, \d+ fallback\.", out)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_signal_ends_all_that_was_started(tmp_path: Path, number: signal.Signals, code: int) -> None:
    with demo(tmp_path, "--plain", "--stay", "--speed", "10") as process:
        assert process.stdout is not None
        daemons = eventually(lambda: children(process.pid), within_s=15)
        # Its head comes with the first line, when everything is up.
        assert "with the sidecar" in process.stdout.readline()
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert err.strip() == ""
    assert not any(map(is_alive, daemons))
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_gets_a_screen_and_has_its_own_back(tmp_path: Path) -> None:
    pytest.importorskip("rich")
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    with demo(tmp_path, "--stay", "--speed", "10", stdout=theirs, TERM="xterm-256color") as process:
        os.close(theirs)
        shown = b""
        while b"until Ctrl-C" not in shown:
            shown += os.read(ours, 65536)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        shown += _rest(ours)
        _, err = process.communicate(timeout=20)
    os.close(ours)
    assert (process.returncode, err.strip()) == (130, "")
    assert shown.count(ENTER) == shown.count(LEAVE) == 1
    played, closing = shown.split(LEAVE)
    assert b"Calls are taken, and never answered." in played
    assert b"answered while the provider was sick" in closing
    assert re.search(rb"own view: http://127\.0\.0\.1:\d+/", closing)


def _rest(terminal: int) -> bytes:
    """What comes until the other end is closed, which Linux tells as an error."""
    rest = b""
    with contextlib.suppress(OSError):
        while piece := os.read(terminal, 65536):
            rest += piece
    return rest


def test_a_daemon_that_dies_is_one_line(tmp_path: Path) -> None:
    with demo(tmp_path, "--plain", "--speed", "5") as process:
        assert process.stdout is not None
        [daemon] = eventually(lambda: children(process.pid), within_s=15)
        assert "with the sidecar" in process.stdout.readline()
        os.kill(daemon, signal.SIGKILL)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 2
    assert re.fullmatch(r"sidecar: the daemon ended: .*\n", err)
    assert list(tmp_path.iterdir()) == []
