"""Puts a million replies under keys of their own on one shelf, and prints what that did to this process, as JSON."""

from __future__ import annotations

import json
from os import sysconf
from pathlib import Path

from sidecar.http1.message import pack
from sidecar.rules.cache.entry import Entry
from sidecar.stores.shelf import Shelf

KEYS = 1_000_000
BOUND_BYTES = 16 * 1024 * 1024
NOW_S = 1_800_000_000.0
PAGE_BYTES = sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


def entry(number: int) -> Entry:
    """As a provider's replies are: small, and each of a size of its own."""
    fields = [
        (b"Content-Type", b"application/json; charset=utf-8"),
        (b"Cache-Control", b"max-age=600"),
        (b"ETag", b'"%d"' % number),
        (b"Request-Id", b"req_%d" % number),
    ]
    body = b"%d" % number * (number % 200)
    return Entry(
        200,
        b"OK",
        pack(fields),
        body,
        NOW_S,
        NOW_S,
        (),
        "stripe",
        "get-customer",
        "https://stripe.test",
        b"/%d" % number,
    )


def main() -> None:
    before_bytes = resident_bytes()
    shelf = Shelf(BOUND_BYTES, lambda _provider: False)
    most_bytes = most_held = 0
    for number in range(KEYS):
        # A third of them belongs to some credential, and all come due at different times.
        key = number.to_bytes(16) + (b"" if number % 3 else bytes(16))
        now_s = NOW_S + number / 1000
        shelf.put(key, entry(number), now_s + 60.0 + number % 7200, now_s)
        if number % 1000 == 0:
            most_bytes = max(most_bytes, resident_bytes())
            most_held = max(most_held, shelf.size_bytes)
    figures = {"grown_bytes": most_bytes - before_bytes, "held_bytes": most_held, "entries": shelf.entries}
    print(json.dumps(figures | {"evictions": shelf.evictions}))


if __name__ == "__main__":
    main()
