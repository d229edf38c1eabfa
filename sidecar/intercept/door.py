"""Who is let in, and how far: what becomes of a CONNECT, and of a connection's first bytes.

What may live here: decisions about connections. Calls are `router.py`'s.
"""

from __future__ import annotations

import hmac
import logging
import ssl
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from typing import Final, Protocol, final

from sidecar.clock import Clock
from sidecar.errors import ClientError, Reason
from sidecar.http1.entry import Entry
from sidecar.http1.gate import Pending, Plain, Refuse, Ruling, Splice, Terminate
from sidecar.http1.hello import Hello
from sidecar.http1.splice import Dial, Ending
from sidecar.intercept.target import split_authority
from sidecar.rules.egress import METADATA_HOSTS
from sidecar.telemetry.meters import Family, Tally

log = logging.getLogger(__name__)

HTTP1: Final = frozenset((b"http/1.1", b"http/1.0"))
ACCESS_DENIED: Final = 49
"""The alert for a connection that the policies refuse (RFC 8446 6.2)."""
LOOPED: Final = "a connection of the sidecar's own came back to it: `sidecar firewall` must leave out its user"
SAY_EVERY_S: Final = 60.0
MOST_SAID: Final = 1024


class Credentials:
    """What a client must show that uses the sidecar as a proxy (RFC 9110 11.7). `wanted` is `user:password`."""

    def __init__(self, wanted: str) -> None:
        self._wanted = wanted.encode()

    def check(self, given: bytes | None) -> None:
        """Raises ClientError unless this `Proxy-Authorization` is right."""
        if given is None or not hmac.compare_digest(_basic(given), self._wanted):
            raise ClientError(
                Reason.PROXY_AUTHENTICATION,
                "this proxy wants a user and a password: http://user:password@ before its address",
            )

    def __repr__(self) -> str:
        return "Credentials(…)"


def _basic(value: bytes) -> bytes:
    scheme, _, rest = value.partition(b" ")
    if scheme.lower() != b"basic":
        return b""
    try:
        return b64decode(rest.strip(), validate=True)
    except Base64Error:
        return b""


def connect_goal(target: bytes) -> tuple[str, int]:
    """Host and port of a CONNECT (RFC 9112 3.2.3), the host in lower case. Raises ClientError."""
    name, port = split_authority(target)
    if not name or port is None:
        raise ClientError(Reason.BAD_REQUEST, "CONNECT wants a host and a port, such as api.example.com:443")
    host = name.decode("ascii")
    if host in METADATA_HOSTS:
        raise ClientError(Reason.ADDRESS_DENIED, f"{host} hands out the machine's own credentials: never called")
    return host, port


class Authority(Protocol):
    """Who signs for names (`sidecar.authority`)."""

    def context_for(self, host: str) -> ssl.SSLContext | None:
        """What to present for a name; None for one that it does not sign for."""
        ...

    def late(self, host: str) -> bool:
        """Whether an application that read the roots some time ago may rightly distrust us for this name."""
        ...


class Tunnels(Protocol):
    """The policies in force, as far as connections go."""

    def verifies_sni(self) -> bool:
        """Whether a redirected connection's server name must resolve to the address that was called."""
        ...

    def intercepts(self, authority: bytes) -> bool | None: ...
    def dial(self, entry: Entry) -> Dial | None:
        """Connects to where an entry leads, guarded as its provider's policy says; None where egress is denied.

        Raises `ClientError` while there are no policies.
        """
        ...


class Network(Protocol):
    """The sidecar's own connections, and what it takes names for."""

    def is_own(self, near: tuple[str, int], far: tuple[str, int]) -> bool:
        """Whether there is a connection of ours from `near` to `far`."""
        ...

    async def resolves_to(self, host: str, port: int, address: str) -> bool: ...


