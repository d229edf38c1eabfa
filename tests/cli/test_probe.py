"""`sidecar probe` against a socket that answers as a daemon's admin listener would, and as others would."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import pytest
from click.testing import CliRunner, Result

from sidecar.cli import probe as module
from sidecar.cli.main import main

WELL = {"name": "listener", "ok": True, "detail": ""}
UNFIT = {"name": "policies", "ok": False, "detail": "no policies are in force yet;\nstripe.yaml:3:1: expected …"}


def reply(code: int, **document: object) -> bytes:
    return f"HTTP/1.1 {code} X\r\nContent-Type: application/json\r\n\r\n{json.dumps(document)}".encode()


OK = reply(200, status="ready")
UNREADY = reply(503, status="not ready", checks=[WELL, UNFIT])


class Admin:
    """Answers each connection with the next of the replies; the last one again and again; None is no answer."""

    def __init__(self, listener: socket.socket, *replies: bytes | None) -> None:
        self.port = listener.getsockname()[1]
        self.asked: list[str] = []
        self._listener = listener
        self._replies = replies
        self._held: list[socket.socket] = []

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(4096)
            answer = self._replies[min(len(self.asked), len(self._replies) - 1)]
            self.asked.append(head.decode())
            if answer is None:
                self._held.append(connection)
                continue
            with connection:
                connection.sendall(answer)

    def close(self) -> None:
        for held in self._held:
            held.close()


@contextmanager
def admin(*replies: bytes | None, host: str = "127.0.0.1") -> Iterator[Admin]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        server = Admin(listener, *replies)
        thread = Thread(target=server.serve)
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            server.close()


def probe(*args: object, **environ: str) -> Result:
    return CliRunner().invoke(main, ["probe", *map(str, args)], prog_name="sidecar", env=environ)


@pytest.mark.parametrize(
    ("question", "target", "answer"),
    [
        ("startup", "/startupz?verbose", "started"),
        ("ready", "/readyz?verbose", "ready"),
        ("live", "/livez", "alive"),
    ],
)
def test_yes_is_a_word_and_0(question: str, target: str, answer: str) -> None:
    with admin(OK) as server:
        result = probe(question, "--admin", f"127.0.0.1:{server.port}")

    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{answer}\n", "")
    assert server.asked[0].startswith(f"GET {target} HTTP/1.0\r\nHost: 127.0.0.1:{server.port}\r\n")


def test_no_is_1_and_one_line_that_says_why_not() -> None:
    with admin(UNREADY) as server:
        result = probe("ready", "--admin", f"127.0.0.1:{server.port}")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "sidecar: not ready: policies: no policies are in force yet; stripe.yaml:3:1: expected …\n"
    )


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (reply(503, status="starting", checks=[WELL]), "it is still starting"),
        (reply(503, status="starting"), "it does not say why"),
        (b"HTTP/1.1 503 X\r\n\r\n<html>", "it does not say why"),
        (b"HTTP/1.1 404 X\r\n\r\n", "is no sidecar's admin listener"),
        (b"SSH-2.0-x\r\n", "is no sidecar's admin listener"),
        (b"", "is no sidecar's admin listener"),
    ],
)
def test_every_other_answer_is_a_no(answer: bytes, why: str) -> None:
    with admin(answer) as server:
        result = probe("startup", "--admin", f"127.0.0.1:{server.port}")

    assert result.exit_code == 1
    assert why in result.stderr
    assert result.stderr.startswith("sidecar: not started: ")
    assert result.stderr.count("\n") == 1


def test_a_daemon_that_hangs_is_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRY_S", 0.05)
    with admin(None) as server:
        result = probe("live", "--admin", f"127.0.0.1:{server.port}")

    assert (result.exit_code, result.stderr) == (
        1,
        f"sidecar: not alive: 127.0.0.1:{server.port} does not answer within 0.05s\n",
    )


def test_nobody_there_is_a_no() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    result = probe("live", "--admin", f"127.0.0.1:{port}")

    assert (result.exit_code, result.stderr) == (
        1,
        f"sidecar: not alive: no daemon answers at 127.0.0.1:{port} (connection refused)\n",
    )


def test_waiting_ends_with_the_first_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.001)
    with admin(UNREADY, UNREADY, OK) as server:
        result = probe("startup", "--admin", f"127.0.0.1:{server.port}", "--wait", "50s")

    assert (result.exit_code, result.stdout, len(server.asked)) == (0, "started\n", 3)


def test_waiting_ends_with_the_last_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.01)
    with admin(UNREADY) as server:
        result = probe("ready", "--admin", f"127.0.0.1:{server.port}", "--wait", "50ms")

    assert result.exit_code == 1
    assert "policies" in result.stderr
    assert len(server.asked) > 1


@pytest.mark.parametrize(
    ("listening", "written"),
    [("127.0.0.1", ""), ("127.0.0.1", "0.0.0.0"), ("127.0.0.1", "[127.0.0.1]"), ("::1", "[::]")],
)
def test_the_daemons_own_setting_says_where(listening: str, written: str) -> None:
    with admin(OK, host=listening) as server:
        assert probe("live", SIDECAR_ADMIN=f"{written}:{server.port}").exit_code == 0


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["alive"],
        ["live", "--admin", "7601"],
        ["live", "--admin", "127.0.0.1:0"],
        ["live", "--wait", "60"],
        ["live", "--wait", "-1s"],
    ],
)
def test_what_cannot_be_asked_is_2_and_one_line(args: list[str]) -> None:
    result = probe(*args)

    assert result.exit_code == 2
    assert result.stderr.startswith("sidecar: ")
    assert result.stderr.count("\n") == 1


def test_little_is_imported() -> None:
    names = "aiohttp", "asyncio", "pydantic", "ssl", "http", "uvloop", "sidecar.settings"
    script = f"import sys, sidecar.cli.main, sidecar.cli.probe; print(*sys.modules.keys() & {set(names)!r})"

    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)

    assert done.stdout.strip() == ""
