"""Connections to providers: one pool an origin, which outlives the policies that asked for it."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

from sidecar.call import Handler
from sidecar.clock import Clock
from sidecar.errors import WireError
from sidecar.http1.dial import Dialer, Resolver, open_raw
from sidecar.http1.limits import PoolLimits
from sidecar.http1.pool import Origin, Pool
from sidecar.http1.proxy import Connector, Proxy, ProxyDialer
from sidecar.http1.raw import RawConnection
from sidecar.http1.tls import TlsSettings, client_context
from sidecar.policy.model import ProviderPolicy, Settings, Timeouts, Tls
from sidecar.policy.outgoing import UpstreamProxy
from sidecar.rules.egress import may_ask, may_call
from sidecar.steps.transport import TransportSettings, transport
from sidecar.steps.tunnel import tunnel

UNHURRIED_S: Final = 86400.0
"""What `timeouts: off` means where a number is needed."""
Signature: TypeAlias = tuple[int, int, int] | None
MINIMUM: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class Upstreams:
    """Pools by origin. Those of origins that nothing calls any more empty themselves, and are dropped by `tidy`."""

    def __init__(self, limits: PoolLimits, dns_ttl_s: float, clock: Clock, via: bytes) -> None:
        self._limits = limits
        self._clock = clock
        self._via = via
        self._resolver = Resolver(clock, dns_ttl_s)
        self._dialer = Dialer(self._resolver)
        self._pools: dict[Origin, Pool] = {}
        self._files: dict[TlsSettings, tuple[Signature, ...]] = {}
        """Certificates and keys as they were when a pool first used them."""
        self._providers: dict[Origin, str] = {}

    def transport(self, policy: ProviderPolicy, settings: Settings, *, named: bool = True) -> Handler:
        """The innermost handler of one of the policy's routes (`compile.TransportFactory`).

        `named` says that a policy wrote the host down, and so may mean a private address by it.
        """
        goal = policy.origin
        if goal is None:
            raise ValueError(f"{policy.provider} has no upstream")
        tls = tls_settings(policy.tls) if goal.scheme == "https" else None
        proxy = self._proxy(policy.upstream_proxy, goal.host)
        origin = Origin(goal.host, goal.port, tls, private=named, proxy=proxy)
        timing = timings(str(goal).partition("://")[2], settings.timeouts)
        if tls is None and proxy is not None:
            timing = replace(timing, proxy=proxy)
        return transport(self._pool(origin, policy.provider), timing, self._clock, self._via)

    def tunnel(self, policy: ProviderPolicy, *, named: bool = True) -> Handler:
        """The innermost handler of what is not opened: a connection to the policy's upstream."""
        goal = policy.origin
        if goal is None:
            raise ValueError(f"{policy.provider} has no upstream")
        connector, allows = self._way(self._proxy(policy.upstream_proxy, goal.host), named=named)

        async def dial() -> RawConnection:
            return await open_raw(connector, goal.host, goal.port, allows)

        return tunnel(dial, timings("", policy.timeouts).connect_s, self._clock)

    def is_own(self, near: tuple[str, int], far: tuple[str, int]) -> bool:
        """Whether there is a connection of ours between these ends (`intercept.door.Network`)."""
        return self._dialer.is_own(near, far)

    async def resolves_to(self, host: str, port: int, address: str) -> bool:
        """Whether `address` is among those of the name. False, too, where the name has none."""
        try:
            rows = await self._resolver.resolve(host, port)
        except WireError:
            return False
        return any(row[4][0].partition("%")[0] == address for row in rows)

    def connections(self) -> Iterator[tuple[str, int, int]]:
        """(provider, open, idle) for each pool."""
        for origin, pool in self._pools.items():
            yield self._providers[origin], pool.open, pool.idle

    def tidy(self) -> None:
        """Forget pools without connections and, where certificates were replaced, what the old ones vouched for.

        A pool that is forgotten goes on for those who hold it, and empties itself.
        """
        replaced = {tls for tls, seen in self._files.items() if _signatures(tls) != seen}
        if replaced:
            # All of them: contexts share one cache, and a session cannot be resumed under another context.
            client_context.cache_clear()
            self._files.clear()
        for origin, pool in list(self._pools.items()):
            if not pool.open or (replaced and origin.tls is not None):
                del self._pools[origin], self._providers[origin]

    def close(self) -> None:
        for pool in self._pools.values():
            pool.abort()

    def _pool(self, origin: Origin, provider: str) -> Pool:
        pool = self._pools.get(origin)
        if pool is None:
            connector, allows = self._way(origin.proxy, named=origin.private, tunnels=origin.tls is not None)
            pool = self._pools[origin] = Pool(origin, connector, allows, self._limits, self._clock)
            self._providers[origin] = provider
            if origin.tls is not None and origin.tls not in self._files:
                self._files[origin.tls] = _signatures(origin.tls)
        return pool

    def _proxy(self, said: UpstreamProxy | None, host: str) -> Proxy | None:
        if said is None or said.spares(host):
            return None
        return Proxy(said.url.host, said.url.port, said.authorization, self._via)

    def _way(
        self, proxy: Proxy | None, *, named: bool, tunnels: bool = True
    ) -> tuple[Connector, Callable[[str], bool]]:
        """What connects, and what judges where to: each address, or the host alone if a proxy resolves it."""
        if proxy is None:
            return self._dialer, partial(may_call, named=named)
        return ProxyDialer(self._dialer, proxy, partial(may_call, named=True), tunnels=tunnels), partial(
            may_ask, named=named
        )


def timings(authority: str, timeouts: Timeouts | None) -> TransportSettings:
    if timeouts is None:
        return TransportSettings(authority, UNHURRIED_S, UNHURRIED_S, UNHURRIED_S)
    return TransportSettings(authority, timeouts.connect, timeouts.attempt, timeouts.idle)


def tls_settings(tls: Tls) -> TlsSettings:
    return TlsSettings(_path(tls.ca_file), MINIMUM[tls.min], _path(tls.client_cert), _path(tls.client_key))


def _signatures(tls: TlsSettings) -> tuple[Signature, ...]:
    """What tells one state of the files from another: inode, time and size; a file that is missing has none."""
    found = []
    for path in (tls.ca_file, tls.client_cert, tls.client_key):
        try:
            status = None if path is None else path.stat()
        except OSError:
            status = None
        found.append(None if status is None else (status.st_ino, status.st_mtime_ns, status.st_size))
    return tuple(found)


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
