"""What is kept, as operators see and purge it: the store's entries under the policies in force."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict
from functools import cache
from itertools import chain, islice
from typing import Final

from sidecar.admin.entries import Kept, SettingsOf, chosen, details, most_recent, summary
from sidecar.admin.port import Row, Selection
from sidecar.call import Mode
from sidecar.clock import Clock
from sidecar.errors import ClientError, Reason
from sidecar.intercept.target import destination, split_prefix
from sidecar.policy import translate
from sidecar.policy.keep import UNMATCHED
from sidecar.policy.model import ProviderPolicy
from sidecar.policy.sources import LoadedPolicies
from sidecar.rules.cache.entry import URI_BYTES, Key
from sidecar.rules.cache.key import Keys
from sidecar.rules.cache.settings import CacheSettings
from sidecar.rules.egress import is_own_address
from sidecar.serving.directory import Directory, Routes
from sidecar.steps.flight import Flights
from sidecar.stores.tiers import Tiers

log = logging.getLogger(__name__)

AT_ONCE: Final = 2000
"""Entries looked through between two turns of the loop: about a millisecond."""
WHOLE_KEYS: Final = (2 * URI_BYTES, 4 * URI_BYTES)
"""Hex digits of a key, without and with a credential's part."""


class CachedReplies:
    """The replies that `tiers` keep. `secret` is what keys are made with."""

    def __init__(  # noqa: PLR0917
        self,
        tiers: Tiers,
        secret: bytes,
        policies: Callable[[], LoadedPolicies | None],
        directory: Callable[[], Directory],
        clock: Clock,
        flights: Flights | None = None,
    ) -> None:
        self._tiers = tiers
        self._flights = flights or Flights()
        self._secret = secret
        self._policies = policies
        self._directory = directory
        self._clock = clock

    async def overview(self, which: Selection, limit: int) -> Row:
        """Sizes and counts, and the most recent entries that are meant."""
        recent: list[Kept] = []
        async for some in self._chosen(which):
            recent = most_recent(chain(recent, some), limit)
        now_s, settings_of = self._clock.wall(), self._settings_of()
        holdings = sorted(self._tiers.shelf.holdings.items())
        return {
            "stores": [_store(asdict(stats)) for stats in self._tiers.stats()],
            "providers": [
                {"provider": provider, "entries": held.entries, "size_bytes": held.size_bytes}
                for provider, held in holdings
                if which.provider in (None, provider)
            ],
            "entries": [summary(key, entry, now_s, settings_of) for key, entry in recent],
        }

    async def find(self, key: str) -> Sequence[Row]:
        """The entries under a key or the beginning of one; a whole key is looked for in the slower stores, too."""
        found = [one async for some in self._chosen(Selection(key=key)) for one in some]
        whole = _whole(key)
        if whole is not None and not found:
            found = [(whole, entry) for entry in await self._tiers.fetch(whole)]
        now_s, settings_of = self._clock.wall(), self._settings_of()
        return [details(each, entry, now_s, settings_of) for each, entry in found]

    async def purge(self, which: Selection, soft: bool) -> int | None:
        """How many went; None if no policy has the provider, the route or the host. Raises `ClientError`."""
        if not soft:
            # What is on its way now was asked before, and would come back in.
            self._flights.purge(self._clock.wall())
        if which.url is not None:
            count = await self._purge_url(which.url, soft)
        elif which.key is not None:
            count = await self._purge_key(which.key, soft)
        else:
            count = await self._tiers.purge(
                provider=which.provider,
                route=which.route,
                tag=which.tag,
                everything=which == Selection(),
                soft=soft,
            )
            if not count and not self._is_named(which.provider, which.route):
                return None
        if count is not None:
            extra = {"provider": which.provider, "route": which.route, "count": count}
            log.warning("kept replies were taken for stale" if soft else "kept replies were purged", extra=extra)
        return count

    async def _chosen(self, which: Selection) -> AsyncIterator[list[Kept]]:
        """What memory has of those that are meant, a slice at a time, so that calls go on meanwhile."""
        entries = self._tiers.entries()
        while some := tuple(islice(entries, AT_ONCE)):
            yield list(chosen(some, which))
            await asyncio.sleep(0)

    async def _purge_key(self, key: str, soft: bool) -> int:
        keys = {each async for some in self._chosen(Selection(key=key)) for each, _ in some}
        whole = _whole(key)
        if whole is not None:
            keys.add(whole)
        return sum([await self._tiers.purge(key=each, soft=soft) for each in sorted(keys)])

    async def _purge_url(self, url: str, soft: bool) -> int | None:
        found = find_target(self._directory(), url)
        if found is None:
            return None
        routes, target = found
        if not target.endswith(b"*"):
            uri = Keys(self._secret, routes.provider, routes.origin).uri(target)
            return await self._tiers.purge(uri=uri, soft=soft)
        if b"?" in target:
            raise ClientError(Reason.BAD_REQUEST, "a URL that ends in * has no query")
        # Targets are shown in latin-1, whatever they mean.
        shown = routes.origin + target.decode("latin-1")
        return await self._tiers.purge(provider=routes.provider, url=shown, soft=soft)

    def _is_named(self, provider: str | None, route: str | None) -> bool:
        if provider is None:
            return True
        policy = self._by_name().get(provider)
        return policy is not None and (route in (None, UNMATCHED) or any(route == each.name for each in policy.routes))

    def _by_name(self) -> dict[str, ProviderPolicy]:
        loaded = self._policies()
        return {} if loaded is None else {policy.provider: policy for policy in loaded.providers}

    def _settings_of(self) -> SettingsOf:
        by_name = self._by_name()

        @cache
        def settings_of(provider: str, route: str) -> CacheSettings | None:
            policy = by_name.get(provider)
            if policy is None:
                return None
            said = next((each for each in policy.routes if each.name == route), None)
            return translate.cache(policy if said is None else said)

        return settings_of


def find_target(directory: Directory, url: str) -> tuple[Routes, bytes] | None:
    """Where a URL leads and its target there, as a call with it would be routed: the provider's own, or a path of this
    sidecar's with the provider in front. None if no policy has it. Raises `ClientError`."""
    try:
        goal = destination(url.partition("#")[0].encode("ascii"), None)
    except UnicodeEncodeError:
        raise ClientError(Reason.BAD_REQUEST, "a URL is ASCII: percent-encode the rest") from None
    routes = directory.by_host(goal.authority)
    if routes is not None:
        return routes, goal.target
    if goal.mode is not Mode.HOST and not is_own_address(goal.host.decode("ascii")):
        return None
    name, target = split_prefix(goal.target)
    routes = directory.by_name(name)
    return None if routes is None else (routes, target)


def _whole(key: str) -> Key | None:
    try:
        return bytes.fromhex(key) if len(key) in WHOLE_KEYS else None
    except ValueError:
        return None


def _store(stats: dict[str, object]) -> Row:
    limit_bytes = stats.pop("bound_bytes")
    return {**stats, "limit_bytes": limit_bytes}
