from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from sidecar.clock import LoopClock
from sidecar.errors import SettingsError
from sidecar.http1.message import pack
from sidecar.stores.codec import Codec, Record
from sidecar.stores.redis import RedisTier
from sidecar.stores.tier import Batch, Wanted
from tests.stores.entries import make_entry, make_key
from tests.stores.redis_server import RedisServer

CODEC = Codec(b"fleet")
ROOT = Path(__file__).parents[2]
OTHER = b"sidecar:cache:"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[RedisServer]:
    """One for this test alone, which may do with it as it likes."""
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.go_on() if server._process is not None else None
    server.kill()


Make = Callable[..., Awaitable[RedisTier]]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    made: list[RedisTier] = []

    async def make(url: str, codec: Codec = CODEC, patience_s: float = 1.0) -> RedisTier:
        tier = RedisTier(url, codec, LoopClock(), patience_s)
        made.append(tier)
        await tier.open()
        assert tier._greeting is not None
        await asyncio.wait({tier._greeting})
        return tier

    yield make
    for tier in made:
        await tier.close()


@pytest.fixture
async def tier(server: RedisServer, make: Make) -> RedisTier:
    server.ask("FLUSHALL")
    return await make(server.url)


def record(number: int, partition: int | None = None, life_s: float = 100.0, **given: object) -> Record:
    now_s = time.time()
    values: dict[str, object] = {"body": b"%d" % number, "requested_s": now_s, "received_s": now_s}
    return Record(make_key(number, partition), (make_entry(**(values | given)),), now_s + life_s)  # type: ignore[arg-type]


def batch(*records: Record) -> Batch:
    return Batch({each.key: each for each in records})


async def test_another_sidecar_finds_what_was_written(tier: RedisTier, server: RedisServer, make: Make) -> None:
    one, two = record(1), record(2, partition=7)
    assert await tier.write(batch(one, two))
    other = await make(server.url)
    assert other.may_have(one.key)
    assert await other.get(one.key) == one.variants
    assert await other.get(two.key) == two.variants
    assert await other.get(make_key(3)) == ()
    assert (other.counts.hits, other.counts.misses, other.counts.errors) == (2, 1, 0)
    assert tier.counts.writes == 2


async def test_redis_lets_go_of_it_when_it_is_of_no_use(tier: RedisTier, server: RedisServer) -> None:
    await tier.write(batch(record(1, life_s=50.0), record(2, life_s=-1.0), record(3, life_s=9e8)))
    lives = [int(server.ask("PTTL", OTHER + make_key(number).hex().encode())[1:]) for number in (1, 2, 3)]
    assert 49_000 < lives[0] <= 50_000
    assert lives[1] == -2
    assert 29 * 86_400_000 < lives[2] <= 30 * 86_400_000


async def test_a_mark_lives_as_long_as_the_longest_of_its_entries(tier: RedisTier, server: RedisServer) -> None:
    await tier.write(batch(record(1, life_s=50.0)))
    await tier.write(batch(record(1, partition=1, life_s=90.0)))
    await tier.write(batch(record(1, partition=2, life_s=10.0)))
    assert int(server.ask("PTTL", OTHER + b"uri:" + make_key(1).hex().encode())[1:]) > 80_000


async def test_an_invalidation_reaches_every_sidecar_and_credential(
    tier: RedisTier, server: RedisServer, make: Make
) -> None:
    records = [record(1), record(1, partition=1), record(2)]
    other = await make(server.url)
    await other.write(batch(*records))
    await tier.write(Batch(uris={make_key(1): time.time(), make_key(9): time.time()}))
    assert [await other.get(each.key) for each in records] == [(), (), records[2].variants]
    assert server.ask("EXISTS", OTHER + b"uri:" + make_key(9).hex().encode()) == b":0\r\n"


async def test_what_was_invalidated_is_not_brought_back(tier: RedisTier) -> None:
    old = record(1)
    await tier.write(batch(old))
    await tier.write(Batch(uris={make_key(1): time.time()}))
    await tier.write(batch(old))
    assert await tier.get(old.key) == ()
    newer = record(1)
    await tier.write(batch(Record(old.key, (*newer.variants, *old.variants), newer.until_s)))
    assert await tier.get(old.key) == newer.variants


async def test_an_entry_without_its_mark_is_none(tier: RedisTier, server: RedisServer) -> None:
    await tier.write(batch(record(1)))
    server.ask("DEL", OTHER + b"uri:" + make_key(1).hex().encode())
    assert await tier.get(make_key(1)) == ()


async def test_forgetting_and_clearing(tier: RedisTier, server: RedisServer) -> None:
    server.ask("SET", "somebody-elses", "1")
    await tier.write(batch(record(1), record(2), record(3)))
    await tier.write(Batch({make_key(1): None}))
    assert await tier.get(make_key(1)) == ()
    await tier.write(Batch(clear=True))
    assert await tier.get(make_key(2)) == ()
    assert server.ask("GET", "somebody-elses") == b"$1\r\n1\r\n"


