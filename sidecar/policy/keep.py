"""What outlives a reload: breakers, retry budgets and limiters, by provider and scope.

A recompile asks for its state here and hands over the new numbers; nothing is lost because a file changed. What no
policy names any more is kept for a while, since a ConfigMap may drop a file and bring it back, and then forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from functools import partial
from secrets import token_bytes
from typing import Any, Protocol, TypeVar

from sidecar.call import Call
from sidecar.clock import Clock
from sidecar.policy.memory import STALE_AFTER_S, Key, Memories
from sidecar.rules.breaker import BreakerSettings, Circuit, CircuitBreakerListener, CircuitState
from sidecar.rules.budget import Budget, BudgetSettings
from sidecar.rules.cache.health import ROUTE_SICK_AFTER, Health
from sidecar.rules.credential import credential_id
from sidecar.rules.limiter import Limiter, LimitSettings

WHOLE = "*"
"""The scope of state that all of a provider's routes share."""
UNMATCHED = "-"
"""The scope of calls that match no route."""
FORGET_AFTER_S = STALE_AFTER_S
MOST_CREDENTIALS = 256
"""Circuits kept for one provider's credentials; the one that was used longest ago goes first."""

S = TypeVar("S")
S_contra = TypeVar("S_contra", contravariant=True)


class Kept(Protocol[S_contra]):
    """State that takes new settings without losing itself."""

    def configure(self, settings: S_contra) -> None: ...


K = TypeVar("K", bound=Kept[Any])


class CredentialCircuits:
    """A circuit for each credential, found by a digest that only this sidecar can make."""

    def __init__(self, settings: BreakerSettings, make: Callable[[BreakerSettings, str], Circuit], key: bytes) -> None:
        self._settings = settings
        self._make = make
        self._key = key
        self.circuits: OrderedDict[str, Circuit] = OrderedDict()

    def configure(self, settings: BreakerSettings) -> None:
        self._settings = settings
        for circuit in self.circuits.values():
            circuit.configure(settings)

    def of(self, call: Call) -> Circuit:
        """The circuit of the call's credential."""
        circuits, name = self.circuits, credential_id(call.headers, self._key)
        circuit = circuits.get(name)
        if circuit is None:
            if len(circuits) >= MOST_CREDENTIALS:
                circuits.popitem(last=False)
            circuit = circuits[name] = self._make(self._settings, name)
        else:
            circuits.move_to_end(name)
        return circuit


