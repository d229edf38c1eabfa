"""Load at a fixed rate, whatever the server does: `python -m tests.bench.open_load --port P --rate R …` prints JSON.

Calls are due at the instants of a Poisson process with a fixed seed, so every proxy meets the same crowd. A latency
counts from the instant the call was due, not from when a connection was free for it: a stall is charged to every
call that it delays (no coordinated omission).
"""

from __future__ import annotations

import argparse
import gc
import json
import select
import socket
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from random import Random
from time import perf_counter

from tests.bench.machine import BenchError, raise_file_limit

WARM_UP_S = 0.5
"""Calls due in the first of the load are made, but not counted."""
GIVE_UP_S = 10.0
"""How long after the last call is due its answer is waited for."""
PAGE_BYTES = 256 * 1024


@dataclass(slots=True)
class Exchange:
    """One connection, and the call that is on it."""

    sock: socket.socket
    due_s: float = 0.0
    missing_bytes: int = -1
    """Of the reply's body; negative until its head is complete."""
    head: bytes = b""


def arrivals(rate_per_s: float, seconds: float, seed: int) -> list[float]:
    """When calls are due, seconds from the start."""
    draw = Random(seed).expovariate
    instants: list[float] = []
    now_s = draw(rate_per_s)
    while now_s < seconds:
        instants.append(now_s)
        now_s += draw(rate_per_s)
    return instants


def percentile(ordered: list[float], share: float) -> float:
    """The smallest value that at least `share` of them do not pass (nearest rank)."""
    return ordered[max(0, ceil(len(ordered) * share) - 1)]


class OpenLoad:
    """One thread, one epoll: answers are taken as they come, calls are sent as they fall due."""

    def __init__(self, port: int, target: str, connections: int) -> None:
        self._request = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: */*\r\n\r\n".encode()
        self._epoll = select.epoll()
        self._exchanges: dict[int, Exchange] = {}
        self._idle: list[Exchange] = []
        self._waiting: deque[float] = deque()
        self.latencies_s: list[float] = []
        self.late_s: list[float] = []
        """How late each call was sent because of this program, for the reader to judge the rest by."""
        for _ in range(connections):
            sock = socket.create_connection(("127.0.0.1", port), timeout=5)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)
            self._epoll.register(sock, select.EPOLLIN)
            self._exchanges[sock.fileno()] = exchange = Exchange(sock)
            self._idle.append(exchange)

    def run(self, instants: list[float]) -> None:
        start_s = perf_counter() + 0.05
        counts_from_s = start_s + WARM_UP_S
        due = deque(start_s + instant for instant in instants)
        ends_s = due[-1] + GIVE_UP_S
        wakes = [self._epoll.fileno()]
        while due or len(self._idle) < len(self._exchanges):
            now_s = perf_counter()
            while due and due[0] <= now_s:
                self._call(due.popleft(), now_s)
            # epoll counts its time-out in milliseconds, select in microseconds.
            select.select(wakes, [], [], max(0.0, due[0] - perf_counter()) if due else 0.1)
            for number, _ in self._epoll.poll(0):
                self._answer(self._exchanges[number], counts_from_s)
            if now_s > ends_s:
                raise BenchError(f"{len(self._exchanges) - len(self._idle)} calls were never answered")

    def close(self) -> None:
        for exchange in self._exchanges.values():
            exchange.sock.close()
        self._epoll.close()

    def _call(self, due_s: float, now_s: float) -> None:
        if not self._idle:
            self._waiting.append(due_s)
            return
        self.late_s.append(now_s - due_s)
        self._send(self._idle.pop(), due_s)

    def _send(self, exchange: Exchange, due_s: float) -> None:
        exchange.due_s = due_s
        exchange.head = b""
        exchange.missing_bytes = -1
        exchange.sock.send(self._request)

    def _answer(self, exchange: Exchange, counts_from_s: float) -> None:
        data = exchange.sock.recv(PAGE_BYTES)
        if not data:
            raise BenchError("a connection was closed under the load")
        if exchange.missing_bytes < 0:
            data = self._read_head(exchange, data)
            if exchange.missing_bytes < 0:
                return
        exchange.missing_bytes -= len(data)
        if exchange.missing_bytes > 0:
            return
        if exchange.due_s >= counts_from_s:
            self.latencies_s.append(perf_counter() - exchange.due_s)
        if self._waiting:
            self._send(exchange, self._waiting.popleft())
        else:
            self._idle.append(exchange)

    def _read_head(self, exchange: Exchange, data: bytes) -> bytes:
        """What there is of the body, once the head is complete."""
        head, end, body = (exchange.head + data).partition(b"\r\n\r\n")
        if not end:
            exchange.head = head
            return b""
        if not head.startswith(b"HTTP/1.1 200 "):
            raise BenchError(f"an answer was not 200: {head.splitlines()[0].decode('latin-1')}")
        length = head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
        exchange.missing_bytes = int(length)
        return body


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    raise_file_limit()
    gc.disable()
    with suppress(OSError):  # the kernel may batch wake-ups within 50 µs otherwise
        Path("/proc/self/timerslack_ns").write_text("1")
    try:
        load = OpenLoad(options.port, options.target, options.connections)
        load.run(arrivals(options.rate, WARM_UP_S + options.seconds, options.seed))
    except (BenchError, OSError) as error:
        raise SystemExit(f"open load: {error}") from None
    latencies_s, late_s = sorted(load.latencies_s), sorted(load.late_s)
    figures = {"calls": len(latencies_s), "late_p99_us": percentile(late_s, 0.99) * 1e6}
    figures |= {f"p{share:g}_us": percentile(latencies_s, share / 100) * 1e6 for share in (50, 90, 99, 99.9)}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
