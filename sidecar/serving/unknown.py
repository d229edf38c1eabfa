"""Hosts that no policy names: counted, and carried or refused as `egress` says. Carried, not protected: nobody has said
what their calls can bear."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import asdict, dataclass
from typing import Any, Final

from sidecar.clock import Clock
from sidecar.policy.model import Egress, ProviderPolicy
from sidecar.policy.names import Origin
from sidecar.policy.outgoing import UpstreamProxy
from sidecar.telemetry.meters import Family, Tally

MOST_HOSTS: Final = 512
"""Hosts remembered, and connections kept ready for; the one that was called longest ago goes first."""
NO_PROVIDER: Final = "-"
"""What stands for the provider in headers, metrics and spans. No policy can have this name."""


@dataclass(slots=True)
class UnknownHost:
    host: str
    port: int
    allowed: bool
    """What became of the last call."""
    calls: int
    first_seen: float
    """Unix time."""
    last_seen: float


class UnknownHosts:
    """The list behind `/unknown`. It outlives reloads."""

    def __init__(self, clock: Clock, counts: Family[Tally]) -> None:
        self._wall = clock.wall
        self._counts = {allowed: counts.child("allowed" if allowed else "denied") for allowed in (True, False)}
        self._hosts: OrderedDict[tuple[str, int], UnknownHost] = OrderedDict()

    def count(self, host: str, port: int, allowed: bool) -> None:
        self._counts[allowed].add()
        now_s, key = self._wall(), (host, port)
        known = self._hosts.get(key)
        if known is None:
            if len(self._hosts) >= MOST_HOSTS:
                self._hosts.popitem(last=False)
            self._hosts[key] = UnknownHost(host, port, allowed, 1, now_s, now_s)
            return
        self._hosts.move_to_end(key)
        known.calls, known.allowed, known.last_seen = known.calls + 1, allowed, now_s

    def as_json(self) -> list[dict[str, Any]]:
        """The last called first."""
        return [asdict(host) for host in reversed(self._hosts.values())]


def allows(egress: Egress, port: int) -> bool:
    return egress.unknown == "allow" and port in egress.ports


def passing(origin: Origin, proxy: UpstreamProxy | None = None) -> ProviderPolicy:
    """The policy of a host that has none: every step that could change a call's fate is off.

    Not validated, since it is ours and its name is one that a file may not use.
    """
    off: dict[str, Any] = dict.fromkeys(("timeouts", "retry", "breaker", "limit"))
    return ProviderPolicy(provider="unknown", upstream=None, hosts=(), **off).model_copy(
        update={"provider": NO_PROVIDER, "upstream": origin, "upstream_proxy": proxy}
    )
