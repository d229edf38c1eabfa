"""Equal calls at once make one call, and nobody is worse off for it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from time import monotonic

import pytest

from tests.menu import after, chunk, drip, head_of, reply, serve
from tests.providers import Answer, Connection, Gate, Request
from tests.wire.client import Client, eventually
from tests.wire.daemon import Served, Sidecar

CACHE = {"store": "private"}
FRESH = b"Cache-Control: max-age=600"
CROWD = 1_000
TIMEOUTS = {"connect": "10s", "attempt": "30s", "total": "60s"}


def asking(stack: ExitStack, served: Served, count: int, *lines: bytes, path: str = "/") -> list[Client]:
    """That many connections with the same request sent on each."""
    clients = [stack.enter_context(served.sidecar.connect(timeout_s=30)) for _ in range(count)]
    for client in clients:
        client.send(served.message("GET", path, *lines))
    return clients


def all_read(served: Served) -> None:
    """Wait until the daemon has read what was sent before: it takes sockets as they become ready, this one last."""
    for _ in range(3):
        assert served.sidecar.exchange(b"GET /nobody/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").status == 404


def test_a_thousand_equal_misses_make_one_call(sidecar: Sidecar, need_files: Callable[[int], None]) -> None:
    need_files(2 * CROWD + 500)
    gate = Gate()
    served = sidecar.provider(serve(after(gate, reply(200, b"x" * 500, FRESH))), cache=CACHE, timeouts=TIMEOUTS)
    with ExitStack() as stack:
        clients = asking(stack, served, CROWD)
        eventually(lambda: gate.waiting)
        all_read(served)
        gate.open()
        responses = [client.response() for client in clients]
    assert {response.body for response in responses} == {b"x" * 500}
    assert len(served.requests) == 1
    collapsed = [response for response in responses if "collapsed" in (response.cache_status or {})]
    assert len(collapsed) == CROWD - 1
    assert {response.sidecar["attempts"] for response in collapsed} == {0}
    assert {response.served for response in responses} == {None}, "each has the provider's fresh word"


def test_switched_off_everybody_asks(sidecar: Sidecar) -> None:
    gate = Gate()
    served = sidecar.provider(serve(after(gate, reply(200, b"", FRESH))), cache=CACHE | {"coalesce": False})
    with ExitStack() as stack:
        clients = asking(stack, served, 5)
        eventually(lambda: gate.waiting == 5)
        gate.open()
        assert [client.response().status for client in clients] == [200] * 5


@pytest.mark.parametrize("line", [b"Authorization: Bearer %d", b"X-Api-Key: %d", b"Cookie: session=%d"])
def test_credentials_never_share_a_call(sidecar: Sidecar, line: bytes) -> None:
    gate = Gate()

    async def whose(connection: Connection, request: Request) -> None:
        await gate.passed()
        ((name, _),) = [pair for pair in request.fields if line.lower().startswith(pair[0].lower())]
        await reply(200, request.one(name), b"Cache-Control: public, max-age=600")(connection, request)

    served = sidecar.provider(serve(whose), cache=CACHE)
    with ExitStack() as stack:
        clients = [asking(stack, served, 1, line % number)[0] for number in range(3)]
        eventually(lambda: gate.waiting == 3)
        gate.open()
        for number, client in enumerate(clients):
            assert client.response().body.endswith(b"%d" % number)


def test_another_variant_is_asked_for(sidecar: Sidecar) -> None:
    """That a reply varies is known only when it is there: who waited and wants another goes on."""
    gate = Gate()

    async def by_language(connection: Connection, request: Request) -> None:
        await gate.passed()
        fields = FRESH, b"Vary: Accept-Language"
        await reply(200, request.one(b"accept-language"), *fields)(connection, request)

    served = sidecar.provider(serve(by_language), cache=CACHE)
    with ExitStack() as stack:
        clients = [asking(stack, served, 1, b"Accept-Language: " + name)[0] for name in (b"de", b"fr", b"de")]
        eventually(lambda: gate.waiting)
        all_read(served)
        gate.open()
        assert [client.response().body for client in clients] == [b"de", b"fr", b"de"]
    assert len(served.requests) == 2


@pytest.mark.parametrize(
    "answer",
    [
        reply(200, b"mine", b"Cache-Control: no-store"),
        reply(200, b"mine", FRESH, b"Vary: *"),
        reply(404, b"mine"),
        reply(200, b"mine" * 100_000, FRESH),
    ],
    ids=["no-store", "vary", "404", "too-large"],
)
def test_an_answer_that_cannot_be_shared_makes_nobody_queue(sidecar: Sidecar, answer: Answer) -> None:
    """All who waited go on at once, and so do those who come later: nobody waits for anybody again."""
    first, others, later = Gate(), Gate(), Gate()
    script = serve(after(first, answer), *[after(others, answer)] * 19, after(later, answer))
    served = sidecar.provider(script, cache=CACHE | {"max_entry": "64KiB"}, timeouts=TIMEOUTS)
    with ExitStack() as stack:
        clients = asking(stack, served, 20)
        eventually(lambda: first.waiting)
        all_read(served)
        first.open()
        eventually(lambda: others.waiting == 19)
        others.open()
        assert {client.response().body[:4] for client in clients} == {b"mine"}
        clients = asking(stack, served, 10)
        eventually(lambda: later.waiting == 10)
        later.open()
        assert {client.response().body[:4] for client in clients} == {b"mine"}


def test_a_reply_kept_to_stand_in_is_not_shared(sidecar: Sidecar) -> None:
    """What the provider marked `no-store` stands in for failures under `override`; it is nobody else's all the same."""
    gate, others = Gate(), Gate()
    mine = reply(200, b"mine", b"Cache-Control: no-store")
    cache = CACHE | {"stale": {"for": "1h", "override": True}}
    served = sidecar.provider(serve(after(gate, mine), after(others, mine)), cache=cache)
    with ExitStack() as stack:
        clients = asking(stack, served, 4)
        eventually(lambda: gate.waiting)
        all_read(served)
        gate.open()
        eventually(lambda: others.waiting == 3)
        others.open()
        assert [client.response().status for client in clients] == [200] * 4


