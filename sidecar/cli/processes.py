"""What a process, and those it starts, connect to: samples of /proc, for which nobody needs a privilege."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final

from sidecar.address import Address

TIME_WAIT: Final = "06"
LISTENING: Final = "0A"
TABLES: Final = ("net/tcp", "net/tcp6")


@dataclass(frozen=True, slots=True)
class Program:
    """One process, as far as its environment and executable may be shown."""

    pid: int
    name: str
    proxied: bool
    """HTTPS_PROXY was in its environment when it began."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A TCP connection that one of the processes had."""

    pid: int
    local: Address
    remote: Address


@dataclass(frozen=True, slots=True)
class Row:
    """One line of /proc/net/tcp."""

    local: Address
    remote: Address
    state: str
    inode: str
    """0 for one that no process has any more."""


def table(proc: Path = Path("/proc")) -> Iterator[Row]:
    """Each TCP socket of this network namespace."""
    for name in TABLES:
        try:
            lines = (proc / name).read_text().splitlines()[1:]
        except OSError:
            # A kernel without IPv6 has one table.
            continue
        for _, local, remote, state, *_, inode in (line.split(maxsplit=10)[:10] for line in lines):
            yield Row(read_endpoint(local), read_endpoint(remote), state, inode)


def closed(proc: Path = Path("/proc")) -> set[tuple[Address, Address]]:
    """Both ends of the connections that ended within the last minute, whoever had them."""
    return {(row.local, row.remote) for row in table(proc) if row.state == TIME_WAIT}


class Processes:
    """A process and its descendants. What lives and dies between two looks is never seen."""

    def __init__(self, root: int, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._living = {root}
        self.programs: dict[int, Program] = {}
        self.connections: set[Connection] = set()
        self.accepted: set[tuple[int, Address]] = set()
        """Port and peer of each connection that something on this machine had accepted, or made."""

    def look(self) -> None:
        """Take one sample."""
        for pid in tuple(self._living):
            self._living.update(self._children(pid))
        rows = {row.inode: row for row in table(self._proc) if row.state != LISTENING}
        self.accepted.update((row.local.port, row.remote) for row in rows.values())
        for pid in tuple(self._living):
            self._look_at(pid, rows)

    def _look_at(self, pid: int, rows: dict[str, Row]) -> None:
        try:
            # Again each time: a process becomes another program when it calls exec.
            self.programs[pid] = self._program(pid)
            inodes = tuple(self._sockets(pid))
        except OSError:
            # It ended, or gave its rights away.
            self._living.discard(pid)
            return
        for inode in inodes:
            if row := rows.get(inode):
                self.connections.add(Connection(pid, row.local, row.remote))

    def _children(self, pid: int) -> Iterator[int]:
        try:
            for task in os.listdir(self._proc / str(pid) / "task"):
                yield from map(int, (self._proc / str(pid) / "task" / task / "children").read_text().split())
        except OSError:
            return

    def _program(self, pid: int) -> Program:
        home = self._proc / str(pid)
        name = os.path.basename(os.readlink(home / "exe")).removesuffix(" (deleted)")
        environ = (home / "environ").read_bytes()
        return Program(pid, name, re.search(rb"(?:^|\0)https_proxy=", environ, re.IGNORECASE) is not None)

    def _sockets(self, pid: int) -> Iterator[str]:
        """Inodes."""
        home = self._proc / str(pid) / "fd"
        for descriptor in os.listdir(home):
            try:
                target = os.readlink(home / descriptor)
            except OSError:
                continue
            if target.startswith("socket:["):
                yield target[8:-1]


def read_endpoint(text: str) -> Address:
    """`0100007F:1DB0`: 32-bit words in the machine's byte order. An IPv4 address in an IPv6 one is given as itself."""
    digits, _, port = text.partition(":")
    words = [int(digits[start : start + 8], 16) for start in range(0, len(digits), 8)]
    packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    if len(packed) == 4:
        return Address(str(IPv4Address(packed)), int(port, 16))
    address = IPv6Address(packed)
    return Address(str(address.ipv4_mapped or address), int(port, 16))
