"""A changed policy takes effect under traffic: nothing dropped, nothing forgotten (PRODUCT §5)."""

from __future__ import annotations

import pytest

from tests.menu import after, by_connection, name_target, reply, serve
from tests.providers import Gate
from tests.wire.client import eventually
from tests.wire.daemon import Served, Sidecar


def _rewrite(served: Served, *changes: tuple[str, str]) -> None:
    text = served.policy_file.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    served.policy_file.write_text(text)


def test_calls_in_flight_finish_on_the_policy_they_began_with(sidecar: Sidecar) -> None:
    gate = Gate()
    served = sidecar.provider(serve(after(gate, reply(200, b"old"))))
    other = sidecar.provider(serve(reply(200, b"new")))
    with sidecar.connect() as client:
        client.send(served.message("GET", "/"))
        eventually(lambda: gate.waiting)
        _rewrite(served, (f"127.0.0.1:{served.provider.port}", f"127.0.0.1:{other.provider.port}"))
        sidecar.reload()
        assert served.get().body == b"new"
        gate.open()
        assert client.response().body == b"old"
        client.send(served.message("GET", "/"))
        assert client.response().body == b"new", "the next call on the same connection takes the new policy"


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_connections_to_the_provider_outlive_a_reload(sidecar: Sidecar, tls: bool) -> None:
    served = sidecar.provider(serve(reply(200)), tls=tls)
    for number in range(4):
        assert served.get().status == 200
        served.policy_file.write_text(served.policy_file.read_text() + f"# {number}\n")
        sidecar.reload()
    assert len(served.provider.connections) == 1


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_new_connections_can_be_made_after_a_reload(sidecar: Sidecar, tls: bool) -> None:
    """A TLS session belongs to the context that made it; a reload makes new contexts."""
    gate = Gate()
    held = serve(reply(200, b"warm"), after(gate, reply(200, b"held")))
    served = sidecar.provider(by_connection(held, serve(reply(200, b"fresh"))), tls=tls)
    assert served.get().body == b"warm"
    _rewrite(served, ("breaker: false", "breaker: {}"))
    sidecar.reload()
    with sidecar.connect() as client:
        client.send(served.message("GET", "/"))
        eventually(lambda: gate.waiting)
        assert served.get().body == b"fresh"
        gate.open()
        assert client.response().body == b"held"


def test_a_change_is_noticed_without_being_told(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(name_target))
    _rewrite(served, (f"{served.name}.test", f"{served.name}-new.test"))
    request = f"GET /x HTTP/1.1\r\nHost: {served.name}-new.test\r\n\r\n".encode()
    assert eventually(lambda: sidecar.exchange(request).status == 200, within_s=3, every_s=0.05)


def test_a_removed_policy_is_gone_and_the_others_stay(sidecar: Sidecar) -> None:
    served, other = sidecar.provider(serve(reply(200))), sidecar.provider(serve(reply(200)))
    assert served.get().status == 200
    served.policy_file.unlink()
    sidecar.reload()
    assert (served.get().status, other.get().status) == (404, 200)


def test_a_broken_policy_changes_nothing_until_it_is_mended(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200), reply(503), reply(200)))
    good = served.policy_file.read_text()
    served.policy_file.write_text(good + "retrys: {}\n")
    assert sidecar.admin("POST", "/policies/reload")[0] >= 400
    assert served.get().status == 200
    served.policy_file.write_text(good.replace("retry: false", "retry: {attempts: 2}"))
    sidecar.reload()
    assert served.get().sidecar["attempts"] == 2
