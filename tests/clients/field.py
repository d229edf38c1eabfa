"""Who the clients meet in the namespace: the daemon, the fake provider behind it, and `Direct` at the providers' own
addresses, who notes whoever got around the sidecar."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from threading import Thread
from typing import Any, Final

import yaml

from tests.authority import Authority
from tests.clients.clients import CLIENTS, PROVIDERS
from tests.clients.provider import fake_provider
from tests.providers import Stage
from tests.wire.daemon import Sidecar

REDIRECTED: Final = "127.0.0.1:7603"


def providers() -> dict[str, str]:
    """Each policy's name and host."""
    return PROVIDERS | {client.called: client.host for client in CLIENTS if not client.provider}


def addresses() -> dict[str, str]:
    """Each host's."""
    return {host: f"203.0.113.{number}" for number, host in enumerate(providers().values(), 1)}


class Direct:
    """Listens at every address of the namespace, as the providers themselves would, and hangs up."""

    def __init__(self) -> None:
        self.called: list[str] = []
        self._socket = socket.create_server(("", 443))
        Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            self.called.append(connection.getsockname()[0])
            connection.close()


class Field:
    """The daemon, the fake provider, and the variables of `sidecar env` for them."""

    def __init__(self, home: Path, stage: Stage) -> None:
        authority = Authority(home)
        provider = fake_provider(authority.localhost.server_context())
        stage.run(provider.start())
        self.home = home
        self.ca_dir = home / "ca"
        self.direct = Direct()
        flags = ["--ca-dir", str(self.ca_dir), "--transparent", REDIRECTED]
        self.sidecar = Sidecar(home / "daemon", stage, authority, *flags)
        for name, host in providers().items():
            policy: dict[str, Any] = {"provider": name, "hosts": [host], "retry": False, "breaker": False}
            policy |= {"upstream": f"https://localhost:{provider.port}", "tls": {"ca_file": str(authority.ca_file)}}
            (self.sidecar.policies / f"{name}.yaml").write_text(yaml.safe_dump(policy))
        self.sidecar.reload()
        store = str(home / "truststore.p12")
        self._sidecar(
            "ca", "export", "--ca-dir", str(self.ca_dir), "--format", "p12", "--password", "changeit", "-o", store
        )
        self.proxied = self._variables("--trust-store", store)
        self.redirected = self._variables("--trust-store", store, "--transparent")

    def _variables(self, *flags: str) -> dict[str, str]:
        listen = ["--listen", self.sidecar.authority, "--ca-dir", str(self.ca_dir)]
        variables: dict[str, str] = json.loads(self._sidecar("env", "--json", *listen, *flags))
        return variables

    def _sidecar(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "sidecar", *arguments], check=True, stdout=subprocess.PIPE, text=True
        )
        return done.stdout

    def calls(self, provider: str) -> dict[str, str]:
        """The mode of each call by its id."""
        _, document = self.sidecar.admin("GET", f"/calls?provider={provider}")
        return {call["id"]: call["mode"] for call in document["calls"]}
