"""`sidecar injector` as a process of its own, called over TLS."""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.kube.pki import Authority, MountedSecret, client_context
from tests.kube.recorded import body_of

CLEAN = {name: value for name, value in os.environ.items() if not re.match("SIDECAR_|OTEL_|.*_proxy$", name, re.I)}
REVIEW = {"Content-Type": "application/json"}


def until(condition: Callable[[], Any], within_s: float = 20.0) -> Any:
    """What `condition` gives once it is true; fails after `within_s`."""
    deadline_s = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline_s, "it did not come about"
        threading.Event().wait(0.01)
    return found


class Answer:
    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Injector:
    """A running one; `lines` is its log so far."""

    def __init__(self, root: Path, *args: str, authority: Authority | None = None, **environ: str) -> None:
        self.authority = authority or Authority()
        self.secret = MountedSecret(root / "tls", *self.authority.pair())
        command = [sys.executable, "-m", "sidecar", "injector", "--listen", "127.0.0.1:0", "--tls-dir"]
        self.process = subprocess.Popen(
            [*command, str(self.secret.root), *args],
            env={**CLEAN, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        listening = until(lambda: self.said("listening") or (self.process.poll() is not None and self._died()))
        self.port = urlsplit(listening[0]["address"]).port
        self.trust = client_context(self.authority)

    def _died(self) -> None:
        assert self.process.stderr is not None
        raise AssertionError(self.process.stderr.read())

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(json.loads(line) for line in self.process.stdout)

    def said(self, message: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["message"] == message]

    def connect(self, trust: ssl.SSLContext | None = None) -> HTTPSConnection:
        return HTTPSConnection("localhost", self.port, timeout=20, context=trust or self.trust)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] = REVIEW,
        trust: ssl.SSLContext | None = None,
    ) -> Answer:
        """One request on a connection of its own."""
        connection = self.connect(trust)
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def review(self, document: Mapping[str, Any], path: str = "/inject?timeout=5s") -> Any:
        """The answer's document, which came with 200."""
        answer = self.ask("POST", path, body_of(document))
        assert answer.status == 200, answer.text
        return answer.json

    def count(self, metric: str) -> float:
        """A series of /metrics."""
        found = re.search(f"^{re.escape(metric)} (.+)$", self.ask("GET", "/metrics").text, re.MULTILINE)
        assert found is not None
        return float(found[1])

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """The exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(20)
        finally:
            self.process.kill()
            self._reader.join(5)
            for stream in (self.process.stdout, self.process.stderr):
                assert stream is not None
                stream.close()
