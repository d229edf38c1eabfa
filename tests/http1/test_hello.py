"""ClientHellos as real stacks send them, cut anywhere, and bytes that are none."""

from __future__ import annotations

import ssl
import struct
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.http1.hello import HELLO_BYTES, METHODS, RAW_BYTES, Hello, HelloReader, NotHello

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}\.){1,4}[a-z]{2,6}", fullmatch=True)
PROTOCOLS = st.lists(st.binary(min_size=1, max_size=12), max_size=4, unique=True).map(tuple)
VERSIONS = st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=5).map(tuple)


def vector(width: int, data: bytes) -> bytes:
    return len(data).to_bytes(width, "big") + data


def extension(kind: int, data: bytes) -> bytes:
    return struct.pack("!H", kind) + vector(2, data)


def server_name(name: bytes) -> bytes:
    return extension(0, vector(2, b"\0" + vector(2, name)))


def client_hello(*extensions: bytes) -> bytes:
    """The handshake message."""
    body = b"\3\3" + bytes(32) + vector(1, bytes(32)) + vector(2, b"\x13\1\x13\2") + b"\1\0"
    return b"\1" + vector(3, body + vector(2, b"".join(extensions)))


def records(message: bytes, size: int = 16384) -> bytes:
    pieces = (message[start : start + size] for start in range(0, len(message), size))
    return b"".join(b"\x16\3\1" + vector(2, piece) for piece in pieces)


def read(data: bytes, *cuts: int) -> tuple[Hello | str | None, bytes]:
    """What a reader makes of `data` cut at these places: a hello, the kind that it is instead, or None."""
    reader = HelloReader()
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in pairwise(edges):
        try:
            hello = reader.feed(data[start:end])
        except NotHello as finding:
            return finding.kind, bytes(reader.raw)
        if hello is not None:
            return hello, bytes(reader.raw)
    return None, bytes(reader.raw)


def openssl_hello(name: str | None, *alpn: str, maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.maximum_version = maximum
    if alpn:
        context.set_alpn_protocols(list(alpn))
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def test_a_real_one() -> None:
    hello, raw = read(data := openssl_hello("API.example.com", "h2", "http/1.1"))
    assert hello == Hello("api.example.com", (b"h2", b"http/1.1"), False, (0x0304, 0x0303))
    assert raw == data


def test_a_real_one_with_nothing_said() -> None:
    hello, _ = read(openssl_hello(None, maximum=ssl.TLSVersion.TLSv1_2))
    assert hello == Hello(None, (), False, (0x0303,))


@given(NAMES, PROTOCOLS, VERSIONS, st.booleans(), st.integers(1, 300), st.binary(max_size=40))
def test_what_was_said_is_read(
    name: str, alpn: tuple[bytes, ...], versions: tuple[int, ...], encrypted: bool, size: int, behind: bytes
) -> None:
    said = [server_name(name.encode()), extension(43, vector(1, struct.pack(f"!{len(versions)}H", *versions)))]
    if alpn:
        said.append(extension(16, vector(2, b"".join(vector(1, one) for one in alpn))))
    if encrypted:
        said.append(extension(0xFE0D, b"\0" + bytes(20)))
    data = records(client_hello(*said), size) + behind
    hello, raw = read(data)
    assert hello == Hello(name, alpn, encrypted, versions)
    assert raw == data


def test_an_inner_encrypted_hello_is_none_that_a_client_sends_in_clear() -> None:
    hello, _ = read(records(client_hello(extension(0xFE0D, b"\1"))))
    assert isinstance(hello, Hello)
    assert not hello.encrypted


def spoilt(place: int, value: int) -> bytes:
    """A good hello with one byte changed."""
    data = bytearray(records(client_hello(server_name(b"api.example.com")), 60))
    data[place % len(data)] = value
    return bytes(data)


ANY = st.one_of(
    st.binary(max_size=80),
    st.binary(max_size=80).map(lambda data: b"\x16\3\1" + data),
    st.binary(max_size=80).map(lambda data: records(client_hello(data)) + data),
    st.binary(max_size=80).map(lambda data: records(client_hello(server_name(data)), 7)),
    st.sampled_from(METHODS).map(lambda method: method + b"/ HTTP/1.1\r\n"),
    st.builds(spoilt, st.integers(0, 120), st.integers(0, 255)),
)


@given(ANY, st.lists(st.integers(0, 400), max_size=12))
def test_where_it_is_cut_makes_no_difference(data: bytes, cuts: list[int]) -> None:
    assert read(data, *cuts)[0] == read(data)[0]
    assert read(data, *range(len(data)))[0] == read(data)[0]


@given(st.binary(max_size=600))
@example(b"\x16")
@example(b"\x16\3\1\0\0")
def test_nothing_else_is_ever_raised(data: bytes) -> None:
    found, _ = read(data)
    assert found is None or isinstance(found, Hello) or found in {"http", "other", "too-large"}


@pytest.mark.parametrize("method", [method.decode().strip() for method in METHODS])
def test_http_is_known_by_its_method(method: str) -> None:
    assert read(f"{method} / HTTP/1.1\r\n".encode())[0] == "http"
    assert read(method.encode())[0] is None


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0\0\0\x08\x04\xd2\x16\x2f",
        b"get / HTTP/1.1\r\n",
        b"\x80\x2e\1\3\1",
        b"\x15\3\1\0\2\2\x28",
        b"\x16\2\0",
        b"\x16\3\1\0\0",
        b"\x16\3\1\x40\1",
        records(b"\2" + client_hello()[1:]),
        records(client_hello(server_name(b"a.example"), server_name(b"b.example"))),
        records(client_hello(extension(0, vector(2, 2 * (b"\0" + vector(2, b"a.example")))))),
        records(client_hello(server_name(b"a\0.example"))),
        records(client_hello(server_name(b""))),
        records(client_hello(extension(0, vector(2, b"\0" + vector(2, b"a.example")) + b"x"))),
        records(b"\1\0\0\5abcde"),
    ],
    ids=str,
)
def test_what_is_neither(data: bytes) -> None:
    assert read(data)[0] == "other"


def test_64_kib_are_enough() -> None:
    def sized(size: int) -> bytes:
        return records(b"\1" + size.to_bytes(3, "big") + bytes(min(size, HELLO_BYTES)))

    assert read(sized(HELLO_BYTES))[0] == "other"  # Read whole, and found empty.
    assert read(sized(HELLO_BYTES + 1))[0] == "too-large"
    assert read(records(b"\1" + HELLO_BYTES.to_bytes(3, "big") + bytes(HELLO_BYTES - 1), 1))[0] == "too-large"


def test_what_is_kept_is_bounded() -> None:
    """Records can be smaller than their heads."""
    reader = HelloReader()
    reader.feed(records(b"\1\0\xff\xff"))
    kept = [0]
    with pytest.raises(NotHello, match="too-large"):
        fill(reader, kept)
    assert RAW_BYTES - 6 <= kept[-1] <= RAW_BYTES


def fill(reader: HelloReader, kept: list[int]) -> None:
    while len(reader.raw) <= 2 * RAW_BYTES:
        reader.feed(records(b"a"))
        kept.append(len(reader.raw))
