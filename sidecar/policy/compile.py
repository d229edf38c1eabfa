"""From a policy's settings to the handler that a call goes through: every decision that can be made early is made here.

What may live here: translation of settings and the chaining of steps by `order.py`. State comes from `keep.py`, sockets
and telemetry through ports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from sidecar.call import Call, Handler
from sidecar.clock import Clock
from sidecar.policy import translate
from sidecar.policy.keep import UNMATCHED, WHOLE, Keep
from sidecar.policy.match import HostIndex
from sidecar.policy.model import ProviderPolicy, Route, Settings
from sidecar.policy.model import Retry as RetryWords
from sidecar.policy.order import ORDER
from sidecar.rules.breaker import Circuit
from sidecar.rules.cache.key import Keys
from sidecar.rules.placeholder import PathValues, Template, for_text
from sidecar.steps.base import CacheStore, Step
from sidecar.steps.breaker import Breaker, always
from sidecar.steps.cache import CacheStep
from sidecar.steps.cache_ports import CacheBook, CachePorts
from sidecar.steps.classify import Classify
from sidecar.steps.deadline import Deadline
from sidecar.steps.fallback import Fallback
from sidecar.steps.flight import Flights
from sidecar.steps.limit import Limit
from sidecar.steps.retry import Retry
from sidecar.steps.rewrite import Rewrite

REFRESH_S: Final = 60.0
"""How long a refresh may take where the policy sets no timeouts."""

TUNNEL: Final = ("trace", "deadline", "retry", "breaker", "limit")
"""The steps that can do anything for a call whose bytes are not read."""
TransportFactory: TypeAlias = Callable[[ProviderPolicy, Settings], Handler]
"""The innermost handler, for a provider and the settings of one of its routes."""


class TelemetrySteps(Protocol):
    """Where the two steps come from that only watch."""

    def trace_step(self, provider: str, route: str) -> Step: ...
    def measure_step(
        self, provider: str, route: str, host: str, port: int, *, scheme: str = ..., template: str | None = ...
    ) -> Step: ...
    def cache_book(self, provider: str, route: str) -> CacheBook: ...


@dataclass(frozen=True, slots=True)
class CacheGround:
    """What the caches of all routes share."""

    store: CacheStore
    flights: Flights
    secret: bytes
    """Keys are made with it; at most 64 bytes."""


@dataclass(frozen=True, slots=True)
class Ports:
    """What compiled steps act through."""

    clock: Clock
    draw: Callable[[], float]
    """Uniform in [0, 1)."""
    keep: Keep
    transport: TransportFactory
    telemetry: TelemetrySteps
    cache: Callable[[], CacheGround]
    """Asked only where a policy caches, so that nobody else pays for it."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What one route's calls go through."""

    provider: str
    route: str
    """`-` for calls that match no route."""
    digest: str
    """Of the policy that it was compiled from."""
    steps: tuple[str, ...]
    """What is switched on, outer to inner."""
    handle: Handler


class Pipelines:
    """A provider's pipelines, each compiled when the first call needs it: ten thousand routes cost nothing unused."""

    __slots__ = ("_by_route", "_digest", "_ports", "policy")

    def __init__(self, policy: ProviderPolicy, digest: str, ports: Ports) -> None:
        self.policy = policy
        self._digest = digest
        self._ports = ports
        self._by_route: dict[str, Pipeline] = {}

    def of(self, route: Route | None) -> Pipeline:
        """The pipeline of one of the policy's routes, or of calls that match none."""
        name = UNMATCHED if route is None else route.name
        pipeline = self._by_route.get(name)
        if pipeline is None:
            pipeline = self._by_route[name] = compile_pipeline(self.policy, route, self._digest, self._ports)
        return pipeline


