"""What stands around every proxy: one provider, a telemetry collector, a place for uploads, and their certificates."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

from tests.authority import Authority, Leaf
from tests.bench.machine import BenchError, Process, answers, free_port, require, until

TEMPLATES = Path(__file__).parent / "config"
KIB = 1024
SIZES = {"0.5 KiB": KIB // 2, "16 KiB": 16 * KIB, "256 KiB": 256 * KIB}
"""Bodies of the load, by the name they have in the table."""
BIG_BYTES = 1024 * KIB * KIB
"""The body that must stream."""
OPENED_HOST = "bench.test"
"""The host that the bench's policy is for."""
CROWD_S = 1.0
"""How long the crowd's answer takes: all of it must have come by then."""


def fill(template: str, target: Path, **values: object) -> Path:
    """Write a configuration from its template, where `{{name}}` stands for a value."""
    text = (TEMPLATES / template).read_text()
    for name, value in values.items():
        text = text.replace("{{" + name + "}}", str(value))
    target.write_text(text)
    return target


@dataclass
class Site:
    """One temporary folder and the ports in it. `start` before use, `stop` after."""

    folder: Path
    load_core: int

    def __post_init__(self) -> None:
        self.authority = Authority(self.folder)
        self.provider_port = free_port()
        self.direct_port = free_port()
        self.collector = Collector()
        self.uploads = Uploads(self.authority)
        self.crowd = Crowd(self.authority)
        self._provider: Process | None = None

    @property
    def ca_file(self) -> Path:
        return self.authority.ca_file

    @cached_property
    def opened(self) -> Leaf:
        """What other proxies than the daemon end TLS with."""
        return self.authority.issue(OPENED_HOST)

    @cached_property
    def nginx(self) -> str:
        return require("nginx", "nginx-light")

    def start(self) -> None:
        """The provider: nginx with TLS 1.3 and keep-alive, and without TLS for a look at the path's own latency."""
        pages = self.folder / "pages"
        pages.mkdir()
        for name, size in SIZES.items():
            (pages / page(name)).write_bytes(reply(size))
        with (pages / "big").open("wb") as big:
            big.truncate(BIG_BYTES)
        leaf = self.authority.localhost
        config = fill(
            "provider.nginx.conf",
            self.folder / "provider.conf",
            folder=self.folder,
            port=self.provider_port,
            direct_port=self.direct_port,
            cert_file=leaf.cert_file,
            key_file=leaf.key_file,
        )
        self._provider = Process([self.nginx, "-c", str(config)], self.load_core, self.folder / "provider.log")
        if not until(lambda: answers(self.direct_port, f"/{page('0.5 KiB')}"), within_s=10):
            raise BenchError(f"the provider (nginx) did not start: {self._provider.last_words()}")

    def stop(self) -> None:
        if self._provider is not None:
            self._provider.stop()
        self.collector.stop()
        self.uploads.stop()
        self.crowd.stop()


def page(size: str) -> str:
    """The path of a reply of that size: `0.5 KiB` is at `b512`."""
    return f"b{SIZES[size]}"


def reply(size: int) -> bytes:
    """A JSON text of exactly `size` bytes."""
    head, tail = b'{"object":"charge","note":"', b'"}'
    return head + b"x" * (size - len(head) - len(tail)) + tail


class Collector:
    """An OTLP receiver: keeps what it is sent, by sender, to be counted when the load is over."""

    def __init__(self) -> None:
        received: list[tuple[str, str, bytes]] = []

        class Receive(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = self.headers.get("Content-Length")
                body = self._chunks() if length is None else self.rfile.read(int(length))
                received.append((self.path, self.headers.get("Content-Encoding", ""), body))
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def _chunks(self) -> bytes:
                pieces = []
                while size := int(self.rfile.readline(), 16):
                    pieces.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(pieces)

            def log_message(self, *_: Any) -> None:
                """Silent."""

        self._received = received
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Receive)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def spans(self) -> Counter[str]:
        """How many spans came, by sender."""
        import gzip

        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        counts: Counter[str] = Counter()
        for path, encoding, body in self._received:
            _, sender, signal = path.split("/", 2)
            if signal == "v1/traces":
                request = ExportTraceServiceRequest.FromString(gzip.decompress(body) if encoding == "gzip" else body)
                counts[sender] += sum(len(s.spans) for r in request.resource_spans for s in r.scope_spans)
        return counts

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Uploads:
    """A provider over TLS that reads the whole of a body, keeps none of it, and then says 200."""

    def __init__(self, authority: Authority) -> None:
        context = authority.localhost.server_context()

        class Receive(StreamRequestHandler):
            def setup(self) -> None:
                self.request = context.wrap_socket(self.request, server_side=True)
                super().setup()

            def handle(self) -> None:
                while length := self._head():
                    self._swallow(length)
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

            def _head(self) -> int:
                """The body's length; 0 when the connection is over."""
                length = 0
                while (line := self.rfile.readline()) not in (b"\r\n", b""):
                    name, _, value = line.partition(b":")
                    if name.lower() == b"content-length":
                        length = int(value)
                return length

            def _swallow(self, length: int) -> None:
                buffer = bytearray(256 * KIB)
                view = memoryview(buffer)
                while length:
                    got = self.rfile.readinto1(view[: min(length, len(buffer))])
                    if not got:
                        raise ConnectionError("the proxy hung up")
                    length -= got

        self._server = _Quiet(("127.0.0.1", 0), Receive)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Crowd:
    """A provider over TLS that takes its time, says how long its answer is good for, and counts the calls."""

    def __init__(self, authority: Authority) -> None:
        context = authority.localhost.server_context()
        self.asked = 0
        counting = threading.Lock()
        crowd, never = self, threading.Event()

        class Answer(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                self.request = context.wrap_socket(self.request, server_side=True)
                super().setup()

            def do_GET(self) -> None:
                with counting:
                    crowd.asked += 1
                never.wait(CROWD_S)
                body = reply(SIZES["0.5 KiB"])
                self.send_response(200)
                self.send_header("Cache-Control", "max-age=3600")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Silent."""

        self._server = _Quiet(("127.0.0.1", 0), Answer)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Quiet(ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 1024

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A proxy that hangs up is noticed by whoever sent the upload."""
