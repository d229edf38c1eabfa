"""Which of a command's calls went through the sidecar, and which got around it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Final

from sidecar.address import Address
from sidecar.cli.processes import Connection, Program

Row = Mapping[str, Any]

NO_PROVIDER: Final = "-"
"""What `/calls` has for a host without a policy; `/unknown` names the host."""


@dataclass(frozen=True, slots=True)
class Seen:
    """All that was seen of one run."""

    exit_code: int
    duration_s: float
    calls: Sequence[Row]
    """Of `/calls`, those that ended meanwhile."""
    unknown: Sequence[Row]
    """Of `/unknown`, with `calls` of this run."""
    hosts: Mapping[str, Sequence[str]]
    """Each provider's."""
    programs: Mapping[int, Program]
    connections: Iterable[Connection]
    accepted: frozenset[tuple[int, Address]]
    closed: Iterable[tuple[Address, Address]]
    """Both ends of each connection in this network namespace that ended meanwhile, whoever had it."""
    names: Mapping[str, str]
    """Hosts of providers, by their addresses."""
    redirected: bool
    """The command was to be redirected, and had no proxy variables."""
    policies: Row = field(default_factory=dict)
    """`/policies` at the end."""

    def name(self, pid: int) -> str:
        """The executable's."""
        program = self.programs.get(pid)
        return program.name if program else "?"


