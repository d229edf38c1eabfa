from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sidecar.clock import LoopClock
from sidecar.http1.message import pack
from sidecar.stores.codec import Codec, Record
from sidecar.stores.disk import FULL, NO_FILE, SET_ASIDE, DiskTier
from sidecar.stores.tier import Batch, Wanted
from tests.fakes import FakeClock
from tests.stores.entries import NOW_S, make_entry, make_key

MIB = 1024 * 1024
CODEC = Codec(b"s" * 32)


class Tiers:
    """Makes tiers over one file; the last made is closed at the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = FakeClock(wall_s=NOW_S)
        self._made: list[DiskTier] = []

    async def __call__(self, codec: Codec = CODEC, *, listed: bool = True) -> DiskTier:
        tier = DiskTier(self.path, MIB, codec, self.clock)
        self._made.append(tier)
        await tier.open()
        if listed and tier._listing is not None:
            await tier._listing
        return tier

    async def close(self) -> None:
        while self._made:
            await self._made.pop().close()


@pytest.fixture
async def tiers(tmp_path: Path) -> AsyncIterator[Tiers]:
    tiers = Tiers(tmp_path / "cache.sqlite")
    yield tiers
    await tiers.close()


def record(number: int, **given: object) -> Record:
    return Record(make_key(number), (make_entry(**({"body": b"%d" % number} | given)),), NOW_S + 1000)


def batch(*records: Record) -> Batch:
    return Batch({each.key: each for each in records})


async def test_a_restart_finds_what_was_written(tiers: Tiers) -> None:
    tier = await tiers()
    assert not tier.may_have(make_key(1))
    assert await tier.write(batch(record(1), record(2)))
    assert tier.may_have(make_key(1))
    await tiers.close()
    tier = await tiers()
    assert [tier.may_have(make_key(number)) for number in (1, 2, 3)] == [True, True, False]
    assert await tier.get(make_key(1)) == record(1).variants
    assert (tier.counts.hits, tier.counts.misses, tier.counts.errors) == (1, 0, 0)
    assert tier.size() == (2, 4096, MIB)


async def test_no_key_is_taken_for_another(tiers: Tiers) -> None:
    tier = await tiers()
    assert await tier.write(batch(*[record(number) for number in range(400)]))
    assert tier.size()[0] == 400
    assert await tier.write(Batch(dict.fromkeys(map(make_key, range(200)))))
    assert [tier.may_have(make_key(number)) for number in range(600)] == [False] * 200 + [True] * 200 + [False] * 200


async def test_before_the_keys_are_known_everything_may_be_there(tiers: Tiers) -> None:
    await (await tiers()).write(batch(record(1)))
    await tiers.close()
    tier = await tiers(listed=False)
    assert tier.may_have(make_key(3))
    assert await tier.get(make_key(1)) == record(1).variants
    assert await tier.get(make_key(3)) == ()
    assert tier.counts.misses == 1
    assert tier._listing is None or await tier._listing is None
    assert not tier.may_have(make_key(3))


async def test_what_is_forgotten_is_gone(tiers: Tiers) -> None:
    tier = await tiers()
    await tier.write(batch(record(1), record(2), record(3)))
    await tier.write(Batch({make_key(1): None}, {make_key(2): NOW_S}))
    assert [tier.may_have(make_key(number)) for number in (1, 2, 3)] == [False, False, True]
    await tier.write(Batch(clear=True))
    assert not tier.may_have(make_key(3))
    assert await tier.get(make_key(3)) == ()


async def test_a_purge_takes_what_is_wanted(tiers: Tiers) -> None:
    tier = await tiers()
    german = make_entry(vary=((b"accept-language", b"de"),), tags=("t",))
    english = make_entry(vary=((b"accept-language", b"en"),))
    await tier.write(batch(record(1), record(2, provider="other"), Record(make_key(3), (german, english), NOW_S + 9)))
    assert await tier.purge(Wanted(tag="t"), soft=False) == {(make_key(3), german.vary)}
    assert await tier.get(make_key(3)) == (english,)
    assert await tier.purge(Wanted(provider="other"), soft=True) == {(make_key(2), ())}
    assert [entry.expired for entry in await tier.get(make_key(2))] == [True]
    assert await tier.purge(Wanted(key=make_key(1)), soft=False) == {(make_key(1), ())}
    assert not tier.may_have(make_key(1))
    assert await tier.purge(Wanted(uri=make_key(9)), soft=False) == set()
    assert len(await tier.purge(Wanted(), soft=False)) == 2
    assert tier.size()[:2] == (0, 0)


async def test_a_purge_sees_through_long_heads_and_many_records(tiers: Tiers) -> None:
    tier = await tiers()
    long = pack([(b"x-%d" % number, b"y" * 4000) for number in range(20)])
    await tier.write(batch(*[record(number) for number in range(300)], record(900, packed=long, route="long")))
    assert await tier.purge(Wanted(route="long"), soft=False) == {(make_key(900), ())}
    assert len(await tier.purge(Wanted(route="get-customer"), soft=False)) == 300


async def test_a_record_that_cannot_be_read_is_dropped(tiers: Tiers) -> None:
    tier = await tiers()
    await tier.write(batch(record(1), record(2)))
    await tiers.close()
    with sqlite3.connect(tiers.path) as database:
        database.execute("UPDATE record SET value = substr(value, 1, 60)")
    database.close()
    tier = await tiers()
    assert await tier.get(make_key(1)) == ()
    assert not tier.may_have(make_key(1))


async def test_a_record_under_another_key_is_not_believed(tiers: Tiers) -> None:
    tier = await tiers()
    await tier.write(batch(record(1)))
    await tiers.close()
    with sqlite3.connect(tiers.path) as database:
        database.execute("UPDATE record SET key = ?", (make_key(2),))
    database.close()
    assert await (await tiers()).get(make_key(2)) == ()


@pytest.mark.parametrize("content", [b"junk" * 5000, b"", b"SQLite format 3\0" + bytes(9000)])
async def test_a_file_that_is_no_database_is_set_aside(
    tiers: Tiers, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    tiers.path.write_bytes(content)
    tier = await tiers()
    assert await tier.write(batch(record(1)))
    assert await tier.get(make_key(1)) == record(1).variants
    assert [line.message for line in caplog.records] == ([SET_ASIDE] if content else [])
    aside = [path for path in tiers.path.parent.iterdir() if ".corrupt-" in path.name]
    assert [path.read_bytes() for path in aside] == ([content] if content else [])


async def test_a_file_that_breaks_on_the_way_is_replaced(tiers: Tiers, caplog: pytest.LogCaptureFixture) -> None:
    tier = await tiers()
    await tier.write(batch(*[record(number, body=b"\xaa" * 20_000) for number in range(9)]))
    await tiers.close()
    data = tiers.path.read_bytes()
    pages = [data[at : at + 4096] for at in range(0, len(data), 4096)]
    tiers.path.write_bytes(b"".join([bytes(4096) if page[9:] == b"\xaa" * 4087 else page for page in pages]))
    tier = await tiers()
    assert tier.may_have(make_key(1))
    assert await tier.get(make_key(1)) == ()
    assert not tier.may_have(make_key(2))
    await tier.write(batch(record(7)))
    assert await tier.get(make_key(7)) == record(7).variants
    assert [line.message for line in caplog.records] == [SET_ASIDE]
    assert tier.counts.errors == 1


async def test_no_file_at_all_leaves_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "cache.sqlite"
    path.mkdir()
    clock = FakeClock(wall_s=NOW_S)
    tier = DiskTier(path, MIB, CODEC, clock)
    await tier.open()
    assert await tier.write(batch(record(1)))
    assert (tier.may_have(make_key(1)), tier.counts.dropped) == (False, 1)
    clock.advance(61)
    assert await tier.write(batch(record(1)))
    assert [line.message for line in caplog.records] == [NO_FILE]
    path.rmdir()
    clock.advance(61)
    assert await tier.write(batch(record(1)))
    assert await tier.get(make_key(1)) == record(1).variants
    await tier.close()


async def test_the_second_daemon_goes_on_without(tiers: Tiers, caplog: pytest.LogCaptureFixture) -> None:
    first = await tiers()
    await first.write(batch(record(1)))
    second = DiskTier(tiers.path, MIB, CODEC, tiers.clock)
    await second.open()
    assert [(line.message, line.__dict__["reason"]) for line in caplog.records] == [
        (NO_FILE, "in use by another process")
    ]
    assert not second.may_have(make_key(1))
    assert await second.write(Batch({make_key(2): record(2)}, {make_key(1): NOW_S}))
    assert await first.get(make_key(1)) == record(1).variants
    await first.close()
    tiers.clock.advance(61)
    assert await second.write(batch(record(3)))
    assert await second.get(make_key(1)) == (), "it was invalidated while the first had the file"
    assert await second.get(make_key(3)) == record(3).variants
    await second.close()


async def test_a_full_disk_is_read_on(tiers: Tiers, caplog: pytest.LogCaptureFixture) -> None:
    tier = await tiers()
    await tier.write(batch(record(1)))
    file = tier._cache._file
    assert file is not None
    pages = file._one("PRAGMA page_count")
    await tier._cache._worker.run(lambda: file._database.execute(f"PRAGMA max_page_count = {pages}").fetchall())
    assert await tier.write(batch(Record(make_key(2), (make_entry(bytes(900_000)),), NOW_S + 9)))
    assert await tier.write(batch(record(3)))
    assert [line.message for line in caplog.records] == [FULL]
    assert tier.trouble
    tiers.clock.advance(61)
    assert await tier.write(batch(Record(make_key(2), (make_entry(bytes(900_000)),), NOW_S + 9)))
    assert [line.message for line in caplog.records] == [FULL], "once is enough"
    assert not tier.may_have(make_key(3))
    await tier._cache._worker.run(lambda: file._database.execute("PRAGMA max_page_count = 9999").fetchall())
    tiers.clock.advance(61)
    assert await tier.write(batch(record(3)))
    assert await tier.get(make_key(3)) == record(3).variants
    assert tier.trouble == ""


async def test_another_secret_starts_empty(tiers: Tiers) -> None:
    await (await tiers()).write(batch(record(1)))
    await tiers.close()
    assert not (await tiers(Codec(b"t" * 32))).may_have(make_key(1))


async def test_after_the_end_nothing_is_asked(tiers: Tiers) -> None:
    tier = await tiers()
    await tier.close()
    assert not tier.may_have(make_key(1))
    assert await tier.write(batch(record(1)))
    assert tier.counts.dropped == 1


WRITER = """
import asyncio, sys
from pathlib import Path
from sidecar.clock import LoopClock
from sidecar.stores.codec import Codec
from sidecar.stores.disk import DiskTier
from tests.stores.test_disk import batch, record

async def main():
    tier = DiskTier(Path(sys.argv[1]), 1 << 20, Codec(b"s" * 32), LoopClock())
    await tier.open()
    for number in range(100_000):
        await tier.write(batch(record(number)))
        print(number, flush=True)

asyncio.run(main())
"""


async def test_what_was_written_survives_being_killed(tiers: Tiers) -> None:
    writer = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, tiers.path, stdout=asyncio.subprocess.PIPE
    )
    assert writer.stdout is not None
    try:
        written = [int(await writer.stdout.readline()) for _ in range(30)]
    finally:
        writer.kill()
        written += [int(line) for line in (await writer.stdout.read()).split(b"\n")[:-1]]
        await writer.wait()
    tier = await tiers()
    for number in written[-30:]:
        assert await tier.get(make_key(number)) == record(number).variants


async def test_reads_go_on_while_the_loop_is_real(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path / "cache.sqlite", MIB, CODEC, LoopClock())
    await tier.open()
    await tier.write(batch(*[record(number) for number in range(50)]))
    found = await asyncio.gather(*[tier.get(make_key(number)) for number in range(50)])
    assert found == [record(number).variants for number in range(50)]
    await tier.close()
