"""A run that stands for many: the daemon of PYTHONPATH serves a provider's calls, usual ones often and failures now and
then. `python hot_path/train.py FOLDER`, which must not exist; everything is on loopback and over within half a minute.
"""

from __future__ import annotations

import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from itertools import count
from pathlib import Path
from socket import create_server

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HOSTS = "plain.test", "kept.test"
CLIENTS, ROUNDS, CONNECTIONS = 4, 150, 40
"""How many there are, and of each: rounds over one connection, then connections of one round."""
READY_S = END_S = CALL_S = 120.0
"""Long, since the machine may be busy, or an emulated one."""
FIELDS = {
    "Accept": "application/json",
    "Accept-Encoding": "gzip, deflate",
    "Authorization": "Bearer sk_test_trained",
    "User-Agent": "train/1.0",
    "X-Client": "bindings-1.0",
}
POLICY = """\
provider: {name}
hosts: [{name}.test]
upstream: https://localhost:{port}
tls: {{ca_file: {ca_file}}}
timeouts: {{connect: 60s, attempt: 60s, total: 300s}}
retry: {{attempts: 3, backoff: {{base: 1ms, cap: 2ms}}, budget: {{ratio: 100%, floor: 1000/s}}}}
breaker: {{consecutive: 1000, failure_ratio: {{over: 99%, window: 10s, min_calls: 1000}}}}
limit: {{rate: 1000000/s, burst: 1000000, concurrency: 1000}}
cache: {cache}
fallback: [{{when: {{status: 503}}, status: 200, json: {{spared: true}}}}]
routes:
  - {{name: charge, match: {{method: POST, path: "/v1/charges"}}}}
  - {{name: customer, match: {{method: GET, path: "/v1/customers/{{id}}"}}}}
  - {{name: rest, match: {{path: "/v1/{{rest...}}"}}}}
"""


class Provider(BaseHTTPRequestHandler):
    """`/v1/WHAT/SIZE` is answered with as many bytes, in the manner of WHAT."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    asked = count()

    def do_GET(self) -> None:
        _, _, what, size = self.path.partition("?")[0].split("/")
        if what == "failing" and next(self.asked) % 2:
            self.reply(500, b"{}")
        elif what == "down":
            self.reply(503, b"{}")
        elif self.headers.get("If-None-Match"):
            self.reply(304, b"")
        else:
            self.reply(200, b"x" * int(size), chunked=what == "pieces")

    def do_POST(self) -> None:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while length := int(self.rfile.readline(), 16):
                self.rfile.read(length + 2)
            self.rfile.readline()
        else:
            self.rfile.read(int(self.headers["Content-Length"]))
        self.reply(201, b"x" * 512)

    def reply(self, status: int, body: bytes, *, chunked: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Cache-Control", "max-age=3600" if "aging" not in self.path else "max-age=0")
        self.send_header("ETag", '"1"')
        self.send_header("Request-Id", "req_1")
        self.send_header("Vary", "Origin")
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        elif status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Silent."""


def pass_through(connection: HTTPConnection, prefix: str, number: int) -> None:
    """What an application sends to a provider that nothing is kept of."""
    for _ in range(4):
        call(connection, "GET", f"{prefix}/v1/customers/512")
        call(connection, "POST", f"{prefix}/v1/charges", b"amount=2000&currency=eur" * 20)
    call(connection, "GET", f"{prefix}/v1/customers/16384")
    call(connection, "GET", f"{prefix}/v1/pieces/3000")
    call(connection, "GET", f"{prefix}/v1/failing/512")
    if number % 10 == 0:
        call(connection, "GET", f"{prefix}/v1/customers/262144")
        call(connection, "POST", f"{prefix}/v1/charges", b"x" * (1 << 17))
        call(connection, "POST", f"{prefix}/v1/charges", iter([b"x" * 600] * 3))
        call(connection, "GET", f"{prefix}/v1/down/0")
        call(connection, "GET", f"{prefix}/not/here/0")


def read_often(connection: HTTPConnection, prefix: str, number: int) -> None:
    """The same where replies are kept: some asked for over and over, some once."""
    thread = threading.get_ident()
    for _ in range(4):
        call(connection, "GET", f"{prefix}/v1/customers/512")
    for each in range(3):
        call(connection, "GET", f"{prefix}/v1/customers/512?page={thread}-{number}-{each}")
    call(connection, "GET", f"{prefix}/v1/aging/512")
    if number % 10 == 0:
        call(connection, "POST", f"{prefix}/v1/charges", b"amount=2000")


