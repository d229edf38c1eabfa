"""Inside a connection that CONNECT began: opened, everything that HTTP can do; tunnelled, nothing of ours."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.authority import Authority, Leaf
from tests.forward_proxy import ForwardProxy
from tests.menu import drip, echo, name_target, reply, serve, upgrade_echo
from tests.providers import Gate, Stage
from tests.wire.client import Client, eventually, message
from tests.wire.daemon import Served, Sidecar
from tests.wire.test_upgrade import WEBSOCKET

RETRY = {"attempts": 3, "backoff": {"base": "5ms", "cap": "20ms"}}


class Opener:
    """A daemon that opens HTTPS, and a client's way in."""

    def __init__(self, sidecar: Sidecar, ca_dir: Path) -> None:
        self.sidecar = sidecar
        self._ca_dir = ca_dir

    @property
    def trust(self) -> ssl.SSLContext:
        """What an application that was told of the bundle believes."""
        return ssl.create_default_context(cafile=str(self._ca_dir / "bundle.crt"))

    def tunnel(self, host: str, port: int = 443) -> Client:
        """A CONNECT that was answered."""
        client = self.sidecar.connect()
        client.send(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        assert client.head().status == 200
        return client

    def inside(self, host: str, context: ssl.SSLContext | None = None) -> Client:
        """The same with TLS begun in it."""
        client = self.tunnel(host)
        client.sock = (context or self.trust).wrap_socket(client.sock, server_hostname=host)
        return client

    def get(self, served: Served, path: str = "/") -> Any:
        with self.inside(served.host) as client:
            client.send(message("GET", path, host=served.host))
            return client.response()


@pytest.fixture(scope="module")
def _opener(tmp_path_factory: pytest.TempPathFactory, stage: Stage, authority: Authority) -> Iterator[Opener]:
    home = tmp_path_factory.mktemp("opener")
    sidecar = Sidecar(home, stage, authority, "--ca-dir", str(home / "ca"), "--header-timeout", "1500ms")
    opener = Opener(sidecar, home / "ca")
    # The key is read for the first leaf. From then on, what a reload adds is in the bundle when the reload is over.
    assert opener.get(sidecar.provider(serve(reply()), tls=True)).status == 200
    sidecar.clear()
    yield opener
    sidecar.stop()


@pytest.fixture
def opener(_opener: Opener) -> Iterator[Opener]:
    yield _opener
    _opener.sidecar.clear()


@pytest.fixture
def served(opener: Opener) -> Served:
    return opener.sidecar.provider(serve(echo()), tls=True)


def alpn(context: ssl.SSLContext, *protocols: str) -> ssl.SSLContext:
    context.set_alpn_protocols(list(protocols))
    return context


def peer(client: Client) -> dict[str, Any]:
    assert isinstance(client.sock, ssl.SSLSocket)
    return client.sock.getpeercert() or {}


# HTTP/2.


def test_a_client_that_speaks_only_http2_reaches_the_providers_own_tls(opener: Opener) -> None:
    provider = alpn(opener.sidecar.ca.issue("grpc.acme.test").server_context(), "h2")
    served = opener.sidecar.provider(upgrade_echo(), tls=provider, hosts=["grpc.acme.test"])
    trust = ssl.create_default_context(cafile=str(opener.sidecar.ca.ca_file))
    with opener.inside("grpc.acme.test", alpn(trust, "h2")) as client:
        assert isinstance(client.sock, ssl.SSLSocket)
        assert client.sock.selected_alpn_protocol() == "h2"
        assert peer(client)["issuer"] == ((("commonName", "Test Root"),),)
        # Bytes that no HTTP/1.1 would let pass.
        client.send(b"PRI * HTTP/2.0\r\n\r\n", b"SM\r\n\r\n")
        assert eventually(lambda: served.provider.received_bytes == 24)
    (line,) = eventually(lambda: [one for one in opener.sidecar.log.splitlines() if "speaks no HTTP/1.1" in one])
    assert json.loads(line)["host"] == "grpc.acme.test"


def test_a_client_that_prefers_http2_gets_http1(opener: Opener, served: Served) -> None:
    with opener.inside(served.host, alpn(opener.trust, "h2", "http/1.1")) as client:
        assert isinstance(client.sock, ssl.SSLSocket)
        assert client.sock.selected_alpn_protocol() == "http/1.1"
        client.send(message("POST", "/", host=served.host, body=b"x"))
        assert client.response().body == b"x"


# What HTTP/1.1 carries.


def test_a_websocket(opener: Opener) -> None:
    served = opener.sidecar.provider(upgrade_echo(), tls=True)
    with opener.inside(served.host) as client:
        client.send(message("GET", "/chat", *WEBSOCKET, host=served.host))
        response = client.response()
        assert (response.status, response.one(b"upgrade")) == (101, b"websocket")
        assert client.exactly(7) == b"welcome"
        for data in (b"\x81\x05hello", bytes(range(256)) * 300):
            client.send(data)
            assert client.exactly(len(data)) == data
    assert eventually(served.provider.connections[0].ended.is_set)


def test_events_come_as_they_are_sent(opener: Opener) -> None:
    gate = Gate()
    served = opener.sidecar.provider(serve(drip(b"data: 1\n\n", b"data: 2\n\n", gate=gate)), tls=True)
    with opener.inside(served.host) as client:
        client.send(message("GET", "/events", host=served.host))
        assert client.head().one(b"content-type") == b"text/event-stream"
        assert client.chunk() == b"data: 1\n\n", "though the next waits at the gate"
        gate.open()
        assert client.chunk() == b"data: 2\n\n"
        assert client.chunk() == b""


def test_requests_in_one_packet_are_answered_in_order(opener: Opener) -> None:
    served = opener.sidecar.provider(serve(name_target), tls=True)
    targets = [f"/{number}" for number in range(20)]
    with opener.inside(served.host) as client:
        client.send(*(message("GET", target, host=served.host) for target in targets))
        assert [client.response().body.decode() for _ in targets] == targets


@pytest.mark.parametrize("chunks", [False, True], ids=["length", "chunks"])
def test_a_large_body_goes_both_ways(opener: Opener, served: Served, chunks: bool) -> None:
    body = bytes(range(251)) * 16384
    coded = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:70000], body[70000:])) + b"0\r\n\r\n"
    request = (
        message("POST", "/", b"Transfer-Encoding: chunked", host=served.host) + coded
        if chunks
        else message("POST", "/", host=served.host, body=body)
    )
    with opener.inside(served.host) as client:
        client.send(request)
        response = client.response()
    assert (response.status, response.complete) == (200, True)
    assert response.body == body
    assert served.requests[0].body == body


