from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
{before}
import sidecar.stores.disk
print("aiocache" in sys.modules, "redis" in sys.modules)
import sidecar.stores.redis_cache
from aiocache.backends.redis import RedisCache
print(issubclass(sidecar.stores.redis_cache.RecordCache, RedisCache))
"""


def _run(before: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(before=before)], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_a_disk_alone_does_not_bring_the_client_of_redis() -> None:
    assert _run() == "True False\nTrue\n"


def test_a_client_that_is_there_stays() -> None:
    assert _run("import redis") == "True True\nTrue\n"
    assert _run("import aiocache") == "True True\nTrue\n"


def test_the_shelf_and_its_tiers_bring_neither() -> None:
    script = "import sys, sidecar.stores.tiers, sidecar.stores.secret\n"
    script += "print({'aiocache', 'redis', 'sqlite3'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
