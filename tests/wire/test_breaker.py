"""A provider that is down is left alone, and found again when it is back."""

from __future__ import annotations

from tests.menu import after, reply, serve
from tests.providers import Connection, Gate, Request
from tests.wire.client import Client, eventually
from tests.wire.daemon import Served, Sidecar

RETRY = {"attempts": 3, "backoff": {"base": "5ms", "cap": "20ms"}}


def test_the_breaker_opens_after_seven_and_asks_no_more(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(500)), breaker={"consecutive": 7, "open": {"base": "30s"}})
    statuses = [served.get().status for _ in range(10)]
    assert statuses == [500] * 7 + [503] * 3
    assert len(served.requests) == 7
    assert served.name in str(sidecar.admin("GET", "/breakers")[1])


def test_the_breaker_counts_attempts_and_stops_a_retry(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(500)), retry=RETRY, breaker={"consecutive": 2, "open": {"base": "30s"}})
    response = served.get()
    assert len(served.requests) == 2
    assert response.status in {500, 503}


def test_the_breaker_lets_one_trial_through_and_closes(sidecar: Sidecar) -> None:
    gate = Gate()
    served = sidecar.provider(
        serve(reply(500), reply(500), after(gate, reply(200)), reply(200)),
        breaker={"consecutive": 2, "open": {"base": "300ms"}},
    )
    assert [served.get().status for _ in range(3)] == [500, 500, 503]
    with sidecar.connect() as trial:
        eventually(lambda: served.get().status == 503)
        _until_a_trial(served, trial, gate)
        assert served.get().status == 503, "one trial at once"
        gate.open()
        assert trial.response().status == 200
    assert [served.get().status for _ in range(3)] == [200] * 3


def test_what_is_our_fault_trips_nothing(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(400)), breaker={"consecutive": 2})
    assert [served.get().status for _ in range(6)] == [400] * 6


def test_operations_trip_apart(sidecar: Sidecar) -> None:
    async def half_broken(connection: Connection, request: Request) -> None:
        answer = reply(500) if b"bad" in request.target else reply(200)
        await answer(connection, request)

    routes = [{"name": "bad", "match": {"path": "/bad"}}]
    served = sidecar.provider(serve(half_broken), breaker={"consecutive": 2, "open": {"base": "30s"}}, routes=routes)
    assert [served.get("/bad").status for _ in range(3)] == [500, 500, 503]
    assert served.get("/good").status == 200


def test_dry_run_of_the_breaker_does_not_act(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(500)), breaker={"consecutive": 2}, dry_run=["breaker"])
    assert [served.get().status for _ in range(5)] == [500] * 5


def test_a_reload_keeps_the_breaker(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(500)), breaker={"consecutive": 2, "open": {"base": "30s"}})
    assert [served.get().status for _ in range(3)] == [500, 500, 503]
    text = served.policy_file.read_text()
    served.policy_file.write_text(text.replace("consecutive: 2", "consecutive: 3"))
    sidecar.reload()
    assert served.get().status == 503


def _until_a_trial(served: Served, client: Client, gate: Gate) -> None:
    """Ask on `client` until the breaker lets it through to wait at the gate."""

    def admitted() -> bool:
        client.send(served.message("GET", "/"))
        client.sock.settimeout(0.1)
        try:
            assert client.response().status == 503
        except TimeoutError:
            return gate.waiting == 1
        return False

    eventually(admitted, every_s=0.05)
    client.sock.settimeout(8)