@final
class Door:
    """Decides what becomes of a connection before its first call (`http1.gate.Doorman`)."""

    def __init__(
        self,
        tunnels: Tunnels,
        network: Network,
        authority: Callable[[], Authority | None],
        clock: Clock,
        handshakes: Family[Tally],
    ) -> None:
        self._tunnels = tunnels
        self._network = network
        self._authority = authority
        self._clock = clock
        self._opened = handshakes.child("opened")
        self._spliced = handshakes.child("spliced")
        self._refused = handshakes.child("refused")
        self._distrusted = handshakes.child("distrusted")
        self._said_s: dict[tuple[str, str], float] = {}

    def rule(self, entry: Entry, hello: Hello | None, http: bool) -> Ruling:
        # By both ends: the kernel lends a port of its choice again for another destination.
        if entry.peer is not None and self._network.is_own(entry.peer, entry.address or (entry.host, entry.port)):
            return self._refuse(LOOPED, Reason.LOOP)
        if hello is None:
            return Plain() if http else self._tunnelled(entry)
        name = hello.server_name
        if name is not None and entry.address is not None and self._tunnels.verifies_sni():
            return Pending(partial(self._verified, entry, hello, name, entry.address))
        return self._rule(entry, hello)

    async def _verified(
        self, entry: Entry, hello: Hello, name: str, address: tuple[str, int]
    ) -> Terminate | Splice | Refuse:
        """For `egress.verify_sni`."""
        if await self._network.resolves_to(name, address[1], address[0]):
            return self._rule(entry, hello)
        self._say("a redirected client's server name is not that of the address it called: refused", name, address[0])
        return self._refuse(f"{name} does not resolve to {address[0]}, and egress.verify_sni is on")

    def _rule(self, entry: Entry, hello: Hello) -> Terminate | Splice | Refuse:
        name = entry.host if hello.server_name is None else hello.server_name
        host = name if is_address(entry.host) else entry.host
        if host != entry.host:
            entry = replace(entry, host=host)
        opens = self._tunnels.intercepts(entry.authority)
        if opens:
            context = self._context(entry, name, hello)
            if context is not None:
                self._opened.add()
                return Terminate(context, host)
        elif opens is None and hello.encrypted and entry.address is not None:
            # The name outside is a front's, unless it is a policy's: then what is hidden is only made up (GREASE).
            self._say("a client hides its server name: its address decides", entry.address[0], "encrypted ClientHello")
            entry = replace(entry, host=entry.address[0], port=entry.address[1])
        return self._tunnelled(entry)

    def _tunnelled(self, entry: Entry) -> Splice | Refuse:
        try:
            dial = self._tunnels.dial(entry)
        except ClientError as error:
            return self._refuse(error.detail, error.reason)
        if dial is None:
            detail = (
                f"no policy has the host {entry.host}, and egress to unknown hosts or to port {entry.port} is denied"
            )
            return self._refuse(detail)
        self._spliced.add()
        return Splice(dial, SILENT)

    def _refuse(self, detail: str, reason: Reason = Reason.EGRESS_DENIED) -> Refuse:
        self._refused.add()
        return Refuse(ACCESS_DENIED, detail, reason)

    def _context(self, entry: Entry, name: str, hello: Hello) -> ssl.SSLContext | None:
        if hello.alpn and not HTTP1.intersection(hello.alpn):
            self._say("a client speaks no HTTP/1.1: it is tunnelled", entry.host, "only HTTP/2 or others offered")
            return None
        authority = self._authority()
        context = None if authority is None else authority.context_for(name)
        if context is None and authority is not None:
            self._say("the authority does not sign for a name: it is tunnelled", name, "outside the constraint")
        return context

    def client_distrusts(self, entry: Entry, alert: str) -> None:
        self._distrusted.add()
        authority = self._authority()
        if authority is not None and authority.late(entry.host):
            reason = f"{alert}: it read the certificates before this host was added; restart the application"
        else:
            reason = f"{alert}: give it bundle.crt of --ca-dir; `sidecar env` prints the variables"
        self._say("a client does not trust the sidecar's authority", entry.host, reason)

    def _say(self, message: str, host: str, reason: str) -> None:
        """Once a minute for each host."""
        now_s = self._clock.now()
        if now_s - self._said_s.get((message, host), -SAY_EVERY_S) < SAY_EVERY_S:
            return
        if len(self._said_s) >= MOST_SAID:
            self._said_s.clear()
        self._said_s[message, host] = now_s
        log.warning(message, extra={"host": host, "reason": reason})


class Silent:
    """`SpliceBook` that keeps nothing: the call that the splice was has its books already."""

    def ended(self, up_bytes: int, down_bytes: int, ending: Ending) -> None:
        log.debug("a spliced connection ended", extra={"reason": str(ending)})


SILENT: Final = Silent()


def is_address(host: str) -> bool:
    # The last label of a name has a letter, so that most names are told from addresses at a glance.
    if ":" not in host and not host[-1:].isdigit():
        return False
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
