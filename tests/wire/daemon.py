"""The real daemon as a process of its own, and a provider and policy for each test that asks."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from dataclasses import dataclass
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from tests.authority import Authority
from tests.providers import Provider, Request, Script, Stage
from tests.wire.client import Client, Response, eventually, message

ROOT = Path(__file__).parents[2]

BARE: dict[str, Any] = {"retry": False, "breaker": False}
"""What a provider's policy is unless a test says otherwise: the wire alone, each exchange tried once."""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@dataclass
class Served:
    """A provider, its policy in force, and the ways to call it through the daemon."""

    name: str
    sidecar: Sidecar
    provider: Provider
    policy_file: Path

    @property
    def host(self) -> str:
        """The policy's host."""
        return f"{self.name}.test"

    @property
    def requests(self) -> list[Request]:
        return self.provider.requests

    def message(self, method: str, path: str, *lines: bytes, body: bytes | None = None, version: str = "1.1") -> bytes:
        """A request in reverse form."""
        target, host = f"/{self.name}{path}", self.sidecar.authority
        return message(method, target, *lines, host=host, body=body, version=version)

    def call(self, method: str, path: str, *lines: bytes, body: bytes | None = None) -> Response:
        """One call on a connection of its own."""
        with self.sidecar.connect() as client:
            client.send(self.message(method, path, *lines, body=body))
            return client.response(method)

    def get(self, path: str = "/", *lines: bytes) -> Response:
        return self.call("GET", path, *lines)


class Sidecar:
    """`sidecar run` in a subprocess, on free ports, with a policy directory that tests write to."""

    numbers = count(1)

    def __init__(
        self,
        home: Path,
        stage: Stage,
        authority: Authority,
        *flags: str,
        defaults: dict[str, Any] | None = None,
        environ: dict[str, str] | None = None,
    ) -> None:
        self.policies = home / "policies"
        self.policies.mkdir(parents=True)
        (self.policies / "defaults.yaml").write_text(yaml.safe_dump(defaults or {"egress": {"unknown": "deny"}}))
        self.ca = authority
        self.port, self.admin_port = free_port(), free_port()
        self._stage = stage
        self._log_file = home / "log"
        self._seen_bytes = 0
        self._providers: list[Served] = []
        command = [sys.executable, "-m", "sidecar", "run"]
        command += ["--listen", f"127.0.0.1:{self.port}", "--admin", f"127.0.0.1:{self.admin_port}"]
        command += ["--policies", str(self.policies), "--state", str(home / "state"), *flags]
        inherited = {
            name: value for name, value in os.environ.items() if not re.match("(?i)SIDECAR_|OTEL_|.*_PROXY$", name)
        }
        with self._log_file.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=home,
                env=inherited | {"PYTHONPATH": str(ROOT), "SIDECAR_CA_DIR": "off"} | (environ or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            eventually(self._is_ready, within_s=10, every_s=0.02)
        except BaseException:
            self.stop()
            raise

    @property
    def authority(self) -> str:
        """The listener's host and port, as a client of reverse mode sends them."""
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self._log_file.read_text(errors="replace")

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, f"the daemon ended with {self.process.returncode}: {self.log}"
        try:
            return self.admin("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def stop(self, within_s: float = 10.0) -> int:
        """SIGINT skips the drain; gives the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(timeout=within_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def connect(self, timeout_s: float = 8.0, receive_bytes: int | None = None) -> Client:
        return Client(self.port, timeout_s, receive_bytes)

    def exchange(self, *data: bytes, method: str = "GET") -> Response:
        """Send these bytes on a connection of their own and read one reply."""
        with self.connect() as client:
            client.send(*data)
            return client.response(method)

    def admin(self, method: str, path: str) -> tuple[int, Any]:
        """Status and document; the body as text where it is no JSON."""
        connection = HTTPConnection("127.0.0.1", self.admin_port, timeout=5)
        try:
            connection.request(method, path, headers={"Accept": "application/json"})
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        try:
            return response.status, json.loads(text)
        except ValueError:
            return response.status, text

    def provider(
        self,
        script: Script,
        *,
        tls: bool | ssl.SSLContext = False,
        hosts: list[str] | None = None,
        upstream: str | None = None,
        **policy: Any,
    ) -> Served:
        """Start a provider and put its policy in force. `tls` may be a context; keys of `policy` replace `BARE`'s."""
        name = f"p{next(self.numbers)}"
        context = self.ca.localhost.server_context() if tls is True else tls or None
        provider = Provider(script, context)
        self._stage.run(provider.start())
        origin = f"https://localhost:{provider.port}" if tls else f"http://127.0.0.1:{provider.port}"
        document = (
            {"provider": name, "hosts": hosts or [f"{name}.test"], "upstream": upstream or origin} | BARE | policy
        )
        if document["upstream"].startswith("https:"):
            document.setdefault("tls", {"ca_file": str(self.ca.ca_file)})
        served = Served(name, self, provider, self.policies / f"{name}.yaml")
        self._providers.append(served)
        served.policy_file.write_text(yaml.safe_dump(document))
        self.reload()
        return served

    def reload(self) -> None:
        status, document = self.admin("POST", "/policies/reload")
        assert status == 200, document

    def restart(self, provider: Provider) -> None:
        self._stage.run(provider.start())

    def stop_provider(self, provider: Provider) -> None:
        self._stage.run(provider.stop())

    def clear(self) -> None:
        """End what the last test began, and show what went wrong behind its back."""
        served, self._providers = self._providers, []
        for one in served:
            self._stage.run(one.provider.stop())
            one.policy_file.unlink(missing_ok=True)
        errors = [error for one in served for error in one.provider.errors]
        assert not errors, f"a provider's script failed: {errors!r}"
        log = self.log
        fresh, self._seen_bytes = log[self._seen_bytes :], len(log)
        assert "Traceback" not in fresh, fresh
        assert self.process.poll() is None, f"the daemon ended with {self.process.returncode}: {fresh}"

    @property
    def rss_bytes(self) -> int:
        """Resident memory of the daemon's process."""
        return self._memory("VmRSS")

    def _memory(self, key: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"{key}:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024