def call(connection: HTTPConnection, method: str, target: str, body: bytes | Iterator[bytes] | None = None) -> None:
    connection.request(method, target, body, FIELDS, encode_chunked=not isinstance(body, bytes | None))
    answer = connection.getresponse()
    answer.read()
    if answer.status >= 500 and "failing" not in target:
        raise HTTPException(f"{method} {target}: {answer.status}")


@contextmanager
def provider(certificate: Path) -> Iterator[int]:
    """One that runs meanwhile; its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()


@contextmanager
def daemon(folder: Path, port: int, admin_port: int) -> Iterator[None]:
    """One that runs meanwhile, and ends as one that was asked to: counts are written then."""
    listeners = [f"--listen=127.0.0.1:{port}", f"--admin=127.0.0.1:{admin_port}"]
    places = [f"--policies={folder / 'policies'}", f"--state={folder / 'state'}", f"--ca-dir={folder / 'ca'}"]
    flags = [*listeners, *places, "--cache-memory=4MiB", "--cache-disk=off", "--drain=0s", "--grace=1s"]
    process = subprocess.Popen([sys.executable, "-P", "-m", "sidecar", "run", *flags], stdout=subprocess.DEVNULL)
    try:
        get_ready(process, admin_port)
        yield
        process.terminate()
        process.wait(END_S)
    finally:
        process.kill()
    if process.returncode:
        raise SystemExit(f"the daemon ended with {process.returncode}")


def is_ready(port: int) -> bool:
    try:
        connection = HTTPConnection("127.0.0.1", port, timeout=CALL_S)
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False


def get_ready(process: subprocess.Popen[bytes], admin_port: int) -> None:
    """Wait until it serves."""
    give_up_s = time.monotonic() + READY_S
    while not is_ready(admin_port):
        with suppress(subprocess.TimeoutExpired):
            raise SystemExit(f"the daemon ended with {process.wait(0.05)}")
        if time.monotonic() > give_up_s:
            raise SystemExit(f"the daemon was not ready within {READY_S:.0f} s")


def send(port: int, trust: ssl.SSLContext) -> None:
    """One client's calls: by base URL, and through the proxy into HTTPS that is opened."""

    def opened(host: str) -> HTTPConnection:
        connection = HTTPSConnection("127.0.0.1", port, timeout=CALL_S, context=trust)
        connection.set_tunnel(host, 443)
        return connection

    def plain(_: str) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", port, timeout=CALL_S)

    for host, play in zip(HOSTS, (pass_through, read_often), strict=True):
        for connect, prefix in ((plain, f"/{host.removesuffix('.test')}"), (opened, "")):
            connection = connect(host)
            for number in range(ROUNDS):
                play(connection, prefix, number)
            connection.close()
    for number in range(CONNECTIONS):
        connection = opened(HOSTS[0])
        pass_through(connection, "", number)
        connection.close()


def issue(folder: Path) -> Path:
    """A certificate for `localhost`, with its key, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "train")]), datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    certificate = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    path = folder / "provider.pem"
    path.write_bytes(
        key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain) + certificate.public_bytes(encoding)
    )
    return path


def free_port() -> int:
    with create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def main(folder: Path) -> None:
    folder.mkdir(parents=True)
    certificate = issue(folder)
    port, admin_port = free_port(), free_port()
    with provider(certificate) as provider_port:
        (folder / "policies").mkdir()
        for host, cache in zip(HOSTS, ("off", "{store: private, stale: 1h}"), strict=True):
            name = host.removesuffix(".test")
            text = POLICY.format(name=name, port=provider_port, ca_file=certificate, cache=cache)
            (folder / "policies" / f"{name}.yaml").write_text(text)
        with daemon(folder, port, admin_port):
            trust = ssl.create_default_context(cafile=folder / "ca" / "ca.crt")
            failed: list[BaseException] = []
            threading.excepthook = lambda thrown: failed.append(thrown.exc_value or SystemExit(1))
            clients = [threading.Thread(target=send, args=(port, trust)) for _ in range(CLIENTS)]
            for client in clients:
                client.start()
            for client in clients:
                client.join()
            if failed:
                raise SystemExit(f"a call failed: {failed[0]!r}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
