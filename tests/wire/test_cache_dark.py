"""A provider goes dark under a steady load, and comes back: what the applications see, over real sockets.

`tests/test_dark.py` turns the clock through ten minutes of the same.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from time import monotonic

from tests.menu import reply, stall
from tests.providers import Connection, Request
from tests.wire.client import Response, eventually
from tests.wire.daemon import Served, Sidecar

ATTEMPT_S = 0.4
DARK_S = 3.0
PATHS = ("/customers/1", "/customers/2", "/prices/a", "/prices/b")
POLICY = {
    "cache": {"store": "private", "stale": "1h"},
    "timeouts": {"attempt": f"{ATTEMPT_S}s", "total": "10s"},
    "retry": {"attempts": 3, "backoff": {"base": "10ms"}},
    "breaker": {"consecutive": 3, "open": {"base": "1s", "cap": "2s"}, "scope": "provider"},
    "routes": [
        {"name": "customer", "match": {"method": "GET", "path": "/customers/{id}"}},
        {"name": "price", "match": {"method": "GET", "path": "/prices/{id}"}},
    ],
}


@dataclass
class Seen:
    """One call, as its caller saw it."""

    began_s: float
    waited_s: float
    response: Response


def keep_asking(served: Served, path: str, seen: list[Seen], until: threading.Event) -> None:
    with served.sidecar.connect() as client:
        while not until.wait(0.02):
            began_s = monotonic()
            client.send(served.message("GET", path))
            response = client.response()
            seen.append(Seen(began_s, monotonic() - began_s, response))


def test_a_provider_goes_dark_under_load(sidecar: Sidecar) -> None:
    dark = threading.Event()

    async def answer(connection: Connection, request: Request) -> None:
        if dark.is_set():
            await stall(connection)
        # Stale when it comes, so that every call would be asked.
        await reply(200, request.target, b"Cache-Control: max-age=60", b"Age: 100")(connection, request)

    async def script(connection: Connection) -> None:
        while (request := await connection.request()) is not None:
            await answer(connection, request)

    served = sidecar.provider(script, **POLICY)
    for path in PATHS:
        assert served.get(path).status == 200
    dark.set()
    began_s = monotonic()
    asked = len(served.requests)
    seen: list[Seen] = []
    over = threading.Event()
    threads = [threading.Thread(target=keep_asking, args=(served, path, seen, over)) for path in PATHS]
    for thread in threads:
        thread.start()
    over.wait(DARK_S)
    over.set()
    for thread in threads:
        thread.join(10)

    assert len(seen) > 100
    assert {one.response.status for one in seen} == {200}
    for one in seen:
        told = one.response.served
        assert told is not None
        assert (told.value, told.params["age"]) == ("stale", int(one.response.one(b"age")))
        assert told.params["reason"] in {"attempt-timeout", "breaker-open"}
    assert max(one.waited_s for one in seen) < ATTEMPT_S + 0.3
    later = sorted(one.waited_s for one in seen if one.began_s > began_s + ATTEMPT_S + 0.3)
    assert later[len(later) // 2] < 0.02, "once it is known to be dark, an answer is at hand"
    assert later[-1] < ATTEMPT_S / 2, "and nobody waits for the provider"
    assert len(served.requests) - asked <= 8, "each caller's first, and then the breaker's trials"

    dark.clear()
    assert eventually(lambda: served.get(PATHS[0]).served is None, within_s=10, every_s=0.05)
