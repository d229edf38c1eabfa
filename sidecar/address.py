"""Where to listen: a host and a port, as a user writes them."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from sidecar.policy.units import NotUnderstood

EXPECTED = "an address such as 127.0.0.1:7600, [::1]:7600 or :7600"
NEAR: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
"""Hosts that mean every address of the machine, and where on loopback who listens there is found."""


@dataclass(frozen=True, slots=True)
class Address:
    """A host (a name, or an IP address without brackets) and a port.

    An empty host is every address of the machine; port 0 is any free one.
    """

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Nobody outside this machine (or pod) can reach it."""
        return self.host == "localhost" or (is_ip(self.host) and ip_address(self.host).is_loopback)

    @property
    def near(self) -> str:
        """The host by which this machine gets there."""
        return NEAR.get(self.host, self.host)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """`127.0.0.1:7600`, `[::1]:7600`, `localhost:7600`, or `:7600` for every address."""
    host, colon, port = text.rpartition(":")
    if not colon:
        raise NotUnderstood(EXPECTED, f"did you mean 127.0.0.1:{text}?" if text.isdigit() else "add a port")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) < 65536):
        raise NotUnderstood(EXPECTED, "a port is a number from 0 to 65535")
    if host.startswith("[") and host.endswith("]"):
        # Around IPv4 as well: a manifest writes [$(POD_IP)]:7601 before it is known which of the two the pod gets.
        if not is_ip(host[1:-1]):
            raise NotUnderstood(EXPECTED)
        return Address(host[1:-1], int(port))
    if ":" in host:
        raise NotUnderstood(EXPECTED, f"did you mean [{host}]:{port}?" if is_ip(host) else "")
    if host and not is_ip(host) and not _is_name(host):
        raise NotUnderstood(EXPECTED)
    return Address(host, int(port))


def is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_name(text: str) -> bool:
    labels = text.split(".")
    # A last label of digits is a mistyped IPv4 address, which resolvers read in surprising ways.
    return len(text) <= 253 and not labels[-1].isdigit() and all(_is_label(label) for label in labels)


def _is_label(text: str) -> bool:
    return text.isascii() and text.replace("-", "").isalnum() and not text.startswith("-") and not text.endswith("-")
