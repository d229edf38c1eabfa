"""The rules in iptables' language: a chain of our own in the nat table, one for IPv4 and one for IPv6."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sidecar.firewall.machine import NET_ADMIN, NET_RAW, FirewallError, Machine, has_ipv6, require, run_checked
from sidecar.firewall.rules import Redirect

CHAIN: Final = "SIDECAR_OUTPUT"
JUMP: Final = f"-I OUTPUT 1 -p tcp -j {CHAIN}"
"""First: another mesh's rules are to see the sidecar's calls rather than the application's."""
LOCK_S: Final = "5"
"""How long to wait for another program's change."""
VERSIONS: Final = {4: "iptables", 6: "ip6tables"}
FLAVOURS: Final = ("-nft", "-legacy")


def rules(redirect: Redirect, version: int) -> list[str]:
    """The chain and the jump to it: first what goes straight, then what is caught. None where nothing is to be."""
    if version == 6 and not redirect.ipv6:
        return []
    straight = [
        "-o lo",
        *(f"-m owner --uid-owner {uid}" for uid in redirect.straight_uids),
        *(f"-d {network}" for network in redirect.straight_networks(version)),
        *(f"-p tcp --dport {ports.text(':')}" for ports in redirect.straight_ports),
    ]
    caught = [f"-p tcp --dport {ports.text(':')}" for ports in redirect.caught_ports] or ["-p tcp"]
    return [
        *(f"-A {CHAIN} {match} -j RETURN" for match in straight),
        *(f"-A {CHAIN} {match} -j REDIRECT --to-ports {redirect.to_port}" for match in caught),
        JUMP,
    ]


def transaction(saved: str, wanted: Sequence[str]) -> str:
    """What leads from the nat table that was `saved` to one with these rules of ours, whatever ours were before.

    Empty when there were none, and are to be none.
    """
    jumps = [line for line in saved.splitlines() if line.startswith("-A ") and line.endswith(f"-j {CHAIN}")]
    if not wanted and f":{CHAIN} " not in saved:
        return ""
    lines = [
        f":{CHAIN} - [0:0]",  # makes the chain, or empties it
        *(f"-D {jump.removeprefix('-A ')}" for jump in jumps),
        *(wanted or (f"-X {CHAIN}",)),
    ]
    return "\n".join(("*nat", *lines, "COMMIT", ""))


def in_force(saved: str) -> list[str]:
    """The rules of ours in a nat table that was saved, as `transaction` takes them."""
    found = [line for line in saved.splitlines() if line.startswith(f"-A {CHAIN} ")]
    return [*found, JUMP] if found else []


class Iptables:
    """One flavour of the `iptables` programs."""

    def __init__(self, machine: Machine, flavour: str) -> None:
        self.name = f"iptables{flavour}"
        self._machine = machine
        self._flavour = flavour

    def script(self, redirect: Redirect) -> str:
        versions = [version for version in VERSIONS if rules(redirect, version)]
        return "".join(
            f"# {VERSIONS[version]}{self._flavour}-restore --noflush\n{transaction('', rules(redirect, version))}"
            for version in versions
        )

    def up(self, redirect: Redirect) -> None:
        before = self._saved(4)
        self._apply(4, before, rules(redirect, 4))
        try:
            self._apply(6, self._saved(6), rules(redirect, 6))
        except FirewallError:
            # Where no traffic can go over IPv6, none can get around the sidecar by it.
            if redirect.ipv6 and has_ipv6(self._machine):
                self._apply(4, self._saved(4), in_force(before))
                raise

    def down(self) -> None:
        for version in VERSIONS:
            self._apply(version, self._saved(version), ())

    def shown(self) -> str:
        return "".join(
            f"# {VERSIONS[version]}{self._flavour}\n" + "".join(f"{line}\n" for line in lines)
            for version in VERSIONS
            if (lines := [line for line in self._saved(version).splitlines() if CHAIN in line])
        )

    def _saved(self, version: int) -> str:
        """The nat table, as its tool writes it; empty where there is none."""
        program = self._machine.find(f"{VERSIONS[version]}{self._flavour}-save")
        if program is None or (self._flavour == "-legacy" and not self._has_table(version)):
            return ""
        self._require()
        return run_checked(self._machine, [program, "-t", "nat"])

    def _has_table(self, version: int) -> bool:
        """To ask the legacy tool would make the table, and load its modules.

        The list is not there while the module is not; or it may not be read, which a privileged process always may.
        """
        names = self._machine.read(f"/proc/net/{'ip' if version == 4 else 'ip6'}_tables_names")
        if names is None:
            require(self._machine, self.name, NET_ADMIN)
            return False
        return "nat" in names.split()

    def _apply(self, version: int, saved: str, wanted: Sequence[str]) -> None:
        text = transaction(saved, wanted)
        if not text:
            return
        self._require()
        name = f"{VERSIONS[version]}{self._flavour}-restore"
        program = self._machine.find(name)
        if program is None:
            raise FirewallError(f"{name} is not installed")
        run_checked(self._machine, [program, "--noflush", "-w", LOCK_S], text)

    def _require(self) -> None:
        require(self._machine, self.name, *((NET_ADMIN,) if self._flavour == "-nft" else (NET_ADMIN, NET_RAW)))


def find_iptables(machine: Machine) -> list[Iptables]:
    """The flavours that are there. Without either name there is one program, of whichever flavour it is."""
    found = [flavour for flavour in FLAVOURS if machine.find(f"iptables{flavour}-restore")]
    if not found and machine.find("iptables-restore"):
        found = [""]
    return [Iptables(machine, flavour) for flavour in found]
