"""What is to be redirected, and how that is written on a command line. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Final, TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network

TRANSPARENT_PORT: Final = 7603
SIDECAR_UID: Final = 65532
HIGHEST_UID: Final = 2**32 - 2
HIGHEST_PORT: Final = 65535
DNS_PORT: Final = 53


@dataclass(frozen=True, slots=True, order=True)
class Ports:
    """A range of ports, both ends included."""

    first: int
    last: int

    def text(self, dash: str = "-") -> str:
        return str(self.first) if self.first == self.last else f"{self.first}{dash}{self.last}"


@dataclass(frozen=True, slots=True)
class Redirect:
    """Which of the TCP connections that begin here are led to the transparent listener.

    Those that go over loopback never are, and UDP is not looked at.
    """

    to_port: int = TRANSPARENT_PORT
    uids: tuple[int, ...] = (SIDECAR_UID,)
    """Whose connections go straight: the sidecar's own user first of all, or its calls would come back to it."""
    ports: tuple[Ports, ...] = ()
    """Only these destinations; none: every port but DNS."""
    spared_ports: tuple[Ports, ...] = ()
    spared_networks: tuple[Network, ...] = ()
    ipv6: bool = True
    """IPv6 is redirected, too; otherwise it is left alone, and so gets around the sidecar."""

    @property
    def straight_uids(self) -> tuple[int, ...]:
        return tuple(sorted(set(self.uids)))

    @property
    def caught_ports(self) -> tuple[Ports, ...]:
        return merged(self.ports)

    @property
    def straight_ports(self) -> tuple[Ports, ...]:
        """Names are resolved over TCP where the answer is long, by a server that often is the cluster's own."""
        return merged((*self.spared_ports, *(() if self.ports else (Ports(DNS_PORT, DNS_PORT),))))

    def straight_networks(self, version: int) -> tuple[Network, ...]:
        """Those of one IP version, none inside another."""
        if version == 4:
            return tuple(collapse_addresses(one for one in self.spared_networks if isinstance(one, IPv4Network)))
        return tuple(collapse_addresses(one for one in self.spared_networks if isinstance(one, IPv6Network)))


def merged(ports: Iterable[Ports]) -> tuple[Ports, ...]:
    """In order, without overlap: a tool refuses a set that says the same twice."""
    found: list[Ports] = []
    for one in sorted(ports):
        if found and one.first <= found[-1].last + 1:
            found[-1] = Ports(found[-1].first, max(found[-1].last, one.last))
        else:
            found.append(one)
    return tuple(found)


def parse_port(text: str) -> int:
    """A port, or an address with one, as the transparent listener's setting has it. Raises ValueError."""
    digits = text.rpartition(":")[2]
    if re.fullmatch("[0-9]{1,5}", digits) and 1 <= int(digits) <= HIGHEST_PORT:
        return int(digits)
    raise ValueError(f"expected a port from 1 to {HIGHEST_PORT}, got {text!r}")


def parse_ports(text: str) -> tuple[Ports, ...]:
    """`443`, `8000-8100`, or several with commas between them. Raises ValueError."""
    return tuple(_ports(part.strip()) for part in text.split(","))


def parse_networks(text: str) -> tuple[Network, ...]:
    """`10.0.0.0/8`, `192.0.2.7`, `fd00::/8`, or several with commas between them. Raises ValueError."""
    return tuple(_network(part.strip()) for part in text.split(","))


def parse_uids(text: str) -> tuple[int, ...]:
    """`65532`, or several with commas between them. Raises ValueError."""
    return tuple(_uid(part.strip()) for part in text.split(","))


def _ports(text: str) -> Ports:
    found = re.fullmatch("([0-9]{1,5})(?:[-:]([0-9]{1,5}))?", text)
    if found:
        ports = Ports(int(found[1]), int(found[2] or found[1]))
        if 1 <= ports.first <= ports.last <= HIGHEST_PORT:
            return ports
    raise ValueError(f"expected ports such as 443, 80,443 or 8000-8100, got {text!r}")


def _uid(text: str) -> int:
    if re.fullmatch("[0-9]{1,10}", text) and int(text) <= HIGHEST_UID:
        return int(text)
    raise ValueError(f"expected a user's number such as {SIDECAR_UID}, got {text!r}")


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError:
        raise ValueError(f"expected a network such as 10.0.0.0/8 or fd00::/8, got {text!r}{_meant(text)}") from None


def _meant(text: str) -> str:
    """With bits set behind its prefix, a network is likely mistyped."""
    try:
        return f"; did you mean {ip_network(text, strict=False)}?"
    except ValueError:
        return ""