@pytest.mark.parametrize(
    "planted",
    [
        ("SET", OTHER + make_key(1).hex().encode(), b"somebody else's"),
        ("SET", OTHER + make_key(1).hex().encode(), b"1.5"),
        ("SET", OTHER + make_key(1).hex().encode(), Codec(b"guessed").encode(record(1))),
        ("SET", OTHER + make_key(1).hex().encode(), CODEC.encode(record(2))),
        ("SET", OTHER + make_key(1).hex().encode(), CODEC.encode(record(1))[:-1]),
        ("SET", OTHER + b"uri:" + make_key(1).hex().encode(), b"not a time"),
        ("SET", OTHER + b"uri:" + make_key(1).hex().encode(), b"nan"),
        ("LPUSH", OTHER + make_key(1).hex().encode(), b"a list"),
        ("LPUSH", OTHER + b"uri:" + make_key(1).hex().encode(), b"a list"),
    ],
)
async def test_somebody_elses_data_is_not_ours(tier: RedisTier, server: RedisServer, planted: tuple[str, ...]) -> None:
    await tier.write(batch(record(1)))
    server.ask("DEL", planted[1])
    server.ask(*planted)
    assert await tier.get(make_key(1)) == ()
    assert (tier.counts.misses, tier.counts.errors) == (1, 0)
    server.ask("DEL", planted[1])
    fresh = record(1)
    assert await tier.write(batch(fresh))
    assert await tier.get(make_key(1)) == fresh.variants


async def test_a_purge_takes_what_is_wanted(tier: RedisTier, server: RedisServer) -> None:
    german = make_entry(vary=((b"accept-language", b"de"),), tags=("t",), requested_s=time.time())
    english = make_entry(vary=((b"accept-language", b"en"),), requested_s=time.time())
    both = Record(make_key(3), (german, english), time.time() + 99)
    long = pack([(b"x-%d" % number, b"y" * 4000) for number in range(20)])
    await tier.write(batch(record(1), record(2, provider="other"), both, record(4, packed=long, route="long")))
    server.ask("SET", OTHER + make_key(5).hex().encode(), b"junk")
    server.ask("LPUSH", OTHER + make_key(6).hex().encode(), b"junk")
    assert await tier.purge(Wanted(tag="t"), soft=False) == {(make_key(3), german.vary)}
    assert await tier.get(make_key(3)) == (english,)
    assert await tier.purge(Wanted(provider="other"), soft=True) == {(make_key(2), ())}
    assert [entry.expired for entry in await tier.get(make_key(2))] == [True]
    assert await tier.purge(Wanted(key=make_key(1)), soft=False) == {(make_key(1), ())}
    assert await tier.purge(Wanted(route="long"), soft=False) == {(make_key(4), ())}
    assert await tier.purge(Wanted(uri=make_key(9)), soft=False) == set()
    assert len(await tier.purge(Wanted(), soft=False)) == 2
    assert server.ask("KEYS", OTHER + b"[0-9a-f]*") == b"*0\r\n"


async def test_a_purge_goes_through_many(tier: RedisTier) -> None:
    for start in range(0, 1500, 500):
        await tier.write(batch(*[record(number) for number in range(start, start + 500)]))
    assert len(await tier.purge(Wanted(provider="stripe"), soft=False)) == 1500


async def test_a_socket_and_a_user_and_a_database(fresh: RedisServer, make: Make) -> None:
    fresh.ask("ACL", "SETUSER", "app", "on", ">p:ss/w@rd", "~*", "+@all")
    for url in (
        f"unix://{fresh.socket}?db=2",
        f"redis://app:p%3Ass%2Fw%40rd@127.0.0.1:{fresh.port}/3",
        f"unix://app:p%3Ass%2Fw%40rd@{fresh.socket}?db=4",
    ):
        tier = await make(url)
        one = record(1)
        assert await tier.write(batch(one)), url
        assert await tier.get(one.key) == one.variants
    assert fresh.ask("INFO", "keyspace").count(b"keys=2") == 3


async def test_these_rights_are_enough(fresh: RedisServer, make: Make) -> None:
    """As `docs/stores.md` gives them."""
    line = next(line for line in (ROOT / "docs/stores.md").read_text().splitlines() if line.startswith("ACL SETUSER"))
    assert fresh.ask(*line.split()) == b"+OK\r\n"
    tier = await make(f"redis://sidecar:password@127.0.0.1:{fresh.port}/0")
    one = record(1)
    assert await tier.write(batch(one, record(2)))
    assert await tier.get(one.key) == one.variants
    assert await tier.write(Batch({make_key(2): None}, {make_key(1): time.time()}, clear=True))
    assert await tier.purge(Wanted(), soft=False) == set()
    assert tier.counts.errors == 0


@pytest.mark.parametrize("url", ["http://127.0.0.1", "redis://127.0.0.1:x", "redis://h?nonsense=1", "redis://h?db=x"])
async def test_a_url_that_cannot_be_used(url: str) -> None:
    with pytest.raises(SettingsError, match="--redis / SIDECAR_REDIS: expected a URL"):
        RedisTier(url, CODEC, LoopClock(), 1.0)


