"""From a name or a host to the pipeline of a call: the policies in force, indexed (`intercept.router.Directory`).

One directory a reload; a call keeps to the one that it began with. Pipelines are compiled when first called, so ten
thousand routes cost a start nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

from sidecar.call import Handler
from sidecar.errors import ClientError, Reason
from sidecar.policy.compile import Pipeline as CompiledPipeline
from sidecar.policy.compile import Ports, compile_pipeline, compile_tunnel
from sidecar.policy.keep import UNMATCHED
from sidecar.policy.match import HostIndex, RouteIndex
from sidecar.policy.model import ProviderPolicy, Route
from sidecar.policy.names import Origin
from sidecar.policy.sources import LoadedPolicies
from sidecar.policy.units import NotUnderstood
from sidecar.serving.unknown import MOST_HOSTS, UnknownHosts, allows, passing
from sidecar.serving.upstreams import Upstreams

K = TypeVar("K")

MOST_WILDCARD_HOSTS: Final = 256
"""Hosts below one provider's wildcards that pipelines are kept for; the one called longest ago goes first."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """One route's compiled steps, and what their far end is called."""

    provider: str
    route: str
    upstream: str
    handle: Handler


class Routes:
    """A provider's routes towards one upstream."""

    __slots__ = ("_compiled", "_digest", "_index", "_policy", "_ports", "_upstream")

    def __init__(self, policy: ProviderPolicy, index: RouteIndex[Route | None], digest: str, ports: Ports) -> None:
        self._policy = policy
        self._index = index
        self._digest = digest
        self._ports = ports
        self._upstream = str(policy.origin).partition("://")[2]
        self._compiled: dict[str, Pipeline] = {}

    @property
    def provider(self) -> str:
        return self._policy.provider

    @property
    def origin(self) -> str:
        """Such as `https://api.stripe.com`."""
        return str(self._policy.origin)

    def pipeline(self, method: str, path: bytes) -> Pipeline:
        route = self._index.find(method, path)
        return self._compiled.get(UNMATCHED if route is None else route.name) or self._compile(route)

    def warm(self) -> Iterator[None]:
        """Compile what no call has needed yet, one pipeline a step."""
        for route in (None, *self._policy.routes):
            if (UNMATCHED if route is None else route.name) not in self._compiled:
                self._compile(route)
                yield

    def _compile(self, route: Route | None) -> Pipeline:
        made = compile_pipeline(self._policy, route, self._digest, self._ports)
        pipeline = self._compiled[made.route] = Pipeline(made.provider, made.route, self._upstream, made.handle)
        return pipeline


class Provider:
    """One policy. Without an `upstream` of its own, each of its hosts is where its calls go."""

    __slots__ = ("_by_host", "_digest", "_index", "_policy", "_ports", "_routes", "_tunnels", "_upstreams", "_wild")

    def __init__(self, policy: ProviderPolicy, digest: str, ports: Ports, upstreams: Upstreams) -> None:
        self._policy = policy
        self._digest = digest
        # Only an upstream that somebody wrote down can mean an inner address: whoever controls the DNS of a host
        # must not lead us to one.
        written = policy.upstream is not None
        self._ports = ports = replace(ports, transport=partial(upstreams.transport, named=written))
        self._index: RouteIndex[Route | None] = RouteIndex(
            ((route.match.method, route.match.path, route) for route in policy.routes), None
        )
        self._routes = None if policy.origin is None else self._towards(policy, ports)
        self._upstreams = upstreams
        self._tunnels: OrderedDict[str, Pipeline] = OrderedDict()
        self._by_host: dict[str, Routes] = {}
        self._wild: OrderedDict[str, Routes] = OrderedDict()

    def warm(self) -> Iterator[None]:
        if self._routes is not None:
            yield from self._routes.warm()

    def by_name(self) -> Routes:
        if self._routes is None:
            detail = (
                f"the policy {self._policy.provider} has wildcard hosts only: call the host itself, or set `upstream`"
            )
            raise ClientError(Reason.UNKNOWN_PROVIDER, detail)
        return self._routes

    def by_host(self, named: str, host: str) -> Routes:
        """The routes for a host that was found under `named`: itself, or a wildcard."""
        if self._policy.upstream is not None:
            return self.by_name()
        if not named.startswith("*."):
            return self._by_host.get(named) or self._add(named)
        found = self._wild.get(host)
        if found is None:
            return self._add_wild(host)
        self._wild.move_to_end(host)
        return found

    @property
    def intercepts(self) -> bool:
        """Whether its HTTPS calls are opened."""
        return self._policy.intercept == "on"

    def tunnel(self, host: str) -> Pipeline:
        """What carries a connection to one of its hosts that is not opened."""
        made = self._tunnels.get(host)
        if made is None:
            policy = self._policy if self._policy.upstream is not None else self._at(host)
            connect = self._upstreams.tunnel(policy, named=self._policy.upstream is not None)
            compiled = compile_tunnel(policy, self._digest, self._ports, connect)
            made = _keep(self._tunnels, host, _shown(compiled, policy.origin), MOST_WILDCARD_HOSTS)
        return made

    def _add(self, host: str) -> Routes:
        routes = self._by_host[host] = self._towards(self._at(host), self._ports)
        return routes

    def _add_wild(self, host: str) -> Routes:
        if len(self._wild) >= MOST_WILDCARD_HOSTS:
            self._wild.popitem(last=False)
        routes = self._wild[host] = self._towards(self._at(host), self._ports)
        return routes

    def _at(self, host: str) -> ProviderPolicy:
        try:
            origin = self._policy.origin_for(host)
        except NotUnderstood:
            raise ClientError(Reason.BAD_REQUEST, "the request's host is not a host name") from None
        return self._policy.model_copy(update={"upstream": origin})

    def _towards(self, policy: ProviderPolicy, ports: Ports) -> Routes:
        return Routes(policy, self._index, self._digest, ports)


