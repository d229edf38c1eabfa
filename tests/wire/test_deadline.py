"""How long a call may take, and what happens to what is too late."""

from __future__ import annotations

from time import monotonic

import pytest

from tests.menu import by_connection, drip, head_of, late, raw, reply, serve, stall
from tests.providers import Connection, Gate, Request
from tests.wire.client import eventually
from tests.wire.daemon import Sidecar

RETRY = {"attempts": 3, "backoff": {"base": "5ms", "cap": "20ms"}}


@pytest.mark.parametrize("line", [b"Sidecar-Timeout: 0.2", b"Request-Timeout: 0.2", b"Sidecar-Timeout: 200ms"])
def test_the_application_may_shorten_the_deadline(sidecar: Sidecar, line: bytes) -> None:
    served = sidecar.provider(serve(stall), retry=RETRY)
    began_s = monotonic()
    response = served.get("/", line)
    assert 0.15 < monotonic() - began_s < 1.5
    assert response.status == 504
    assert eventually(served.provider.connections[0].ended.is_set)


def test_the_application_cannot_lengthen_the_deadline(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(stall), timeouts={"attempt": "200ms", "total": "200ms"})
    began_s = monotonic()
    assert served.get("/", b"Sidecar-Timeout: 60").status == 504
    assert monotonic() - began_s < 2


def test_a_timed_out_connection_is_not_used_again(sidecar: Sidecar) -> None:
    served = sidecar.provider(
        by_connection(serve(late(0.4, reply(200, b"stale"))), serve(reply(200, b"own"))), timeouts={"attempt": "150ms"}
    )
    assert served.get().status == 504
    assert served.get().body == b"own"


def test_a_reply_that_stops_is_cut_off_after_the_idle_time(sidecar: Sidecar) -> None:
    gate = Gate()
    served = sidecar.provider(serve(drip(b"one", b"two", gate=gate)), timeouts={"idle": "300ms"})
    with sidecar.connect() as client:
        client.send(served.message("GET", "/"))
        assert client.head().status == 200
        assert client.chunk() == b"one"
        assert client.rest() == b"", "no last chunk: it is not the end"
    assert eventually(served.provider.connections[0].ended.is_set)


def test_a_long_stream_may_outlast_the_attempt(sidecar: Sidecar) -> None:
    """Deadlines are for the head; a body that flows is not cut."""

    async def slowly(connection: Connection, _request: Request) -> None:
        await connection.send(head_of(200, b"Transfer-Encoding: chunked"))
        for _ in range(8):
            await late(0.1, raw(b"1\r\n.\r\n"))(connection, _request)
        await connection.send(b"0\r\n\r\n")

    served = sidecar.provider(serve(slowly), timeouts={"attempt": "200ms", "total": "400ms"})
    response = served.get()
    assert (response.body, response.complete) == (b"." * 8, True)
