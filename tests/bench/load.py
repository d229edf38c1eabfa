"""Load on a proxy: wrk for all that it can carry, the open load for a fixed rate, plain sockets for the rest."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path

from tests.bench.machine import BenchError, Cores, Process, require
from tests.bench.peers import Running
from tests.bench.site import BIG_BYTES, SIZES, TEMPLATES, page

CONNECTIONS = 32
LEAST_BUSY = 0.8
"""The share of connections that must have a call under way, on average."""
CHUNK_BYTES = 256 * 1024
MOST_LATE_US = 1000
OPEN_LOAD_TRIES = 5
SAMPLE_BYTES = 4 * 1024 * 1024
RUNS = count()


@dataclass(frozen=True)
class Workload:
    """`GET` has a reply of that size, `POST` a request of that size and the smallest reply."""

    method: str
    size: str
    place: str = "bench"
    """The path of the folder that the pages are in, its provider first."""
    distinct: bool = False
    """Every call has a URL of its own."""
    alone: bool = False
    """Every call has a connection of its own."""
    host: str = "127.0.0.1"
    """The bench's own hosts are asked for over TLS."""

    @property
    def title(self) -> str:
        return f"{self.method} {self.size}"

    @property
    def target(self) -> str:
        name = page(self.size if self.method == "GET" else "0.5 KiB")
        return f"/{self.place}/{name}" if self.place else f"/{name}"

    def url(self, port: int) -> str:
        scheme = "http" if self.host == "127.0.0.1" else "https"
        return f"{scheme}://{self.host}:{port}{self.target}"

    @property
    def body_bytes(self) -> int:
        return SIZES[self.size] if self.method == "POST" else 0


@dataclass(frozen=True)
class Carried:
    """What a proxy did under as much load as it could take."""

    cpu_us: float
    """A call."""
    calls_per_s: float


@cache
def wrk() -> str:
    return require("wrk", "wrk")


