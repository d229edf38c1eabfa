"""A real Redis of the test's own: on a port of the loopback and on a socket, without a file of its own to keep."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from pathlib import Path

from tests.real import need

READY_S = 10.0


class RedisServer:
    """One process. `stall` and `kill` are what they say; `start` again on the same port."""

    def __init__(self, directory: Path, *options: str) -> None:
        self._command = need("redis-server")
        self._directory = directory
        self._options = options
        self.socket = directory / "redis.sock"
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [self._command, "--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", str(self.socket)]
        command += ["--save", "", "--appendonly", "no", "--dir", str(self._directory), *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline_s = time.monotonic() + READY_S
        while time.monotonic() < deadline_s and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                continue
            return
        raise AssertionError("redis-server did not start")

    def stall(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def ask(self, *words: str | bytes) -> bytes:
        """The raw answer to one command, for what a test plants or checks by the back door."""
        parts = [word.encode() if isinstance(word, str) else word for word in words]
        request = b"*%d\r\n" % len(parts) + b"".join([b"$%d\r\n%s\r\n" % (len(part), part) for part in parts])
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            connection.sendall(request)
            return connection.recv(65536)