class Directory:
    """The policies in force."""

    def __init__(self, loaded: LoadedPolicies, ports: Ports, upstreams: Upstreams, unknown: UnknownHosts) -> None:
        providers = [Provider(policy, loaded.digest, ports, upstreams) for policy in loaded.providers]
        named: Sequence[tuple[ProviderPolicy, Provider]] = tuple(zip(loaded.providers, providers, strict=True))
        self._names = {policy.provider.encode(): provider for policy, provider in named}
        self._hosts: HostIndex[tuple[str, Provider]] = HostIndex(
            (host, (host, provider)) for policy, provider in named for host in policy.hosts
        )
        self._egress = loaded.egress
        self._proxy = loaded.upstream_proxy
        self._unknown = unknown
        self._passing: OrderedDict[Origin, Pipeline] = OrderedDict()
        self._tunnels: OrderedDict[Origin, Pipeline] = OrderedDict()
        self._ports = replace(ports, transport=partial(upstreams.transport, named=False))
        self._upstreams = upstreams

    def warm(self) -> Iterator[None]:
        """Compile pipelines ahead of their first call, one a step: their breakers and limiters can be seen, and set by
        hand, and the first call does not wait for it."""
        for provider in self._names.values():
            yield from provider.warm()

    def by_name(self, name: bytes) -> Routes | None:
        provider = self._names.get(name)
        return None if provider is None else provider.by_name()

    def by_host(self, authority: bytes) -> Routes | None:
        found = self._hosts.find(authority)
        if found is None:
            return None
        host, provider = found
        return provider.by_host(host, _host(authority) if host.startswith("*.") else host)

    def intercepts(self, authority: bytes) -> bool | None:
        """Whether calls to this host are opened; None if no policy has it."""
        found = self._hosts.find(authority)
        return None if found is None else found[1].intercepts

    def verifies_sni(self) -> bool:
        """Whether a redirected connection's server name must resolve to the address that was called."""
        return self._egress.verify_sni

    def tunnel(self, authority: bytes) -> Pipeline | None:
        """What carries a connection to a policy's host that is not opened; None if no policy has it."""
        found = self._hosts.find(authority)
        return None if found is None else found[1].tunnel(_host(authority))

    def unknown_tunnel(self, host: str, port: int) -> Pipeline | None:
        """The same for a host without a policy; None where egress is denied. Counts the host."""
        allowed = allows(self._egress, port)
        self._unknown.count(host, port, allowed)
        if not allowed:
            return None
        origin = Origin("https", host.strip("[]"), port)
        made = self._tunnels.get(origin)
        if made is None:
            policy = passing(origin, self._proxy)
            connect = self._upstreams.tunnel(policy, named=False)
            made = _keep(
                self._tunnels, origin, _shown(compile_tunnel(policy, "", self._ports, connect), origin), MOST_HOSTS
            )
        return made

    def unknown(self, host: str, port: int, secure: bool) -> Pipeline | None:
        """Carried as it came: TLS is begun only where the application, or the port, says so."""
        allowed = allows(self._egress, port)
        self._unknown.count(host, port, allowed)
        if not allowed:
            return None
        origin = Origin("https" if secure or port == 443 else "http", host.strip("[]"), port)
        pipeline = self._passing.get(origin)
        if pipeline is None:
            return self._pass(origin)
        self._passing.move_to_end(origin)
        return pipeline

    def _pass(self, origin: Origin) -> Pipeline:
        if len(self._passing) >= MOST_HOSTS:
            self._passing.popitem(last=False)
            self._upstreams.tidy()
        made = compile_pipeline(passing(origin, self._proxy), None, "", self._ports)
        pipeline = self._passing[origin] = Pipeline(
            made.provider, made.route, str(origin).partition("://")[2], made.handle
        )
        return pipeline


def _shown(made: CompiledPipeline, origin: Origin | None) -> Pipeline:
    return Pipeline(made.provider, made.route, str(origin).partition("://")[2], made.handle)


def _keep(table: OrderedDict[K, Pipeline], key: K, pipeline: Pipeline, most: int) -> Pipeline:
    """Remember it, and forget the oldest when there are too many."""
    if len(table) >= most:
        table.popitem(last=False)
    table[key] = pipeline
    return pipeline


def _host(authority: bytes) -> str:
    """The host of an authority without its port, in lower case."""
    name, colon, port = authority.decode("ascii").lower().rpartition(":")
    return (name if colon and port.isdigit() else authority.decode("ascii").lower()).removesuffix(".")
