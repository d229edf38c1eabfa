"""Connections at the gate: CONNECT and redirected, TLS ended, plain HTTP, refused, and those that never get in."""

from __future__ import annotations

import ssl
import struct

import pytest

from sidecar.errors import Reason
from sidecar.http1.answer import Answer
from sidecar.http1.gate import Plain, Refuse, Terminate
from sidecar.http1.limits import ServerLimits
from sidecar.http1.message import Body, Headers
from sidecar.http1.request import Request
from sidecar.http1.server_connection import ServerConnection
from tests.authority import Authority
from tests.http1.gatehouse import ENTRY, Book, House, TlsWire, get, on_both_loops, post, splice_to, until

UNRECOGNIZED_NAME = 112


@on_both_loops
async def test_requests_one_after_the_other(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
    async with House(Terminate(server_context)) as house:
        client = await TlsWire(await house.connect(), client_context).shake()
        assert client.tls.selected_alpn_protocol() == "http/1.1"
        for target in ("/1", "/2", "/3"):
            await client.send(get(target))
            reply = await client.until(target.encode())
            assert b"Entry: connect api.example.com True\r\n" in reply
        ((entry, hello, http),) = house.doorman.asked
        assert (entry.mode, entry.host, entry.port, entry.secure, http) == (
            "connect", "api.example.com", 443, False, False,
        )  # fmt: skip
        assert hello is not None
        assert (hello.server_name, hello.alpn, 0x0304 in hello.versions) == ("localhost", (b"h2", b"http/1.1"), True)


@on_both_loops
async def test_a_redirected_connection_belongs_to_its_server_name(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    async with House(Terminate(server_context)) as house:
        client = await TlsWire(await house.redirected(), client_context).shake()
        await client.send(get("/x"))
        assert b"Entry: transparent localhost True\r\n" in await client.until(b"/x")
        (entry, _, _) = house.doorman.asked[0]
        assert (entry.host, entry.address) == ("localhost", ENTRY.address)


@on_both_loops
async def test_the_doorman_may_name_the_host(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
    async with House(Terminate(server_context, host="api.example.org")) as house:
        client = await TlsWire(await house.connect("192.0.2.1:443"), client_context).shake()
        await client.send(get("/x"))
        assert b"Entry: connect api.example.org True\r\n" in await client.until(b"/x")


@on_both_loops
async def test_everything_in_pieces_of_one_byte(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
    async with House(Terminate(server_context)) as house:
        client = await TlsWire(await house.connect(), client_context, piece=1).shake()
        await client.send(post(b"hello" * 20))
        assert (await client.until(b"hello" * 20)).startswith(b"HTTP/1.1 200 OK\r\n")


@on_both_loops
async def test_hello_and_request_may_come_behind_the_connect_at_once(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    async with House(Terminate(server_context)) as house:
        wire = await house.open(house.port)
        client = TlsWire(wire, client_context)
        with pytest.raises(ssl.SSLWantReadError):
            client.tls.do_handshake()
        await wire.send(b"CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n\r\n" + client.outgoing.read())
        assert (await wire.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        while True:
            try:
                client.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                client.incoming.write(await wire.receive())
        client.tls.write(get("/soon"))
        await client.flush()
        assert b"/soon" in await client.until(b"/soon")


@on_both_loops
async def test_plain_http_on_a_tunnel(server_context: ssl.SSLContext) -> None:
    async with House(Plain()) as house:
        client = await house.connect("api.example.com:80")
        await client.send(get("/a") + get("/b"))
        first = await client.until(b"/a")
        assert b"Entry: connect api.example.com False\r\n" in first
        assert b"200 OK" in await client.until(b"/b")
        assert house.doorman.asked[0][1:] == (None, True)


@on_both_loops
async def test_a_connect_within_a_tunnel_is_refused(server_context: ssl.SSLContext) -> None:
    async with House(Plain()) as house:
        client = await house.connect("api.example.com:80")
        await client.send(b"CONNECT api.example.org:443 HTTP/1.1\r\nHost: api.example.org:443\r\n\r\n")
        assert b"bad-request" in await client.rest()


@on_both_loops
async def test_refused_with_an_alert(client_context: ssl.SSLContext) -> None:
    async with House(Refuse(UNRECOGNIZED_NAME, "no policy has this host")) as house:
        with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
            await TlsWire(await house.connect(), client_context).shake()


@on_both_loops
async def test_plain_http_is_refused_in_words(server_context: ssl.SSLContext) -> None:
    async with House(Refuse(None, "egress is denied", Reason.EGRESS_DENIED)) as house:
        client = await house.redirected()
        await client.send(get())
        reply = await client.rest()
        assert reply.startswith(b"HTTP/1.1 403 ")
        assert reply.endswith(b"egress-denied: egress is denied")


@on_both_loops
async def test_anything_else_is_refused_without_a_word(server_context: ssl.SSLContext) -> None:
    async with House(Refuse(UNRECOGNIZED_NAME, "no")) as house:
        client = await house.redirected()
        await client.send(b"SSH-2.0-OpenSSH_9.6\r\n")
        assert await client.rest() == b""
        assert house.doorman.asked == [(ENTRY, None, False)]


@on_both_loops
async def test_a_doorman_that_fails_lets_nobody_in(client_context: ssl.SSLContext) -> None:
    async with House(RuntimeError("no ruling")) as house:
        client = await house.redirected()
        await client.send(get())
        with pytest.raises((ConnectionResetError, EOFError)):
            await client.exactly(1)
        await until(lambda: not house.server.connections)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@on_both_loops
async def test_a_client_that_distrusts_us_is_reported(version: ssl.TLSVersion, server_context: ssl.SSLContext) -> None:
    stranger = ssl.create_default_context()
    stranger.minimum_version = stranger.maximum_version = version
    async with House(Terminate(server_context)) as house:
        client = TlsWire(await house.connect(), stranger)
        with pytest.raises(ssl.SSLCertVerificationError):
            await client.shake()
        ((entry, alert),) = await until(lambda: house.doorman.distrust)
        assert alert == "unknown_ca"
        assert entry.host == "api.example.com"
        assert await client.wire.rest() == b""


@on_both_loops
async def test_no_version_in_common_is_told_by_an_alert(authority: Authority, client_context: ssl.SSLContext) -> None:
    context = authority.localhost.server_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    client_context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with House(Terminate(context)) as house:
        with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
            await TlsWire(await house.connect(), client_context).shake()
        assert house.doorman.distrust == []


@on_both_loops
async def test_a_hello_of_almost_64_kib_is_read(server_context: ssl.SSLContext) -> None:
    async with House(Refuse(UNRECOGNIZED_NAME, "no")) as house:
        client = await house.connect()
        await client.send(in_records(big_hello(64 * 1024), 16 * 1024))
        assert await client.rest() == bytes((21, 3, 3, 0, 2, 2, UNRECOGNIZED_NAME))
        _, hello, _ = house.doorman.asked[0]
        assert hello is not None


@on_both_loops
async def test_a_hello_of_more_than_64_kib_is_refused_at_its_head() -> None:
    async with House(Plain()) as house:
        client = await house.connect()
        await client.send(in_records(big_hello(64 * 1024 + 1), 16 * 1024)[: 16 * 1024 + 5])
        assert await client.rest() == bytes((21, 3, 3, 0, 2, 2, 50))
        assert house.doorman.asked == []


@pytest.mark.parametrize("data", [b"", b"\x16\x03\x01\x02\x00\x01", b"GE"], ids=["nothing", "hello", "http"])
@on_both_loops
async def test_what_never_ends_is_cut_off(data: bytes) -> None:
    async with House(Plain(), limits=ServerLimits(head_s=1.0)) as house:
        client = await house.redirected()
        await client.send(data)
        assert await client.rest() == b""
        assert house.doorman.asked == []


@on_both_loops
async def test_a_handshake_that_never_ends_is_cut_off(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    async with House(Terminate(server_context), limits=ServerLimits(head_s=1.0)) as house:
        client = TlsWire(await house.connect(), client_context)
        with pytest.raises(ssl.SSLWantReadError):
            client.tls.do_handshake()
        await client.flush()
        assert await client.wire.rest() != b""


@on_both_loops
async def test_a_client_that_leaves_at_the_gate_is_forgotten(server_context: ssl.SSLContext) -> None:
    async with House(Terminate(server_context)) as house:
        client = await house.redirected()
        await client.send(b"\x16\x03")
        await until(lambda: house.server.connections)
        client.close()
        await until(lambda: not house.server.connections)
        assert house.doorman.asked == []


@on_both_loops
async def test_a_gate_counts_as_a_connection() -> None:
    async with House(Plain(), limits=ServerLimits(connections=1)) as house:
        await house.redirected()
        await until(lambda: house.server.connections)
        second = await house.redirected()
        with pytest.raises((ConnectionResetError, EOFError)):
            await second.exactly(1)
        assert (house.server.accepted, house.server.refused) == (2, 1)


@on_both_loops
async def test_a_connect_does_not_count_twice(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
    async with House(Terminate(server_context), limits=ServerLimits(connections=1)) as house:
        client = await TlsWire(await house.connect(), client_context).shake()
        await client.send(get("/x"))
        await client.until(b"/x")
        assert (len(house.server.connections), house.server.accepted, house.server.in_flight) == (1, 1, 0)


@on_both_loops
async def test_stopping_closes_gates() -> None:
    async with House(Plain()) as house:
        client = await house.redirected()
        await until(lambda: house.server.connections)
        await house.server.stop(5.0)
        assert await client.rest() == b""


@on_both_loops
async def test_a_connect_with_a_body_is_refused() -> None:
    async with House(Plain()) as house:
        for field in (b"Content-Length: 3", b"Transfer-Encoding: chunked"):
            client = await house.open(house.port)
            await client.send(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n" + field + b"\r\n\r\nabc")
            assert b"a CONNECT with a body" in await client.rest()
            client.close()


@on_both_loops
async def test_a_provider_that_cannot_be_reached_is_told_by_an_alert(client_context: ssl.SSLContext) -> None:
    book = Book()
    async with House(splice_to(1, book)) as house:
        with pytest.raises(ssl.SSLError, match=r"(?i)internal.error"):
            await TlsWire(await house.connect(), client_context).shake()
        (ended,) = await until(lambda: book.endings)
        assert ended[1:] == (0, "not-connected")
        await until(lambda: not house.server.connections)


def big_hello(size: int) -> bytes:
    """A ClientHello whose body has `size` bytes."""
    start = b"\x03\x03" + bytes(32) + b"\0" + b"\0\2\x13\1" + b"\1\0"
    left = size - len(start) - 2
    first = min(left - 4, 0xFFF0 - 4)
    rest = left - first - 4
    extensions = struct.pack("!HH", 0xFEED, first) + bytes(first)
    if rest:
        extensions = struct.pack("!HH", 0xFEED, first - 4) + bytes(first - 4)
        extensions += struct.pack("!HH", 0xFEEE, rest) + bytes(rest)
    body = start + struct.pack("!H", len(extensions) & 0xFFFF) + extensions
    return b"\1" + len(body).to_bytes(3, "big") + body


def in_records(message: bytes, size: int) -> bytes:
    return b"".join(
        b"\x16\x03\x01" + struct.pack("!H", len(piece)) + piece
        for piece in (message[start : start + size] for start in range(0, len(message), size))
    )


@on_both_loops
async def test_a_connect_at_the_end_of_a_long_pipeline(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    async with House(Plain()) as house:
        client = await house.open(house.port)
        connect = b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"
        await client.send(b"".join(get(f"/{number}") for number in range(9)) + connect + get("/x"))
        await client.until(b"/8")
        await client.send(get("/y"))
        assert b"Connection established" in await client.until(b"established")
        assert b"Entry: connect a False\r\n" in await client.until(b"/x")
        await client.until(b"/y")


@on_both_loops
async def test_after_a_refused_connect_nothing_more_is_read() -> None:
    async def refuse(connection: ServerConnection, request: Request) -> Answer:
        seen.append(request.method)
        return Answer(403, b"Forbidden", Headers([(b"Content-Length", b"2")]), body=Body.of(b"no"))

    seen: list[str] = []
    async with House(Plain(), refuse) as house:
        client = await house.open(house.port)
        await client.send(b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n" + get("/x"))
        reply = await client.rest()
        assert reply.startswith(b"HTTP/1.1 403 ")
        assert b"Connection: close\r\n" in reply
        assert seen == ["CONNECT"]


@on_both_loops
async def test_a_client_that_must_authenticate_may_ask_again() -> None:
    async def refuse(connection: ServerConnection, request: Request) -> Answer:
        return Answer(407, b"Proxy Authentication Required", Headers([(b"Content-Length", b"2")]), body=Body.of(b"no"))

    async with House(Plain(), refuse) as house:
        client = await house.open(house.port)
        for _ in range(3):
            await client.send(b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n")
            assert (await client.until(b"no")).startswith(b"HTTP/1.1 407 ")