def compile_pipeline(policy: ProviderPolicy, route: Route | None, digest: str, ports: Ports) -> Pipeline:
    """Chain the steps that are on around the transport. State that survives comes from `ports.keep`."""
    place = _Place(policy, route, ports)
    handle = ports.transport(policy, place.settings)
    for row in reversed(ORDER):
        build = _BUILD.get(row.step)
        step = None if build is None else build(place)
        if step is not None:
            handle = step.bind(handle)
    return Pipeline(policy.provider, place.name, digest, step_names(policy, route), handle)


def compile_tunnel(policy: ProviderPolicy, digest: str, ports: Ports, connect: Handler) -> Pipeline:
    """What guards calls that are not opened: their connecting alone can be judged, waited for and held back."""
    place = _Place(policy, None, ports)
    handle = connect
    for row in reversed(ORDER):
        step = _BUILD[row.step](place) if row.step in TUNNEL else None
        if step is not None:
            handle = step.bind(handle)
    return Pipeline(policy.provider, place.name, digest, TUNNEL, handle)


def step_names(policy: ProviderPolicy, route: Route | None) -> tuple[str, ...]:
    """The steps that are on for a route, or for calls that match none, outer to inner."""
    settings: Settings = policy if route is None else route
    off = {
        "fallback": not translate.fallback(policy, route),
        "rewrite": not translate.rewrite(settings),
        "deadline": settings.timeouts is None,
        "cache": not policy.caches,
        "retry": translate.retry(settings).attempts == 1,
        "breaker": settings.breaker is None,
        "limit": translate.limit(settings) is None,
    }
    return tuple(row.step for row in ORDER if not off.get(row.step, False))


def routes_of(policies: Iterable[ProviderPolicy]) -> dict[str, frozenset[str]]:
    """The names of every provider's routes: what `Keep.retain` wants to know after a reload."""
    return {policy.provider: frozenset(route.name for route in policy.routes) for policy in policies}


class _Place:
    """Where steps are being built: one route of one policy."""

    __slots__ = ("name", "policy", "ports", "route", "settings")

    def __init__(self, policy: ProviderPolicy, route: Route | None, ports: Ports) -> None:
        self.policy = policy
        self.route = route
        self.ports = ports
        self.settings: Settings = policy if route is None else route
        self.name = UNMATCHED if route is None else route.name

    def is_dry(self, step: str) -> bool:
        return step in self.settings.dry_run

    def scope(self, key: str) -> str:
        """What shares state: all of the provider, but for a route that has numbers of its own."""
        return WHOLE if getattr(self.settings, key) == getattr(self.policy, key) else self.name


def _trace(place: _Place) -> Step:
    return place.ports.telemetry.trace_step(place.policy.provider, place.name)


def _fallback(place: _Place) -> Step | None:
    ladder = translate.fallback(place.policy, place.route)
    if not ladder:
        return None
    origin = place.policy.origin
    upstream = None if origin is None else str(origin).partition("://")[2]
    values = PathValues("" if place.route is None else place.route.match.path)
    return Fallback(ladder, values, place.ports.clock, upstream, dry_run=place.is_dry("fallback"))


def _rewrite(place: _Place) -> Step | None:
    names = translate.rewrite(place.settings)
    if not names:
        return None
    return Rewrite(names, own_hosts(place.policy), place.ports.clock, dry_run=place.is_dry("rewrite"))


def own_hosts(policy: ProviderPolicy) -> Callable[[bytes], bool]:
    """Whether what an authority has is what the provider's prefix leads to: its hosts are that only where they all have
    one upstream."""
    origin = str(policy.origin).partition("://")[2].encode()
    hosts: HostIndex[bool] = HostIndex((host, True) for host in policy.hosts if policy.upstream is not None)
    return lambda authority: authority == origin or hosts.find(authority) is not None


def _deadline(place: _Place) -> Step | None:
    settings = translate.deadline(place.settings)
    if settings is None:
        return None
    return Deadline(settings, place.ports.clock, dry_run=place.is_dry("deadline"))


