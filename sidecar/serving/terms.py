"""The process's settings as the parts take them."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.http1.limits import HeadLimits, PoolLimits, ServerLimits
from sidecar.serving.caching import StoreSettings
from sidecar.settings import Settings

if TYPE_CHECKING:
    from sidecar.serving.lastgood import LastGood


def last_good(settings: Settings, paths: Sequence[Path]) -> LastGood | None:
    """Nobody who has every bad start end with 2 wants one to begin with what was good before."""
    if settings.unfit_policies == "exit":
        return None
    from sidecar.serving.lastgood import LastGood  # noqa: PLC0415 - for those that wait

    return LastGood(settings.state, paths)


def server_limits(settings: Settings) -> ServerLimits:
    return ServerLimits(
        head=HeadLimits(settings.max_request_line_bytes, settings.max_header_count, settings.max_header_bytes),
        body_bytes=settings.max_body_bytes,
        connections=settings.max_connections,
        idle_s=settings.idle_timeout_s,
        head_s=settings.header_timeout_s,
        body_rate_bytes_per_s=settings.min_body_rate_bytes_per_s,
        body_grace_s=settings.body_rate_grace_s,
    )


def store_settings(settings: Settings, memory_bytes: int) -> StoreSettings:
    return StoreSettings(
        memory_bytes,
        settings.cache_disk_bytes,
        settings.state,
        settings.redis,
        settings.redis_timeout_s,
        settings.cache_secret,
    )


def credential_secret(state: Path) -> bytes:
    """What the digests of credentials are made with that have breakers of their own: the same after a restart."""
    from sidecar.stores.secret import keep_secret  # noqa: PLC0415 - for those that have such breakers

    return blake2b(b"", key=keep_secret(state), person=b"sidecar breaker").digest()


def pool_limits(settings: Settings) -> PoolLimits:
    return PoolLimits(connections=settings.pool_size, idle_s=settings.pool_idle_s)
