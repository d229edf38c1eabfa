"""The store of one process: made when it is needed, warm after a restart, and written out at the end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from sidecar.http1.message import pack
from sidecar.rules.cache.entry import Entry
from sidecar.serving.caching import Caching, StoreSettings
from tests.fakes import FakeClock

KEY = b"k" * 16


def make_entry(clock: FakeClock) -> Entry:
    now_s = clock.wall()
    return Entry(
        200, b"OK", pack([(b"ETag", b'"1"')]), b"body", now_s, now_s, (), "stripe", "-", "https://api.test", b"/a"
    )


def make_caching(state: Path, clock: FakeClock, disk_bytes: int | None = 1024 * 1024) -> Caching:
    settings = StoreSettings(1024 * 1024, disk_bytes, state, None, 1.0, None)
    return Caching(settings, clock, lambda _: False, lambda _tiers, _ground: None)


async def test_what_one_process_kept_the_next_one_finds(tmp_path: Path) -> None:
    clock = FakeClock()
    first = make_caching(tmp_path, clock)
    await first.open()
    first.ground().store.put(KEY, make_entry(clock))
    await first.close()

    second = make_caching(tmp_path, clock)
    await second.open()
    store = second.ground().store
    assert store.peek(KEY) == ()
    assert store.is_behind(KEY)
    assert [entry.body for entry in await store.fetch(KEY)] == [b"body"]
    assert second.ground().secret == first.ground().secret
    await second.close()


async def test_without_a_file_there_is_memory(tmp_path: Path) -> None:
    clock = FakeClock()
    caching = make_caching(tmp_path, clock, disk_bytes=None)
    await caching.open()
    store = caching.ground().store
    store.put(KEY, make_entry(clock))
    assert [entry.body for entry in store.peek(KEY)] == [b"body"]
    assert not store.is_behind(b"o" * 16)
    await caching.close()
    assert "cache.sqlite" not in os.listdir(tmp_path)


async def test_nothing_is_made_until_somebody_asks(tmp_path: Path) -> None:
    made: list[object] = []
    settings = StoreSettings(1024 * 1024, 1024 * 1024, tmp_path, None, 1.0, None)
    caching = Caching(settings, FakeClock(), lambda _: False, lambda tiers, _ground: made.append(tiers))
    await caching.close()
    assert (made, os.listdir(tmp_path)) == ([], [])
    assert caching.ground() is caching.ground()
    assert made == [caching.tiers]


def test_the_settings_hide_what_is_secret(tmp_path: Path) -> None:
    settings = StoreSettings(1, None, tmp_path, "redis://:hunter2@localhost", 1.0, "hunter3")
    assert "hunter" not in repr(settings)


def test_libraries_come_without_their_companion() -> None:
    code = (
        "import sys; from sidecar.lean import import_without; import_without('pybreaker', 'redis');"
        " assert 'pybreaker' in sys.modules and 'redis' not in sys.modules; import redis"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