def _cache(place: _Place) -> Step | None:
    """On every route of a provider of which anything is cached, since any may change what is kept."""
    policy, ports = place.policy, place.ports
    if not policy.caches:
        return None
    settings, ground, origin = translate.cache(place.settings), ports.cache(), str(policy.origin)
    timeouts = place.settings.timeouts
    cache_ports = CachePorts(
        ground.store,
        ground.flights,
        ports.keep.health(policy.provider, place.name),
        Keys(ground.secret, policy.provider, origin, () if settings is None else settings.vary_on),
        ports.clock,
        ports.telemetry.cache_book(policy.provider, place.name),
        origin,
        _tags(place, () if settings is None else settings.tags),
        REFRESH_S if timeouts is None else timeouts.total,
    )
    return CacheStep(settings, cache_ports, dry_run=place.is_dry("cache"))


def _tags(place: _Place, tags: tuple[str, ...]) -> Callable[[Call], tuple[str, ...]]:
    """What the policy lets a call's entry be purged by."""
    if not tags:
        return _no_tags
    templates = [Template.of_text(tag, for_text) for tag in tags]
    values = PathValues("" if place.route is None else place.route.match.path)

    def of(call: Call) -> tuple[str, ...]:
        known = values.of(call.target)
        return tuple(template.fill(known).decode() for template in templates)

    return of


def _no_tags(_call: Call) -> tuple[str, ...]:
    return ()


def _retry(place: _Place) -> Step:
    ports, settings = place.ports, translate.budget(place.settings)
    budget = None if settings is None else ports.keep.budget(place.policy.provider, _budget_scope(place), settings)
    return Retry(translate.retry(place.settings), budget, ports.clock, ports.draw, dry_run=place.is_dry("retry"))


def _budget_scope(place: _Place) -> str:
    """The bound is on what all retries add to the provider's load, unless a route sets a bound of its own."""
    usual, said = place.policy.retry or RetryWords(), place.settings.retry
    return WHOLE if said is not None and said.budget == usual.budget else place.name


def _breaker(place: _Place) -> Step | None:
    policy, settings, keep = place.policy, translate.breaker(place.settings), place.ports.keep
    if place.settings.breaker is None or settings is None:
        return None
    scope = place.name if place.settings.breaker.scope == "operation" else place.scope("breaker")
    circuit_of: Callable[[Call], Circuit]
    if place.settings.breaker.scope == "credential":
        circuit_of = keep.credential_circuits(policy.provider, scope, settings).of
    else:
        circuit_of = always(keep.circuit(policy.provider, scope, settings))
    return Breaker(circuit_of, place.ports.clock, dry_run=place.is_dry("breaker"))


def _limit(place: _Place) -> Step | None:
    settings = translate.limit(place.settings)
    if settings is None:
        return None
    limiter = place.ports.keep.limiter(place.policy.provider, place.scope("limit"), settings)
    return Limit(limiter, place.ports.clock, dry_run=place.is_dry("limit"))


def _measure(place: _Place) -> Step:
    policy, route, origin = place.policy, place.route, place.policy.origin
    scheme, host, port = (
        ("https", _first_host(policy), 443) if origin is None else (origin.scheme, origin.host, origin.port)
    )
    template = None if route is None else route.match.path
    return place.ports.telemetry.measure_step(policy.provider, place.name, host, port, scheme=scheme, template=template)


def _first_host(policy: ProviderPolicy) -> str:
    """How to call an upstream that only the calls name: by its wildcard."""
    return policy.hosts[0] if policy.hosts else ""


def _classify(place: _Place) -> Step:
    settings = place.settings
    return Classify(
        translate.rules(settings), translate.hint(settings), place.ports.clock, dry_run=place.is_dry("classify")
    )


_BUILD: Final[dict[str, Callable[[_Place], Step | None]]] = {
    "trace": _trace,
    "fallback": _fallback,
    "rewrite": _rewrite,
    "deadline": _deadline,
    "cache": _cache,
    "retry": _retry,
    "breaker": _breaker,
    "limit": _limit,
    "measure": _measure,
    "classify": _classify,
}