def test_without_the_client_it_says_what_to_install() -> None:
    script = "import sys; sys.modules['redis'] = None\nfrom sidecar.stores.redis import *\n"
    script += "try: RedisTier('redis://h', Codec(b''), None, 1.0)\nexcept SettingsError as error: print(error)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "pip install 'resilience-sidecar[redis]'" in done.stdout


@pytest.mark.parametrize(("patience_s", "operation_s"), [(0.005, 1.0), (20.0, 20.0)])
async def test_no_operation_is_given_up_before_its_call(patience_s: float, operation_s: float) -> None:
    cache = RedisTier("redis://127.0.0.1", CODEC, LoopClock(), patience_s)._cache
    connection = cache.client.connection_pool.make_connection()
    times = (cache.timeout, connection.socket_timeout, connection.socket_connect_timeout)
    assert times == (operation_s,) * 3


async def test_a_stalled_redis_is_left_alone_until_it_goes_on(fresh: RedisServer, make: Make) -> None:
    tier = await make(fresh.url)
    assert await tier.write(batch(record(1)))
    fresh.stall()
    reads = [asyncio.create_task(tier.get(make_key(1))) for _ in range(3)]
    await asyncio.wait(reads)
    assert [read.result() for read in reads] == [(), (), ()]
    assert not tier.may_have(make_key(1))
    assert not await _refused_at_last(tier)
    fresh.go_on()
    await _until(lambda: tier.may_have(make_key(1)))
    assert await tier.get(make_key(1)) != ()
    assert tier.may_have(make_key(1))


async def _refused_at_last(tier: RedisTier) -> bool:
    """Writes are tried until three have failed, and then not at all."""
    for _ in range(3):
        assert not await tier.write(batch(record(2)))
    started_s = time.monotonic()
    taken = await tier.write(batch(record(2)))
    assert time.monotonic() - started_s < 0.1
    return taken


async def test_a_dead_redis_that_comes_back(fresh: RedisServer, make: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    tier = await make(fresh.url)
    fresh.kill()
    for _ in range(3):
        assert await tier.get(make_key(1)) == ()
    assert not tier.may_have(make_key(1))
    fresh.start()
    await _until(lambda: tier.may_have(make_key(1)))
    one = record(1)
    assert await tier.write(batch(one))
    assert await tier.get(one.key) == one.variants
    told = [line.message for line in caplog.records if line.name == "sidecar.stores.redis"]
    assert told == ["Redis is in trouble: the cache does without it for a while", "Redis is well again"]


async def test_a_redis_that_is_slow_is_left_alone_though_it_answers(server: RedisServer, make: Make) -> None:
    tier = await make(server.url, patience_s=0.0)
    one = record(1)
    await tier.write(batch(one))
    for _ in range(3):
        assert await tier.get(one.key) == one.variants
    assert not tier.may_have(one.key)


@pytest.mark.parametrize("setting", [("CONFIG", "SET", "maxmemory", "1"), ("REPLICAOF", "127.0.0.1", "1")])
async def test_a_redis_that_refuses_writes_is_still_read(
    fresh: RedisServer, make: Make, setting: tuple[str, ...]
) -> None:
    tier = await make(fresh.url)
    one = record(1)
    await tier.write(batch(one))
    fresh.ask(*setting)
    for _ in range(4):
        assert not await tier.write(batch(record(2)))
    assert tier.may_have(one.key)
    assert await tier.get(one.key) == one.variants
    assert tier.counts.errors == 3


async def test_a_redis_that_wants_a_password(fresh: RedisServer, make: Make) -> None:
    fresh.ask("CONFIG", "SET", "requirepass", "secret")
    tier = await make(fresh.url)
    assert await tier.get(make_key(1)) == ()
    assert not await tier.write(batch(record(2)))
    assert tier.counts.errors == 3


@pytest.mark.parametrize(
    "answer", [b"-LOADING Redis is loading\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"*99999999\r\n", b""]
)
async def test_a_peer_that_answers_anything_else(make: Make, answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read(100)
            writer.write(answer)
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as peer:
        tier = await make(f"redis://127.0.0.1:{peer.sockets[0].getsockname()[1]}")
        assert await tier.get(make_key(1)) == ()
        assert not await tier.write(batch(record(1)))
        assert await tier.purge(Wanted(), soft=False) == set()
        assert tier.counts.errors >= 3


async def test_no_password_is_told_to_anybody(
    make: Make, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    tier = await make("redis://app:hush-hush@127.0.0.1:1/0")
    for _ in range(4):
        await tier.get(make_key(1))
        await tier.write(batch(record(1)))
    assert tier.counts.errors >= 6
    out = capsys.readouterr()
    said = [
        caplog.text,
        out.out,
        out.err,
        repr(tier),
        repr(tier._cache),
        *[repr(line.__dict__) for line in caplog.records],
    ]
    assert "hush" not in " ".join(said)


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 (there is nobody to set an event)
            await asyncio.sleep(0.01)