# Steps.


def test_a_call_is_tried_again(opener: Opener) -> None:
    served = opener.sidecar.provider(serve(reply(503), reply(200, b"ok")), tls=True, retry=RETRY)
    response = opener.get(served)
    assert (response.status, response.body, response.sidecar["attempts"]) == (200, b"ok", 2)


def test_the_breaker_opens(opener: Opener) -> None:
    served = opener.sidecar.provider(serve(reply(500)), tls=True, breaker={"consecutive": 2, "open": {"base": "30s"}})
    responses = [opener.get(served) for _ in range(3)]
    assert [response.status for response in responses] == [500, 500, 503]
    assert responses[-1].problem["reason"] == "breaker-open"
    assert len(served.requests) == 2


def test_a_reply_is_kept(opener: Opener) -> None:
    served = opener.sidecar.provider(serve(reply(200, b"kept")), tls=True, cache={"store": "private", "ttl": "60s"})
    assert [opener.get(served, "/x").body for _ in range(2)] == [b"kept", b"kept"]
    assert len(served.requests) == 1
    hit = opener.get(served, "/x")
    assert hit.served is not None
    assert hit.served.value == "cache"


# Providers whose certificate is not to be believed.


UNTRUSTED: dict[str, Callable[[Authority, Path], Leaf]] = {
    "wrong-name": lambda ca, _path: ca.issue("other.test"),
    "expired": lambda ca, _path: ca.issue("localhost", expired=True),
    "self-signed": lambda _ca, path: Authority(path, "Stranger").issue("localhost"),
}


