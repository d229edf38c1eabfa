"""An aiocache backend that keeps records in a Redis that sidecars share.

    sidecar:cache:<key>        a record, with the time to live that it has
    sidecar:cache:uri:<uri>    when the uri was last invalidated, Unix time; 0 for not yet

The second is written with each record and lives as long as the longest of them, and both are read together. So an
invalidation is one write, whoever's entries it is about: what was asked for before is not believed any more, and not
even a sidecar that had it in memory, and writes it again, can bring it back. Where the mark is gone (evicted, say), so
is the entry. The sidecars' clocks should agree to within a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias

from aiocache.backends.redis import RedisCache
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from sidecar.errors import SettingsError
from sidecar.rules.cache.entry import URI_BYTES, Key
from sidecar.stores.aio import BaseSerializer
from sidecar.stores.codec import MAGIC, Codec, Record

NAMESPACE: Final = "sidecar:cache"
URI: Final = "uri:"
OPERATION_S: Final = 1.0
"""How long an operation may take at least; a call stops waiting for it much earlier, unless it was told not to."""
CONNECTIONS: Final = 8
SCANNED_AT_ONCE: Final = 500
NEVER: Final = "0"

Found: TypeAlias = Record | float | None
"""A record, the time of an invalidation, or what is neither."""


class RecordSerializer(BaseSerializer):  # type: ignore[misc] # aiocache has no types
    """The codec as aiocache wants it. What was encoded already, in a thread, passes."""

    DEFAULT_ENCODING = None

    def __init__(self, codec: Codec) -> None:
        super().__init__()
        self._codec = codec

    def dumps(self, value: Record | bytes) -> bytes:
        return self._codec.encode(value) if isinstance(value, Record) else value

    def loads(self, value: bytes | None) -> Found:
        if value is None:
            return None
        if value.startswith(MAGIC):
            return self._codec.decode(value)
        try:
            return float(value)
        except ValueError:
            return None


class RecordCache(RedisCache):  # type: ignore[misc] # aiocache has no types
    """Raises `SettingsError` for a URL that does not say where a Redis is."""

    def __init__(self, url: str, codec: Codec, patience_s: float) -> None:
        operation_s = max(OPERATION_S, patience_s)

        def pool(**_: object) -> BlockingConnectionPool:
            # What aiocache would make of host and port knows neither sockets nor user names.
            return _pool(url, operation_s)

        super().__init__(
            serializer=RecordSerializer(codec),
            namespace=NAMESPACE,
            timeout=operation_s,
            connection_pool_class=pool,
        )

    async def read(self, key: Key) -> tuple[Found, Found]:
        """What is under a key, and the mark of its uri. Raises `RedisError`, OSError or TimeoutError."""
        record, mark = await self.multi_get([key.hex(), mark_of(key)])
        return record, mark

    async def write(self, rows: Sequence[tuple[Key, bytes]], ttls_s: Sequence[float]) -> None:
        await self.multi_set([(key.hex(), value) for key, value in rows], ttl=ttls_s)

    async def forget(self, keys: Iterable[Key]) -> None:
        names = [self.build_key(key.hex()) for key in keys]
        if names:
            await self.raw("unlink", *names)

    async def invalidate(self, uris: Iterable[tuple[bytes, float]]) -> None:
        """Mark uris of which anything is kept as invalidated at a time; two that come together keep the later."""
        async with self.client.pipeline(transaction=False) as pipeline:
            for uri, at_s in uris:
                pipeline.set(self.build_key(URI + uri.hex()), f"{at_s:.6f}", xx=True, keepttl=True)
            await pipeline.execute()

    async def scan(self, start: bytes, cursor: int) -> tuple[int, list[Key]]:
        """Some of the keys that begin so, and where to go on; 0 at the end."""
        match = f"{NAMESPACE}:{start.hex()}*"
        cursor, names = await self.raw("scan", cursor, match=match, count=SCANNED_AT_ONCE)
        return cursor, [key for key in map(_key_of, names) if key is not None]

    async def heads(self, keys: Sequence[Key], most_bytes: int) -> list[bytes]:
        """The first bytes of what is under keys; empty where there is nothing, or nothing of ours."""
        async with self.client.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.getrange(self.build_key(key.hex()), 0, most_bytes - 1)
            found = await pipeline.execute(raise_on_error=False)
        return [head if isinstance(head, bytes) else b"" for head in found]

    async def _multi_set(self, pairs: Sequence[tuple[str, bytes]], ttl: Sequence[float], _conn: object = None) -> bool:
        """One time to live a pair, in seconds, and its uri's mark with each."""
        prolonging: list[int] = []
        async with self.client.pipeline(transaction=False) as pipeline:
            for (name, value), ttl_s in zip(pairs, ttl, strict=True):
                mark, ttl_ms = (
                    self.build_key(mark_of(bytes.fromhex(name.rpartition(":")[2]))),
                    max(1, int(ttl_s * 1000)),
                )
                # The mark first: an entry without one is none.
                pipeline.set(mark, NEVER, px=ttl_ms, nx=True)
                prolonging.append(len(pipeline))
                pipeline.pexpire(mark, ttl_ms, gt=True)
                pipeline.set(name, value, px=ttl_ms)
            results = await pipeline.execute(raise_on_error=False)
        for index, result in enumerate(results):
            # Before Redis 7 marks cannot be prolonged like this, and entries may have to be asked for earlier.
            if isinstance(result, Exception) and index not in prolonging:
                raise result
        return True

    async def _close(self, *_: object, **__: object) -> None:
        # aiocache's own calls what the client has given another name, and warns of.
        await self.client.aclose()


def mark_of(key: Key) -> str:
    return URI + key[:URI_BYTES].hex()


def _key_of(name: Any) -> Key | None:
    """None for marks, and for names that are not ours."""
    try:
        return bytes.fromhex(name.decode("ascii").removeprefix(f"{NAMESPACE}:"))
    except ValueError:
        return None


def _pool(url: str, operation_s: float) -> BlockingConnectionPool:
    try:
        pool: BlockingConnectionPool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=operation_s,
            socket_timeout=operation_s,
            socket_connect_timeout=operation_s,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            client_name="sidecar",
        )
        # Options in the URL are looked at only when a connection is made.
        pool.make_connection()  # type: ignore[no-untyped-call]
    except (ValueError, TypeError, RedisError):
        raise SettingsError(
            "--redis / SIDECAR_REDIS: expected a URL such as redis://host:6379/0, rediss://host:6380 or "
            "unix:///run/redis.sock, got one that cannot be used"
        ) from None
    return pool
