"""Ten thousand idle connections and a thousand calls at once, held by one daemon (PRODUCT §10)."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tests.menu import after, reply, serve
from tests.providers import Gate
from tests.wire.client import Client, eventually
from tests.wire.daemon import Sidecar

IDLE = 10_000
CALLS = 1_000
KIB = 1024


@pytest.mark.timeout(120)
def test_idle_connections_and_concurrent_calls(
    run_sidecar: Callable[..., Sidecar], need_files: Callable[[int], None], record_property: Callable[..., None]
) -> None:
    need_files(IDLE + 3 * CALLS + 500)
    gate = Gate()
    sidecar = run_sidecar("--pool-size", str(CALLS))
    quick = sidecar.provider(serve(reply(200, b"ok")))
    held = sidecar.provider(
        serve(after(gate, reply(200, b"held"))), timeouts={"connect": "30s", "attempt": "60s", "total": "60s"}, tls=True
    )
    request = quick.message("GET", "/")
    for _ in range(50):
        quick.get()
    before_bytes = sidecar.rss_bytes
    with ExitStack() as stack:
        idle = [_connect(stack, sidecar) for _ in range(IDLE)]
        eventually(lambda: sidecar.admin("GET", "/livez")[0] == 200)
        untouched_bytes = (sidecar.rss_bytes - before_bytes) / IDLE
        for sock in idle:
            sock.sendall(request)
            assert sock.recv(4096).startswith(b"HTTP/1.1 200 ")
        used_bytes = (sidecar.rss_bytes - before_bytes) / IDLE
        record_property("idle_bytes_per_connection", used_bytes)
        print(f"\nper idle connection: {untouched_bytes:.0f} bytes untouched, {used_bytes:.0f} after a call")

        calling = [stack.enter_context(sidecar.connect(timeout_s=30)) for _ in range(CALLS)]
        for client in calling:
            client.send(held.message("GET", "/"))
        eventually(lambda: gate.waiting == CALLS, within_s=30)
        held_bytes = sidecar.rss_bytes
        print(f"with {CALLS} calls in flight over TLS: {held_bytes / KIB / KIB:.1f} MiB")
        assert quick.get().body == b"ok", "and the daemon serves on"
        gate.open()
        assert {client.response().body for client in calling} == {b"held"}
        assert _answers(idle[0], request)
        assert _answers(idle[-1], request)
    assert used_bytes <= 16 * KIB
    assert untouched_bytes <= 16 * KIB
    # A connection to a provider over TLS has its own buffers: OpenSSL's alone are about 40 KiB.
    assert held_bytes - before_bytes <= IDLE * 16 * KIB + CALLS * 128 * KIB


def test_connections_that_come_and_go_leave_nothing(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200, b"x" * 2000)))

    def storm(count: int) -> None:
        for number in range(count):
            with Client(sidecar.port) as client:
                client.send(served.message("GET", f"/{number}", b"X-Pad: " + b"y" * 500))
                if number % 3:
                    assert client.response().status == 200

    storm(6000)  # Fills what is bounded: the last calls, telemetry's queues, the allocator's arenas.
    before_bytes = sidecar.rss_bytes
    storm(4000)
    assert sidecar.rss_bytes - before_bytes <= 2048 * KIB


def _connect(stack: ExitStack, sidecar: Sidecar) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", sidecar.port), timeout=20)
    stack.callback(sock.close)
    return sock


def _answers(sock: socket.socket, request: bytes) -> bool:
    sock.sendall(request)
    return sock.recv(4096).startswith(b"HTTP/1.1 200 ")