def saturate(process: Process, port: int, workload: Workload, seconds: int, cores: Cores) -> Carried:
    """Closed loop on 32 connections from the load's core; every answer must be a 200."""
    argv = [wrk(), "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(TEMPLATES / "load.lua")]
    argv += [workload.url(port), "--", workload.method, str(workload.body_bytes)]
    if workload.alone:
        argv.append("alone")
    elif workload.distinct:
        argv.append(f"run{next(RUNS)}")
    before_s = process.cpu_s()
    result = _on_core(argv, cores.load, seconds + 30)
    cpu_s = process.cpu_s() - before_s
    if errors := {name: result[name] for name in ("socket_errors", "status_errors", "timeouts") if result[name]}:
        raise BenchError(f"not every call was answered well: {errors}")
    if not result["calls"]:
        raise BenchError("no call was answered")
    # Little's law: fewer calls in flight than connections means that some connections wait for an answer for ever.
    # A latency does not count the handshake of a connection that carries but one call.
    in_flight = result["latency_us"] * result["calls"] / result["duration_us"]
    if in_flight < CONNECTIONS * LEAST_BUSY and not workload.alone:
        raise BenchError(f"about {CONNECTIONS - in_flight:.0f} of {CONNECTIONS} connections got no answer any more")
    return Carried(cpu_s / result["calls"] * 1e6, result["calls"] / result["duration_us"] * 1e6)


def open_load(port: int, target: str, rate_per_s: float, seconds: int, cores: Cores) -> dict[str, float]:
    """Percentiles in microseconds: `p50_us`, `p99_us` and so on. Tried again when this machine was too busy to send on
    time, since the latencies would be the load's own."""
    flags = [f"--port={port}", f"--target={target}", f"--rate={rate_per_s:.0f}", f"--seconds={seconds:g}"]
    for _ in range(OPEN_LOAD_TRIES):
        figures = _on_core([sys.executable, "-m", "tests.bench.open_load", *flags], cores.load, seconds + 30)
        if figures["late_p99_us"] <= MOST_LATE_US:
            return figures
    raise BenchError(f"the machine is too busy: calls were sent {figures['late_p99_us']:,.0f} µs late (p99)")


def _on_core(argv: list[str], core: int, timeout_s: float) -> dict[str, float]:
    """Run a program that ends with one line of JSON."""
    try:
        done = subprocess.run(
            ["taskset", "-c", str(core), *argv], capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise BenchError(f"{Path(argv[0]).name} was not done in {timeout_s:.0f} s") from None
    lines = [*done.stdout.strip().splitlines(), ""]
    if done.returncode or not lines[-2:][0].startswith("{"):
        raise BenchError((done.stderr.strip() or done.stdout.strip())[-300:])
    result: dict[str, float] = json.loads(lines[-2])
    return result


def request(port: int, method: str, target: str, length: int | None = None) -> bytes:
    fields = f"Host: 127.0.0.1:{port}\r\n" + (f"Content-Length: {length}\r\n" if length is not None else "")
    return f"{method} {target} HTTP/1.1\r\n{fields}\r\n".encode()


def head(sock: socket.socket) -> tuple[int, bytes]:
    """The length that a 200 gives for its body, and what came of it."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        if not piece:
            raise BenchError("the connection was closed before the reply")
        data += piece
    fields, _, body = data.partition(b"\r\n\r\n")
    if not fields.startswith(b"HTTP/1.1 200 "):
        raise BenchError(f"the reply was not 200: {fields.splitlines()[0].decode('latin-1')}")
    return int(fields.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]), body


def one_call(sock: socket.socket, port: int) -> None:
    """A small call, to its last byte."""
    sock.sendall(request(port, "GET", f"/bench/{page('0.5 KiB')}"))
    length, body = head(sock)
    missing = length - len(body)
    while missing > 0:
        missing -= len(sock.recv(65536)) or missing + 1
    if missing < 0:
        raise BenchError("the reply was cut short")


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        yield sock


@contextmanager
def idle_connections(port: int, count: int) -> Iterator[None]:
    """That many open connections, each of which has made one call and may make another."""
    held: list[socket.socket] = []
    try:
        for _ in range(count):
            sock = socket.create_connection(("127.0.0.1", port), timeout=10)
            held.append(sock)
            one_call(sock, port)
        yield
    finally:
        for sock in held:
            sock.close()


def equal_calls(port: int, target: str, calls: int) -> None:
    """That many calls of the same page at once, each on a connection of its own; every answer must be a 200."""
    with ExitStack() as stack:
        socks = [stack.enter_context(connected(port)) for _ in range(calls)]
        for sock in socks:
            sock.sendall(request(port, "GET", target))
        for sock in socks:
            head(sock)


def download(proxy: Running) -> Iterator[int]:
    """Take the big page; yields the proxy's resident bytes every few MiB."""
    with connected(proxy.port) as sock:
        sock.sendall(request(proxy.port, "GET", "/bench/big"))
        length, body = head(sock)
        buffer = bytearray(CHUNK_BYTES)
        got = len(body)
        sample_at = 0
        while got < length:
            size = sock.recv_into(buffer)
            if not size:
                raise BenchError(f"the reply was cut short after {got:,} bytes")
            got += size
            if got >= sample_at:
                yield proxy.process.resident_bytes()
                sample_at = got + SAMPLE_BYTES


def upload(proxy: Running) -> Iterator[int]:
    """Send a body as large; yields the proxy's resident bytes every few MiB."""
    with connected(proxy.port) as sock:
        sock.sendall(request(proxy.port, "POST", "/uploads/big", BIG_BYTES))
        chunk = bytes(CHUNK_BYTES)
        for sent in range(0, BIG_BYTES, CHUNK_BYTES):
            sock.sendall(chunk)
            if sent % SAMPLE_BYTES == 0:
                yield proxy.process.resident_bytes()
        head(sock)
        yield proxy.process.resident_bytes()