def test_the_first_hangs_up_and_the_others_get_their_answer(sidecar: Sidecar) -> None:
    gate = Gate()
    served = sidecar.provider(serve(after(gate, reply(200, b"well", FRESH))), cache=CACHE, timeouts=TIMEOUTS)
    with ExitStack() as stack:
        leader, *others = asking(stack, served, 1)
        eventually(lambda: gate.waiting)
        others = asking(stack, served, 5)
        all_read(served)
        leader.reset()
        all_read(served)
        gate.open()
        assert [client.response().body for client in others] == [b"well"] * 5
    assert len(served.requests) <= 2, "the first's own, and one in its place"


def test_a_failure_is_shared_too(sidecar: Sidecar) -> None:
    """A crowd that waits for a provider must not knock it over, one by one, when it stumbles."""
    gate = Gate()
    served = sidecar.provider(serve(after(gate, reply(503, b"busy"))), cache=CACHE, timeouts=TIMEOUTS)
    with ExitStack() as stack:
        clients = asking(stack, served, 30)
        eventually(lambda: gate.waiting)
        all_read(served)
        gate.open()
        responses = [client.response() for client in clients]
    assert {(response.status, response.body) for response in responses} == {(503, b"busy")}
    assert len(served.requests) == 1


def test_a_follower_s_own_deadline_holds(sidecar: Sidecar) -> None:
    gate = Gate()
    served = sidecar.provider(serve(after(gate, reply(200, b"late", FRESH))), cache=CACHE, timeouts=TIMEOUTS)
    with ExitStack() as stack:
        (leader,) = asking(stack, served, 1)
        eventually(lambda: gate.waiting)
        began_s = monotonic()
        (follower,) = asking(stack, served, 1, b"Sidecar-Timeout: 200ms")
        refused = follower.response()
        assert (refused.status, refused.problem["reason"]) == (504, "total-timeout")
        assert 0.15 < monotonic() - began_s < 1.5
        gate.open()
        assert leader.response().body == b"late"
    assert len(served.requests) == 1


