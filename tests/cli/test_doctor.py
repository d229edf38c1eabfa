"""`sidecar doctor` as a command: real programs under it, and a small HTTP server in the daemon's place.

What it makes of connections is in test_diagnosis.py, and of real ones in tests/clients/test_doctor.py.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sidecar.cli.main import main
from tests.cli.test_cache import Admin, Answers

BEFORE = {"id": "a", "provider": "stripe", "mode": "connect", "outcome": "ok"}
DURING = {"id": "b", "provider": "stripe", "mode": "connect", "outcome": "transient"}


class Changing(Answers):
    """Each answer of a list once, the last one for good."""

    def get(self, path: str, _default: Any = None) -> Any:
        found = self[path]
        return (
            found.pop(0)
            if isinstance(found, list) and len(found) > 1
            else found[0]
            if isinstance(found, list)
            else found
        )


class Doctor(Admin):
    """A daemon that counts one call and one unknown host while the command runs."""

    def __init__(self) -> None:
        super().__init__()
        host = {"host": "a.example", "port": 443, "allowed": False}
        self.answers = Changing(
            {
                "/calls": [(200, {"calls": [BEFORE]}), (200, {"calls": [DURING, BEFORE]})],
                "/unknown": [(200, {"unknown": [host | {"calls": 3}]}), (200, {"unknown": [host | {"calls": 5}]})],
                "/catalog": (200, {"providers": [{"provider": "stripe", "hosts": ["localhost", "*.stripe.test"]}]}),
                "/policies": (200, {"loaded_at": "2026-11-22T10:00:00.000Z", "warnings": []}),
            }
        )

    def run(self, *args: str, **environ: str) -> Result:
        return CliRunner().invoke(main, ["doctor", *args], prog_name="sidecar", env=self.environ | environ)

    @property
    def environ(self) -> dict[str, str]:
        return {"SIDECAR_ADMIN": self.address, "SIDECAR_CA_DIR": "off", "SIDECAR_LISTEN": "127.0.0.1:7700"}


@pytest.fixture
def daemon() -> Iterator[Doctor]:
    daemon = Doctor()
    thread = Thread(target=daemon.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield daemon
    daemon.server.shutdown()
    thread.join()
    daemon.server.server_close()


def test_policies_that_never_change_are_in_the_report(daemon: Doctor) -> None:
    warning = {"file": "/etc/p/a.yaml", "message": "is mounted by subPath and will never update: mount the directory"}
    daemon.answers["/policies"] = (200, {"loaded_at": "2026-11-22T10:00:00.000Z", "warnings": [warning]})
    assert "/etc/p/a.yaml is mounted by subPath and will never update" in daemon.run("true").stderr


def test_it_counts_what_happened_meanwhile(daemon: Doctor) -> None:
    result = daemon.run("true")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "  stripe  localhost, *.stripe.test  1 call   connect  1 transient\n" in result.stderr
    assert "  -       a.example:443             2 calls           no policy, refused\n" in result.stderr


@pytest.mark.parametrize(("script", "code"), [("exit 7", 7), ("kill -TERM $$", 128 + 15)])
def test_the_commands_exit_code_is_kept(daemon: Doctor, script: str, code: int) -> None:
    result = daemon.run("--", "sh", "-c", script)
    assert result.exit_code == code
    assert f"sh ended with {code} after" in result.stderr


def test_the_command_has_the_variables_and_its_own_options(daemon: Doctor, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    script = f"import json, os, sys; json.dump([sys.argv[1:], dict(os.environ)], open({str(seen)!r}, 'w'))"
    assert daemon.run(sys.executable, "-c", script, "--json", "-o", "x").exit_code == 0
    arguments, environ = json.loads(seen.read_text())
    assert arguments == ["--json", "-o", "x"]
    assert environ["HTTPS_PROXY"] == environ["https_proxy"] == "http://127.0.0.1:7700"
    assert environ["PATH"] == os.environ["PATH"]


def test_the_report_as_a_document_in_a_file(daemon: Doctor, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    result = daemon.run("--json", "-o", str(report), "--", "sh", "-c", "exit 3")
    assert (result.exit_code, result.stderr) == (3, "")
    document = json.loads(report.read_text())
    assert document["command"] == ["sh", "-c", "exit 3"]
    assert document["exit_code"] == 3
    assert [(row["provider"], row["calls"]) for row in document["through"]] == [("stripe", 1)]
    assert [(row["host"], row["calls"]) for row in document["unknown"]] == [("a.example", 2)]
    assert document["around"] == []


def test_a_report_that_cannot_be_written_costs_no_exit_code(daemon: Doctor, tmp_path: Path) -> None:
    result = daemon.run("-o", str(tmp_path / "none/report"), "--", "sh", "-c", "exit 3")
    assert result.exit_code == 3
    assert "cannot be written (No such file or directory)" in result.stderr


def test_certificates_that_are_not_there_are_left_out_and_that_is_said(daemon: Doctor, tmp_path: Path) -> None:
    command = ["sh", "-c", 'test -z "$SSL_CERT_FILE"']
    result = daemon.run("--ca-dir", str(tmp_path), "--", *command, SSL_CERT_FILE="")
    assert result.exit_code == 0
    assert result.stderr.startswith(f"sidecar: {tmp_path / 'bundle.crt'} is not there, so certificates are left out")
    (tmp_path / "bundle.crt").touch()
    assert daemon.run("--ca-dir", str(tmp_path), "--", *command).exit_code == 1


@pytest.mark.parametrize(
    ("name", "code", "said"), [("nobody-has-this", 127, "no such command"), ("/etc/passwd", 126, "cannot be run")]
)
def test_a_command_that_cannot_be_run(daemon: Doctor, name: str, code: int, said: str) -> None:
    result = daemon.run(name)
    assert result.exit_code == code
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_without_a_daemon_nothing_is_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    args = ["doctor", "--admin", "127.0.0.1:1", "--", "touch", str(ran)]
    result = CliRunner().invoke(main, args, prog_name="sidecar")
    assert result.exit_code == 1
    assert result.stderr.startswith("sidecar: no daemon answers at 127.0.0.1:1 (connection refused): is it running?")
    assert not ran.exists()


def test_no_command_is_a_usage_error() -> None:
    result = CliRunner().invoke(main, ["doctor"], prog_name="sidecar")
    assert result.exit_code == 2
    assert result.stderr == "sidecar: Missing argument 'COMMAND...'. See `sidecar doctor --help`.\n"


@pytest.mark.parametrize(("number", "whole_group"), [(signal.SIGTERM, False), (signal.SIGINT, True)])
def test_a_signal_is_the_commands_to_answer(daemon: Doctor, number: signal.Signals, whole_group: bool) -> None:
    """SIGINT as a terminal sends it, to both; SIGTERM as a supervisor does, to us."""
    script = (
        "import signal, sys; both = {signal.SIGTERM, signal.SIGINT}; signal.pthread_sigmask(signal.SIG_BLOCK, both);"
        " print('up', flush=True); sys.exit(9 if signal.sigwait(both) else 1)"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "sidecar", "doctor", "--", sys.executable, "-c", script],
        env=os.environ | daemon.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    ) as doctor:
        assert doctor.stdout is not None
        assert doctor.stdout.readline() == "up\n"
        os.killpg(doctor.pid, number) if whole_group else doctor.send_signal(number)
        _, said = doctor.communicate(timeout=10)
    assert doctor.returncode == 9
    assert " ended with 9 after" in said
    assert "Traceback" not in said
