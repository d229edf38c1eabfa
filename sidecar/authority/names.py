"""Which names may be signed: the hosts that policies name, and the constraints that a certificate carries.

What may live here: comparisons of DNS names. A constraint is read as RFC 5280 4.2.1.10 has it: a base permits itself
and all below it, so it is always wider than one host. Hence both are asked before a leaf is made.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

log = logging.getLogger(__name__)

_NAME: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*"
)
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")


def dns_name(host: str) -> str | None:
    """`host` in lower case, without a dot at its end; None for an address, a wildcard and whatever else is no name."""
    name = host.lower().removesuffix(".")
    if not _NAME.fullmatch(name):
        return None
    # Whatever ends in a number is an IPv4 address to somebody.
    return None if _NUMBER.fullmatch(name.rpartition(".")[2]) else name


@dataclass(frozen=True, slots=True)
class Hosts:
    """The names that policies ask for: some as they are, and all below some others."""

    exact: frozenset[str]
    below: frozenset[str]

    @classmethod
    def of(cls, hosts: Iterable[str]) -> Hosts:
        """From what policies write: `api.x.com`, `*.x.com`, either with a port; addresses have no certificate."""
        exact, below = set[str](), set[str]()
        for host in hosts:
            wildcard = host.startswith("*.")
            name = dns_name(_without_port(host.removeprefix("*.")))
            if name is not None:
                (below if wildcard else exact).add(name)
        return cls(frozenset(exact), frozenset(below))

    def has(self, name: str) -> bool:
        return name in self.exact or any(parent in self.below for parent in _parents(name))

    def as_policies(self) -> list[str]:
        """As policies write them; `of` takes it back."""
        return sorted(self.exact | {f"*.{base}" for base in self.below})

    @property
    def bases(self) -> frozenset[str]:
        """The fewest bases of a constraint that permits them all."""
        return fewest(self.exact | self.below)


@dataclass(frozen=True, slots=True)
class Constraint:
    """The DNS part of one certificate's name constraints; `permitted` is None where it has none, and so permits all."""

    permitted: frozenset[str] | None
    excluded: frozenset[str] = frozenset()

    def permits(self, name: str) -> bool:
        return (self.permitted is None or _within(self.permitted, name)) and not _within(self.excluded, name)


def say_forbidden(hosts: Hosts, permits: Callable[[str], bool]) -> None:
    """Warn of hosts that an authority does not permit."""
    forbidden = sorted(base for base in hosts.bases if not permits(base))
    if forbidden:
        log.warning(
            "the authority does not permit some hosts of the policies: they are not intercepted",
            extra={"hosts": ", ".join(forbidden[:20]), "count": len(forbidden)},
        )


def fewest(bases: Iterable[str]) -> frozenset[str]:
    """`bases` without those that another has within it."""
    every = set(bases)
    return frozenset(base for base in every if not any(parent in every for parent in _parents(base)))


def _within(bases: frozenset[str], name: str) -> bool:
    """A base that begins with a dot, which others than we may write, permits only what is below it."""
    return name in bases or "" in bases or any(parent in bases or f".{parent}" in bases for parent in _parents(name))


def _parents(name: str) -> Iterator[str]:
    while "." in name:
        name = name.partition(".")[2]
        yield name


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host