@dataclass(frozen=True, slots=True)
class Through:
    """Calls to one provider."""

    provider: str
    hosts: tuple[str, ...]
    mode: str
    calls: int
    outcomes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Around:
    """Connections that one program made to somebody else."""

    address: str
    port: int
    host: str
    """Empty where no policy's host has that address."""
    program: str
    connections: int
    inside: bool
    """A private address: a service of the cluster's, and no provider."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    exit_code: int
    duration_s: float
    through: tuple[Through, ...]
    unknown: tuple[Row, ...]
    around: tuple[Around, ...]
    hints: tuple[str, ...]


KINDS: Final = {
    "node": "Node",
    "bun": "Node",
    "java": "Java",
    "python": "Python",
    "pypy": "Python",
    "curl": "curl",
    "wget": "wget",
}
PROXY_HINTS: Final = {
    "Node": "Node reads the proxy variables from 22.21 and 24.5 on, with NODE_USE_ENV_PROXY=1. SDKs that bring an agent"
    " or dispatcher of their own (stripe, undici) read none: give them one that does",
    "Python": "aiohttp wants ClientSession(trust_env=True), urllib3 a ProxyManager, hubspot-api-client"
    " Client.create(proxy=…)",
    "Java": "The JVM takes its proxy from JAVA_TOOL_OPTIONS; Apache HttpClient only with useSystemProperties(), OkHttp"
    " and Netty from their own builders",
}
TRUST_HINTS: Final = {
    "Node": "Node reads NODE_EXTRA_CA_CERTS when it starts; a `ca` option in code replaces it",
    "Python": "requests and what is built on it read REQUESTS_CA_BUNDLE, most others SSL_CERT_FILE; stripe only"
    " stripe.ca_bundle_path, hubspot-api-client behind a proxy only ssl_ca_cert=",
    "Java": "The JVM knows only its trust store: `sidecar ca export --format p12 --password changeit` makes one for"
    " --trust-store",
    "curl": "curl reads CURL_CA_BUNDLE or SSL_CERT_FILE, unless --cacert or a .curlrc names another file",
    "wget": "wget reads no variable: --ca-certificate, or ca_certificate in .wgetrc",
}


NOTHING: Final = "No call was counted, and no connection seen."
REDIRECT_HINT: Final = (
    "Its connections are not redirected: `sidecar firewall show` has the rules of this network namespace."
)


def kind(program: str) -> str:
    """The runtime that an executable is, in the words of the hints; empty for others."""
    return KINDS.get(program.rstrip("0123456789."), "")


def hints(seen: Seen, connected: Set[str], around: Sequence[Around]) -> Iterator[str]:
    """`connected` are the programs that were seen to reach the sidecar."""
    yield from _of_policies(seen.policies)
    outside = sorted({row.program for row in around if not row.inside})
    for program in outside:
        yield f"{program} called {_some(around, program)} directly. {_why(program, seen)}"
    refused = [row["host"] for row in seen.unknown if row["calls"] and not row["allowed"]]
    if refused:
        yield f"{', '.join(refused)}: no policy, so refused. Write one, or allow it by `egress` in defaults.yaml."
    answered = seen.calls or any(row["calls"] for row in seen.unknown)
    if not answered:
        yield from map(_distrusts, sorted(connected))
    if not (answered or connected or outside):
        yield NOTHING
        if seen.exit_code:
            yield from _if_distrusted(seen)


def _of_policies(policies: Row) -> Iterator[str]:
    if policies.get("loaded_at", "") is None:
        yield "The sidecar refuses every call until its policies are fit: /readyz?verbose names each problem."
    for warning in policies.get("warnings", ()):
        yield f"{warning['file']} {warning['message']}."


def _some(around: Sequence[Around], program: str) -> str:
    names = list(dict.fromkeys(row.host or row.address for row in around if row.program == program and not row.inside))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _why(program: str, seen: Seen) -> str:
    if seen.redirected:
        return REDIRECT_HINT
    if any(not found.proxied for found in seen.programs.values() if found.name == program):
        return "It ran without HTTPS_PROXY: something between this command and it drops the variables."
    hint = PROXY_HINTS.get(kind(program), "Its HTTP library has to be told of the proxy")
    return f"{hint}; what cannot be told needs transparent redirection."


def _if_distrusted(seen: Seen) -> Iterator[str]:
    """A client that distrusts us may be gone within a millisecond, and leave no trace but its complaint."""
    for program in sorted({program.name for program in seen.programs.values() if kind(program.name)}):
        hint = TRUST_HINTS[kind(program)]
        yield f"If {program} complained of a certificate: {hint}. The daemon's log names the host."


def _distrusts(program: str) -> str:
    hint = TRUST_HINTS.get(kind(program), "Its TLS library has to know the bundle in --ca-dir")
    return f"{program} connected to the sidecar, but no call came: most likely it distrusts the certificate. {hint}."


def diagnose(seen: Seen, listen: Address, transparent: Address) -> Diagnosis:
    own, foreign = [], []
    for connection in seen.connections:
        if _to_sidecar(connection, seen.accepted, listen, transparent):
            own.append(connection)
        elif not _is_local(connection.remote):
            foreign.append(connection)
    around = tuple(sorted(_around(foreign, seen), key=_importance))
    return Diagnosis(
        seen.exit_code,
        seen.duration_s,
        tuple(_through(seen)),
        tuple(row for row in seen.unknown if row["calls"] > 0),
        around,
        tuple(hints(seen, {seen.name(connection.pid) for connection in own} or _brief(seen, listen), around)),
    )


def _to_sidecar(
    connection: Connection, accepted: frozenset[tuple[int, Address]], listen: Address, transparent: Address
) -> bool:
    """A redirected connection still shows the address that was dialled; its other end shows who accepted it."""
    dialled = connection.remote.port == listen.port and _is_local(connection.remote)
    return dialled or (transparent.port, connection.local) in accepted


def _brief(seen: Seen, listen: Address) -> set[str]:
    """Who may have connected to the sidecar for too short a time to be seen: a failed handshake takes a millisecond."""
    if not any(listen.port in (local.port, remote.port) for local, remote in seen.closed):
        return set()
    names = {program.name for program in seen.programs.values()}
    return {name for name in names if kind(name)} or names or {"?"}


def _is_local(address: Address) -> bool:
    at = ip_address(address.host)
    return at.is_loopback or at.is_unspecified


def _through(seen: Seen) -> Iterator[Through]:
    counts = Counter((call["provider"], call["mode"]) for call in seen.calls if call["provider"] != NO_PROVIDER)
    for (provider, mode), calls in counts.most_common():
        outcomes = Counter(
            call["outcome"] for call in seen.calls if (call["provider"], call["mode"]) == (provider, mode)
        )
        yield Through(provider, tuple(seen.hosts.get(provider, ())), mode, calls, dict(outcomes))


def _around(foreign: Sequence[Connection], seen: Seen) -> Iterator[Around]:
    counts = Counter((connection.remote, seen.name(connection.pid)) for connection in foreign)
    for (remote, program), connections in counts.items():
        host = seen.names.get(remote.host, "")
        inside = ip_address(remote.host).is_private and not host
        yield Around(remote.host, remote.port, host, program, connections, inside)


def _importance(row: Around) -> tuple[bool, int, str, int]:
    return row.inside, -row.connections, row.address, row.port
