"""The store of kept replies for one process: made when a policy first caches anything, opened before calls come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.clock import Clock
from sidecar.policy.compile import CacheGround
from sidecar.rules.cache.stale import kept_until_s
from sidecar.steps.flight import Flights

if TYPE_CHECKING:
    from sidecar.stores.codec import Codec
    from sidecar.stores.disk import DiskTier
    from sidecar.stores.tier import Tier
    from sidecar.stores.tiers import Tiers


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where replies are kept, and how much of them."""

    memory_bytes: int
    disk_bytes: int | None
    """None for no file."""
    state: Path
    redis: str | None = field(repr=False)
    """A URL, password and all."""
    redis_timeout_s: float
    """How long a call waits for it."""
    secret: str | None = field(repr=False)
    """What the fleet signs its entries with."""


class Caching:
    """Nothing is imported, opened or allocated until `ground` is first asked for."""

    def __init__(
        self,
        settings: StoreSettings,
        clock: Clock,
        is_sick: Callable[[str], bool],
        on_made: Callable[[Tiers, CacheGround], None],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._is_sick = is_sick
        self._on_made = on_made
        self._ground: CacheGround | None = None
        self._opening: asyncio.Task[None] | None = None
        self.tiers: Tiers | None = None
        self.secret_trouble = ""
        """Why the key of what is kept lives no longer than the process; empty where it does."""
        self._disk: DiskTier | None = None

    @property
    def disk_trouble(self) -> str:
        """Why nothing is written to the file just now; empty while it is, or while there is none."""
        return "" if self._disk is None else self._disk.trouble

    def ground(self) -> CacheGround:
        """What compiled cache steps share."""
        if self._ground is None:
            self._ground = self._make()
        return self._ground

    async def open(self) -> None:
        """Have the slower tiers ready; what cannot be had is done without. Calls before that are answered from memory
        and by the provider."""
        self.ground()
        if self._opening is None and self.tiers is not None:
            self._opening = asyncio.get_running_loop().create_task(self.tiers.open())
        if self._opening is not None:
            await self._opening

    async def close(self) -> None:
        """Write what waits to be written."""
        if self._ground is not None:
            for task in list(self._ground.flights.tasks):
                task.cancel()
        if self.tiers is not None and self._opening is not None:
            await self.tiers.close()

    def _make(self) -> CacheGround:
        from sidecar.stores.codec import Codec  # noqa: PLC0415
        from sidecar.stores.secret import fleet_secret, keep_secret  # noqa: PLC0415
        from sidecar.stores.shelf import Shelf  # noqa: PLC0415
        from sidecar.stores.tiers import Tiers  # noqa: PLC0415

        settings = self._settings
        secret = (
            keep_secret(settings.state, self._on_secret_trouble)
            if settings.redis is None
            else fleet_secret(settings.secret)
        )
        shelf = Shelf(settings.memory_bytes, self._is_sick)
        self.tiers = Tiers(shelf, self._slower(Codec(secret)), self._clock, kept_until_s)
        ground = CacheGround(self.tiers, Flights(), secret)
        self._on_made(self.tiers, ground)
        return ground

    def _slower(self, codec: Codec) -> list[Tier]:
        """The fleet's first: what another sidecar has just fetched is newer than what this one had before a restart."""
        settings = self._settings
        tiers: list[Tier] = []
        if settings.redis is not None:
            from sidecar.stores.redis import RedisTier  # noqa: PLC0415

            tiers.append(RedisTier(settings.redis, codec, self._clock, settings.redis_timeout_s))
        if settings.disk_bytes is not None:
            from sidecar.stores.disk import DiskTier  # noqa: PLC0415

            self._disk = DiskTier(settings.state / "cache.sqlite", settings.disk_bytes, codec, self._clock)
            tiers.append(self._disk)
        return tiers

    def _on_secret_trouble(self, reason: str) -> None:
        self.secret_trouble = reason
