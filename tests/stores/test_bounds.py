"""The bound of the memory is one of memory: measured from outside, in processes of their own."""

from __future__ import annotations

import subprocess
import sys

import pytest

MIB = 1024 * 1024
MARGIN_BYTES = 3 * MIB
"""What the allocator keeps beside what is in use."""
SCRIPT = """
import gc, sys
from pathlib import Path
from sidecar.http1.message import Headers, pack
from sidecar.rules.cache.entry import Terms
from sidecar.rules.cache.settings import CacheSettings
from sidecar.stores.shelf import Shelf
from tests.stores.entries import NOW_S, make_entry, make_key

keys, bound, fields, body, served = map(int, sys.argv[1:])
resident = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * 4096
settings, shelf = CacheSettings(), Shelf(bound, lambda provider: False)
gc.collect()
before = resident()
for number in range(keys):
    now_s = NOW_S + number * 0.001
    entry = make_entry(
        (b"%d" % number).ljust(body),
        packed=pack([(b"X-Name-%d" % index, b"value %d" % (number + index)) for index in range(fields)]),
        received_s=now_s,
        requested_s=now_s - 0.1,
        vary=((b"accept-language", b"%016d" % number),),
        target=b"/v1/customers/cus_%d?expand[]=subscriptions" % number,
        tags=("customer-%d" % number,),
    )
    entry.terms = Terms(settings, 200, 60.0 + number, False, False, 0.5 + number, 1.5 + number, False, True)
    shelf.put(make_key(number, number), entry, now_s + 100_000 + number, now_s)
    if served and shelf.get(make_key(number, number)):
        entry.headers = Headers(entry.fields)
assert shelf.size_bytes <= bound
assert shelf.entries + shelf.evictions == keys
print(resident() - before)
"""


@pytest.mark.parametrize("served", [False, True])
@pytest.mark.parametrize(("fields", "body"), [(0, 0), (4, 20), (12, 2000), (30, 3000)])
def test_memory_does_not_grow_past_its_bound(fields: int, body: int, served: bool) -> None:
    bound = 16 * MIB
    command = [sys.executable, "-c", SCRIPT, *map(str, (100_000, bound, fields, body, int(served)))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert bound / 2 < int(done.stdout) < bound + MARGIN_BYTES