@pytest.mark.parametrize("case", UNTRUSTED)
def test_an_untrusted_provider_is_a_502_that_says_why(opener: Opener, tmp_path: Path, case: str) -> None:
    context = UNTRUSTED[case](opener.sidecar.ca, tmp_path).server_context()
    served = opener.sidecar.provider(serve(reply(200)), tls=context)
    response = opener.get(served)
    assert (response.status, response.problem["reason"]) == (502, "tls-failed")
    assert "certificate" in response.problem["detail"]
    assert served.requests == []


# Hellos.


def test_a_hello_in_pieces_of_one_byte(opener: Opener, served: Served) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = opener.trust.wrap_bio(incoming, outgoing, server_hostname=served.host)
    with opener.tunnel(served.host) as client:
        while not _shaken(tls):
            for byte in outgoing.read():
                client.send(bytes((byte,)))
            incoming.write(client.sock.recv(65536))
        tls.write(message("POST", "/", host=served.host, body=b"in pieces"))
        client.send(outgoing.read())
        eventually(lambda: served.requests)
    assert served.requests[0].body == b"in pieces"


def _shaken(tls: ssl.SSLObject) -> bool:
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


@pytest.mark.parametrize("said", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00", b"GE"])
def test_a_client_that_never_says_what_it_wants_is_cut_off(opener: Opener, served: Served, said: bytes) -> None:
    with opener.tunnel(served.host) as client:
        if said:
            client.send(said)
        assert client.is_closed()


def test_a_hello_that_is_too_large_is_answered_with_an_alert(opener: Opener, served: Served) -> None:
    fragment = b"\x16\x03\x01\x40\x00"
    with opener.tunnel(served.host) as client:
        client.send(fragment + b"\x01\x02\x00\x00" + bytes(16380))
        assert client.rest() == b"\x15\x03\x03\x00\x02\x02\x32", "decode_error"
    assert served.provider.connections == []


# Hosts that no policy has.


def test_an_unknown_host_is_tunnelled_and_counted(
    run_sidecar: Callable[..., Sidecar], stage: Stage, tmp_path: Path, authority: Authority
) -> None:
    leaf = authority.issue("stranger.example")
    hosts = {"stranger.example": ("127.0.0.1", 0)}
    running = ForwardProxy(hosts=hosts).running()
    proxy = stage.run(running.__aenter__())
    try:
        defaults = {"egress": {"unknown": "allow"}, "upstream_proxy": proxy.url}
        sidecar = run_sidecar("--ca-dir", str(tmp_path / "ca"), defaults=defaults)
        served = sidecar.provider(serve(echo()), tls=leaf.server_context())
        hosts["stranger.example"] = ("127.0.0.1", served.provider.port)
        trust = ssl.create_default_context(cafile=str(authority.ca_file))
        with Opener(sidecar, tmp_path / "ca").inside("stranger.example", trust) as client:
            assert peer(client)["subjectAltName"] == (("DNS", "stranger.example"),)
            client.send(message("POST", "/", host="stranger.example", body=b"mine"))
            response = client.response()
        assert (response.status, response.body, response.all(b"sidecar")) == (200, b"mine", [])
        assert b"via" not in served.requests[0].head.lower()
        (row,) = sidecar.admin("GET", "/unknown")[1]["unknown"]
        assert (row["host"], row["port"], row["allowed"], row["calls"]) == ("stranger.example", 443, True, 1)
        sidecar.clear()
    finally:
        stage.run(running.__aexit__(None, None, None))
