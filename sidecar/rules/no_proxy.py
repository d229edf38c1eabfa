"""Which hosts are called without the outgoing proxy: the grammar of NO_PROXY as curl reads it.

What may live here: reading entries, and whether they cover a host. Names are compared as they are written: nobody is
resolved, so a range of addresses covers only hosts that are addresses.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network


@dataclass(frozen=True, slots=True)
class NoProxy:
    """The hosts that are called directly."""

    everything: bool
    names: tuple[str, ...]
    """In lower case; each covers itself and all below it."""
    networks: tuple[IPv4Network | IPv6Network, ...]

    def covers(self, host: str) -> bool:
        """`host` is a name or an address, IPv6 with or without brackets."""
        name = host.lower().removesuffix(".")
        address = _address(name)
        if self.everything:
            return True
        if address is not None:
            return any(address in network for network in self.networks)
        return any(name == one or name.endswith(f".{one}") for one in self.names)


def no_proxy(entries: Iterable[str]) -> NoProxy:
    """From entries such as `example.com`, `.example.com` (the same), `10.0.0.7`, `10.0.0.0/8`, `[::1]`, `*`."""
    names: list[str] = []
    networks: list[IPv4Network | IPv6Network] = []
    everything = False
    for entry in entries:
        network = read_network(entry)
        if network is not None:
            networks.append(network)
        elif entry == "*":
            everything = True
        else:
            names.append(entry.lower().removeprefix(".").removesuffix("."))
    return NoProxy(everything, tuple(names), tuple(networks))


def read_network(entry: str) -> IPv4Network | IPv6Network | None:
    """An address or a range; None for anything else. Bits behind the prefix do not count."""
    try:
        return ip_network(entry.replace("[", "").replace("]", ""), strict=False)
    except ValueError:
        return None


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None