def test_a_leader_s_short_deadline_does_not_bind_the_others(sidecar: Sidecar) -> None:
    gate = Gate()
    served = sidecar.provider(serve(after(gate, reply(200, b"late", FRESH))), cache=CACHE, timeouts=TIMEOUTS)
    with ExitStack() as stack:
        (leader,) = asking(stack, served, 1, b"Sidecar-Timeout: 300ms")
        eventually(lambda: gate.waiting)
        (follower,) = asking(stack, served, 1)
        assert leader.response().status == 504
        eventually(lambda: gate.waiting == 2)
        gate.open()
        assert follower.response().body == b"late"


# Bodies that are still coming.


def test_a_reply_is_shared_as_it_arrives(sidecar: Sidecar) -> None:
    gate = Gate()
    served = sidecar.provider(serve(drip(b"one", b"two", gate=gate, fields=(FRESH,))), cache=CACHE)
    with ExitStack() as stack:
        (leader,) = asking(stack, served, 1)
        assert leader.head().status == 200
        assert leader.chunk() == b"one"
        followers = asking(stack, served, 3)
        for follower in followers:
            assert follower.head().status == 200
            assert follower.chunk() == b"one", "before the provider has sent the rest"
        gate.open()
        for client in (leader, *followers):
            assert (client.chunk(), client.chunk()) == (b"two", b"")
    assert len(served.requests) == 1


def test_a_reply_goes_on_for_the_others_when_the_first_leaves_in_the_middle(sidecar: Sidecar) -> None:
    gate = Gate()
    served = sidecar.provider(serve(drip(b"one", b"two", gate=gate, fields=(FRESH,))), cache=CACHE)
    with ExitStack() as stack:
        (leader,) = asking(stack, served, 1)
        assert leader.head().status == 200
        (follower,) = asking(stack, served, 1)
        assert follower.head().status == 200
        leader.reset()
        all_read(served)
        gate.open()
        assert (follower.chunk(), follower.chunk(), follower.chunk()) == (b"one", b"two", b"")
    assert served.get().body == b"onetwo"
    assert len(served.requests) == 1


def test_a_reader_that_stops_does_not_stop_the_others(sidecar: Sidecar) -> None:
    body = b"." * 900_000
    served = sidecar.provider(serve(reply(200, body, FRESH)), cache=CACHE)
    with ExitStack() as stack:
        stuck = stack.enter_context(sidecar.connect(receive_bytes=4096))
        stuck.send(served.message("GET", "/"))
        assert stuck.head().status == 200
        assert served.get().body == body
    assert len(served.requests) == 1


def test_a_large_reply_is_whole_for_whoever_has_joined_it(sidecar: Sidecar) -> None:
    """Past `max_entry` nothing is kept any more, and the slowest reader sets the pace."""
    gate, size = Gate(), 8 * 1024 * 1024

    async def pour(connection: Connection, _request: Request) -> None:
        await connection.send(head_of(200, FRESH, b"Transfer-Encoding: chunked") + chunk(b"." * 1000))
        await gate.passed()
        for _ in range(size // 65536):
            await connection.send(chunk(b"." * 65536))
        await connection.send(b"0\r\n\r\n")

    served = sidecar.provider(serve(pour), cache=CACHE)
    with ExitStack() as stack:
        (leader,) = asking(stack, served, 1)
        assert leader.head().status == 200
        (follower,) = asking(stack, served, 1)
        assert follower.head().status == 200
        gate.open()
        got, reading = [0, 0], [0, 1]
        while reading:
            for number in tuple(reading):
                piece = (leader, follower)[number].chunk()
                got[number] += len(piece)
                if not piece:
                    reading.remove(number)
    assert got == [size + 1000] * 2
    assert len(served.requests) == 1
    assert "hit" not in (served.get().cache_status or {})


def test_a_body_that_breaks_off_breaks_off_for_all(sidecar: Sidecar) -> None:
    gate = Gate()

    async def cut(connection: Connection, _request: Request) -> None:
        await connection.send(head_of(200, FRESH, b"Content-Length: 10") + b"half.")
        await gate.passed()
        connection.close()

    served = sidecar.provider(serve(cut, reply(200, b"whole", FRESH)), cache=CACHE)
    with ExitStack() as stack:
        (leader,) = asking(stack, served, 1)
        assert leader.head().status == 200
        (follower,) = asking(stack, served, 1)
        assert follower.head().status == 200
        gate.open()
        assert (leader.rest(), follower.rest()) == (b"half.", b"half.")
    assert served.get().body == b"whole", "what is cut is never kept"
