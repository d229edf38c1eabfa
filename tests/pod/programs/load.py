"""An application under steady load: `load.py CALLS LAST_S THREADS`. It makes that many calls at the least, and says in
one JSON line how many failed and how. After SIGTERM it goes on for LAST_S, as one that has work to finish does.

Connections are kept, and made anew where the other side closed them between calls, as every HTTP client does.
"""

from __future__ import annotations

import collections
import http.client
import json
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

BASE = urlsplit(os.environ["STRIPE_API_BASE"])
EVERY_S = 0.008
"""A thread's pace, so that the machine has time left for everybody else; after SIGTERM there is none."""


@dataclass
class Load:
    calls: int
    last_s: float
    count: int = 0
    after_sigterm: int = 0
    failed: collections.Counter[str] = field(default_factory=collections.Counter)
    told: threading.Event = field(default_factory=threading.Event)
    told_at_s: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def hear(self, *_: object) -> None:
        self.told_at_s = time.monotonic()
        self.told.set()

    def goes_on(self) -> bool:
        return not self.told.is_set() or self.count < self.calls or time.monotonic() < self.told_at_s + self.last_s

    def next(self) -> int:
        with self.lock:
            self.count += 1
            self.after_sigterm += self.told.is_set()
            return self.count

    def client(self) -> None:
        connection = http.client.HTTPConnection(BASE.hostname or "", BASE.port, timeout=20)
        while self.goes_on():
            begun = time.monotonic()
            name = f"cus_{self.next()}"
            try:
                connection.request("GET", f"{BASE.path}/v1/customers/{name}")
                reply = connection.getresponse()
                body = reply.read().decode(errors="replace")
                if reply.status != 200 or name not in body:
                    self.failed[f"{reply.status} {body[:300]}"] += 1
            except (OSError, http.client.HTTPException) as error:
                self.failed[f"{type(error).__name__}: {error}"] += 1
                connection.close()
            self.told.wait(max(0.0, EVERY_S - (time.monotonic() - begun)))


def main(calls: str, last_s: str, threads: str) -> None:
    load = Load(int(calls), float(last_s))
    signal.signal(signal.SIGTERM, load.hear)
    clients = [threading.Thread(target=load.client) for _ in range(int(threads))]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    told = {"calls": load.count, "after_sigterm": load.after_sigterm, "failed": dict(load.failed)}
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