class Keep:
    """State by (provider, scope). `listeners` hear every circuit's transitions; its name is `provider/scope`.

    `secret` is asked for what credentials' digests are made with, once there is a circuit for each; another process
    that shall know them again needs the same.
    """

    def __init__(
        self,
        clock: Clock,
        draw: Callable[[], float],
        listeners: Sequence[CircuitBreakerListener] = (),
        secret: Callable[[], bytes] = lambda: token_bytes(32),
    ) -> None:
        self._clock = clock
        self._draw = draw
        self._listeners = tuple(listeners)
        self._secret = secret
        self.changed: Callable[[], None] = lambda: None
        """Called whenever `memories` has become another; on the path of calls."""
        self._remembered = Memories()
        """What nobody has asked for yet, of an earlier process."""
        self._unwell: dict[Key, Circuit] = {}
        """Circuits that are not closed, by provider and the scope that `circuits` gives them."""
        self._taught: dict[Key, Limiter] = {}
        self._circuits: dict[Key, Circuit] = {}
        self._by_credential: dict[Key, CredentialCircuits] = {}
        self._budgets: dict[Key, Budget] = {}
        self._limiters: dict[Key, Limiter] = {}
        self._healths: dict[Key, Health] = {}
        self._gone_since_s: dict[Key, float] = {}

    def circuit(self, provider: str, scope: str, settings: BreakerSettings) -> Circuit:
        return _keep(self._circuits, (provider, scope), settings, lambda: self._make(provider, scope, settings))

    def credential_circuits(self, provider: str, scope: str, settings: BreakerSettings) -> CredentialCircuits:
        def make(settings: BreakerSettings, credential: str) -> Circuit:
            return self._make(provider, scope, settings, credential)

        return _keep(
            self._by_credential,
            (provider, scope),
            settings,
            lambda: CredentialCircuits(settings, make, self._secret()),
        )

    def budget(self, provider: str, scope: str, settings: BudgetSettings) -> Budget:
        return _keep(self._budgets, (provider, scope), settings, lambda: Budget(settings))

    def limiter(self, provider: str, scope: str, settings: LimitSettings) -> Limiter:
        def make() -> Limiter:
            key = provider, scope
            memory = self._remembered.limiters.pop(key, None)
            limiter = Limiter(settings, memory, partial(self._on_taught, key))
            if memory is not None:
                self._taught[key] = limiter
            return limiter

        return _keep(self._limiters, (provider, scope), settings, make)

    def health(self, provider: str, route: str) -> Health:
        """How a route's provider looks to its cache."""
        health = self._healths.get((provider, route))
        if health is None:
            health = self._healths[provider, route] = Health(ROUTE_SICK_AFTER)
        return health

    def is_sick(self, provider: str) -> bool:
        """Whether any of a provider's cached routes is."""
        return any(health.sick for (owner, _), health in self._healths.items() if owner == provider)

    def circuits(self) -> Iterator[tuple[str, str, Circuit]]:
        """Every circuit with its provider and scope; one of a credential has the scope `scope:digest`."""
        for (provider, scope), circuit in self._circuits.items():
            yield provider, scope, circuit
        for (provider, scope), kept in self._by_credential.items():
            for name, circuit in kept.circuits.items():
                yield provider, f"{scope}:{name}", circuit

    def find_circuit(self, provider: str, scope: str) -> Circuit | None:
        """One circuit by the scope that `circuits` gives it."""
        base, colon, credential = scope.partition(":")
        if not colon:
            return self._circuits.get((provider, scope))
        kept = self._by_credential.get((provider, base))
        return None if kept is None else kept.circuits.get(credential)

    def limiters(self) -> Iterator[tuple[str, str, Limiter]]:
        for (provider, scope), limiter in self._limiters.items():
            yield provider, scope, limiter

    def budgets(self) -> Iterator[tuple[str, str, Budget]]:
        for (provider, scope), budget in self._budgets.items():
            yield provider, scope, budget

    def recall(self, memories: Memories) -> None:
        """Have circuits and limiters that are made from now on begin as an earlier process left them."""
        self._remembered = memories

    def memories(self) -> Memories:
        """What another process needs to go on where this one is."""
        now_s = self._clock.now()
        found = Memories({key: dict(of) for key, of in self._remembered.circuits.items()})
        found.limiters.update(self._remembered.limiters)
        for (provider, scope), circuit in list(self._unwell.items()):
            memory = circuit.memory
            # Others may have been put in its place, or it is forgotten.
            if memory is None or self.find_circuit(provider, scope) is not circuit:
                del self._unwell[provider, scope]
            else:
                base, _, credential = scope.partition(":")
                found.circuits.setdefault((provider, base), {})[credential] = memory
        for key, limiter in list(self._taught.items()):
            lesson = limiter.memory(now_s)
            if lesson is None or self._limiters.get(key) is not limiter:
                del self._taught[key]
            else:
                found.limiters[key] = lesson
        return found

    def retain(self, routes: Mapping[str, Container[str]]) -> None:
        """Say after a reload which providers and routes there are: what is of no other is forgotten ten minutes on."""
        now_s = self._clock.now()
        kept = [key for kind in self._kinds() for key in kind]
        gone = {key for key in kept if not _lives(key, routes)}
        self._gone_since_s = {key: self._gone_since_s.get(key, now_s) for key in gone}
        if gone:
            self._clock.at(now_s + FORGET_AFTER_S, self._forget)

    def _forget(self) -> None:
        now_s = self._clock.now()
        for key, since_s in list(self._gone_since_s.items()):
            if now_s - since_s >= FORGET_AFTER_S:
                del self._gone_since_s[key]
                for kind in self._kinds():
                    kind.pop(key, None)

    def _kinds(self) -> tuple[dict[Key, Any], ...]:
        remembered = self._remembered
        return (
            self._circuits,
            self._by_credential,
            self._budgets,
            self._limiters,
            self._healths,
            remembered.circuits,
            remembered.limiters,
        )

    def _make(self, provider: str, scope: str, settings: BreakerSettings, credential: str = "") -> Circuit:
        memory = self._remembered.circuits.get((provider, scope), {}).pop(credential, None)
        shown = f"{scope}:{credential}" if credential else scope
        circuit = Circuit(
            settings,
            draw=self._draw,
            wall=self._clock.wall,
            name=f"{provider}/{shown}",
            listeners=self._listeners,
            memory=memory,
            changed=partial(self._on_changed, (provider, shown)),
        )
        if memory is not None:
            self._unwell[provider, shown] = circuit
        return circuit

    def _on_changed(self, key: Key, circuit: Circuit) -> None:
        if circuit.state is CircuitState.CLOSED:
            self._unwell.pop(key, None)
        else:
            self._unwell[key] = circuit
        self.changed()

    def _on_taught(self, key: Key, limiter: Limiter) -> None:
        self._taught[key] = limiter
        self.changed()


def _lives(key: Key, routes: Mapping[str, Container[str]]) -> bool:
    provider, scope = key
    named = routes.get(provider)
    return named is not None and (scope in (WHOLE, UNMATCHED) or scope in named)


def _keep(kind: dict[Key, K], key: Key, settings: S, make: Callable[[], K]) -> K:
    """What is kept, with its settings brought up to date, or something new."""
    kept = kind.get(key)
    if kept is None:
        kept = kind[key] = make()
    else:
        kept.configure(settings)
    return kept
