"""The rules in nft's language: one table of our own, for IPv4 and IPv6 at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sidecar.firewall.machine import NET_ADMIN, Machine, require, run_checked
from sidecar.firewall.rules import Redirect

TABLE: Final = "inet sidecar"
PRIORITY: Final = -110
"""Before the usual place of destination NAT (-100): the first to rewrite a connection is the last, and another mesh's
rules are to see the sidecar's calls rather than the application's."""


def chain(redirect: Redirect) -> list[str]:
    """The chain's lines: first what goes straight, then what is caught."""
    lines = [f"type nat hook output priority {PRIORITY}; policy accept;", 'oif "lo" return']
    if not redirect.ipv6:
        lines.append("meta nfproto ipv6 return")
    if redirect.straight_uids:
        lines.append(f"meta skuid {_set(redirect.straight_uids)} return")
    for version, family in ((4, "ip"), (6, "ip6")):
        if networks := redirect.straight_networks(version):
            lines.append(f"{family} daddr {_set(networks)} return")
    if redirect.straight_ports:
        lines.append(f"tcp dport {_set(ports.text() for ports in redirect.straight_ports)} return")
    caught = (
        f"tcp dport {_set(ports.text() for ports in redirect.caught_ports)}" if redirect.ports else "meta l4proto tcp"
    )
    return [*lines, f"{caught} redirect to :{redirect.to_port}"]


def script(redirect: Redirect) -> str:
    """One transaction that leaves exactly these rules, whatever was there."""
    body = "".join(f"\t\t{line}\n" for line in chain(redirect))
    return f"{REMOVAL}table {TABLE} {{\n\tchain output {{\n{body}\t}}\n}}\n"


REMOVAL: Final = f"table {TABLE}\ndelete table {TABLE}\n"
"""One transaction that leaves nothing: a table that is made first can be deleted in any case."""


class Nft:
    """The `nft` program."""

    name = "nft"

    def __init__(self, machine: Machine, program: str) -> None:
        self._machine = machine
        self._program = program

    def script(self, redirect: Redirect) -> str:
        return f"# nft -f -\n{script(redirect)}"

    def up(self, redirect: Redirect) -> None:
        self._apply(script(redirect))

    def down(self) -> None:
        if self.shown():
            self._apply(REMOVAL)

    def shown(self) -> str:
        require(self._machine, self.name, NET_ADMIN)
        tables = run_checked(self._machine, [self._program, "list", "tables"])
        if f"table {TABLE}" not in tables.splitlines():
            return ""
        return run_checked(self._machine, [self._program, "list", "table", *TABLE.split()])

    def _apply(self, text: str) -> None:
        require(self._machine, self.name, NET_ADMIN)
        run_checked(self._machine, [self._program, "-f", "-"], text)


def find_nft(machine: Machine) -> Nft | None:
    program = machine.find("nft")
    return Nft(machine, program) if program else None


def _set(members: Iterable[object]) -> str:
    return f"{{ {', '.join(map(str, members))} }}"
