"""Rate and concurrency of the policy: waiting for a turn, or an answer at once."""

from __future__ import annotations

from contextlib import ExitStack
from time import monotonic

from tests.menu import drip, reply, serve
from tests.providers import Gate
from tests.wire.client import eventually
from tests.wire.daemon import Sidecar


def test_a_call_waits_for_its_turn(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200)), limit={"rate": "5/s", "burst": 1, "max_wait": "2s"})
    began_s = monotonic()
    responses = [served.get() for _ in range(4)]
    assert [response.status for response in responses] == [200] * 4
    assert monotonic() - began_s > 0.5
    assert sum(response.sidecar.get("waited", 0) for response in responses) > 0.4


def test_a_wait_beyond_the_deadline_is_refused_at_once(sidecar: Sidecar) -> None:
    served = sidecar.provider(
        serve(reply(200)), limit={"rate": "1/m", "burst": 1, "max_wait": "1m"}, timeouts={"total": "2s"}
    )
    assert served.get().status == 200
    began_s = monotonic()
    assert served.get().status == 429
    assert monotonic() - began_s < 1


def test_concurrency_is_bounded_until_bodies_have_ended(sidecar: Sidecar) -> None:
    gate = Gate()
    served = sidecar.provider(serve(drip(b"a", b"b", gate=gate)), limit={"concurrency": 3, "max_wait": "5s"})
    with ExitStack() as stack:
        clients = [stack.enter_context(sidecar.connect()) for _ in range(8)]
        for client in clients:
            client.send(served.message("GET", "/"))
        eventually(lambda: gate.waiting == 3)
        assert served.provider.connections[0].requests
        assert len(served.requests) == 3
        gate.open()
        assert [client.response().body for client in clients] == [b"ab"] * 8
