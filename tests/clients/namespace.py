"""Network and mount namespaces of a test's own: names and addresses as it wants them, and nothing outside to reach.

Providers have addresses of TEST-NET-3, on this machine at first, and beyond the firewall's rules later.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.real import lacking


def in_namespace(*command: str) -> list[str]:
    """The command, in network and mount namespaces of its own, as root of those."""
    own = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", *own, "--net", "--mount", *command]


def need_namespaces() -> None:
    """Skip where the machine has none to give, and fail where CI promised them."""
    if subprocess.run(in_namespace("true"), capture_output=True, check=False).returncode:
        lacking("this machine forbids network namespaces")


def enter(hosts: Mapping[str, str], file: Path) -> None:
    """Names by `/etc/hosts`, for this mount namespace only, and their addresses on this machine."""
    lines = [f"{address} {host}" for host, address in hosts.items()]
    file.write_text("\n".join(["127.0.0.1 localhost", "::1 localhost", *lines, ""]))
    system("mount", "--bind", str(file), "/etc/hosts")
    system("ip", "link", "set", "lo", "up")
    system("ip", "address", "add", "203.0.113.0/24", "dev", "lo")


@contextmanager
def firewall() -> Iterator[None]:
    """The addresses elsewhere, and the rules that lead what goes there to the sidecar."""
    system("ip", "address", "del", "203.0.113.0/24", "dev", "lo")
    # Both ends are here, and nobody is behind them: what the rules miss is lost.
    system("ip", "link", "add", "outside", "type", "veth", "peer", "beyond")
    system("ip", "address", "add", "198.51.100.1/32", "dev", "outside")
    system("ip", "link", "set", "outside", "up")
    system("ip", "link", "set", "beyond", "up")
    system("ip", "route", "add", "203.0.113.0/24", "dev", "outside")
    system(sys.executable, "-m", "sidecar", "firewall", "up")
    try:
        yield
    finally:
        system(sys.executable, "-m", "sidecar", "firewall", "down")


def system(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
