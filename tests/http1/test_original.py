"""Where a redirected connection was going. What a kernel says of one: `tests/firewall/test_redirect.py`."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import pytest

from sidecar.http1.entry import Entry
from sidecar.http1.original import entry_of, local_address, original_destination

V4 = bytes.fromhex("0200 01bb c0000207 0000000000000000")
V6 = bytes.fromhex("0a00 01bb 00000000 20010db8000000000000000000000007 00000000")
HERE_V4 = bytes.fromhex("0200 1db3 7f000001 0000000000000000")
HERE_V6 = bytes.fromhex("0a00 1db3 00000000 00000000000000000000000000000001 00000000")


class FakeSocket:
    """Answers to the one option that is asked for."""

    def __init__(self, local: tuple[Any, ...] | OSError, answer: bytes | OSError, level: int = 0) -> None:
        self.family = socket.AF_INET6 if isinstance(local, tuple) and len(local) == 4 else socket.AF_INET
        self._local = local
        self._answer = answer
        self._level = level

    def getsockname(self) -> Any:
        if isinstance(self._local, OSError):
            raise self._local
        return self._local

    def getpeername(self) -> Any:
        return CLIENT_V6 if self.family == socket.AF_INET6 else CLIENT

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        assert (level, option) == (self._level, 80)
        if isinstance(self._answer, OSError):
            raise self._answer
        return self._answer[:size]


class FakeTransport(asyncio.Transport):
    def __init__(self, sock: FakeSocket) -> None:
        super().__init__({"socket": sock})


IPV4 = ("127.0.0.1", 7603)
CLIENT, CLIENT_V6 = ("192.0.2.1", 51000), ("::ffff:192.0.2.1", 51000, 0, 0)
IPV6 = ("::1", 7603, 0, 0)
MAPPED = ("::ffff:127.0.0.1", 7603, 0, 0)


@pytest.mark.parametrize(
    ("sock", "destination"),
    [
        (FakeSocket(IPV4, V4), ("192.0.2.7", 443)),
        (FakeSocket(IPV6, V6, level=41), ("2001:db8::7", 443)),
        (FakeSocket(MAPPED, V4), ("192.0.2.7", 443)),
    ],
    ids=["IPv4", "IPv6", "IPv4 on a socket for both"],
)
def test_a_redirected_connection(sock: FakeSocket, destination: tuple[str, int]) -> None:
    assert original_destination(sock, local_address(sock)) == destination
    host, port = destination
    assert entry_of(FakeTransport(sock)) == Entry(
        mode="transparent", host=host, port=port, address=destination, peer=("192.0.2.1", 51000)
    )


@pytest.mark.parametrize(
    ("sock", "local"),
    [
        (FakeSocket(IPV4, HERE_V4), ("127.0.0.1", 7603)),
        (FakeSocket(IPV6, HERE_V6, level=41), ("::1", 7603)),
        (FakeSocket(MAPPED, HERE_V4), ("127.0.0.1", 7603)),
        (FakeSocket(IPV4, OSError(errno.ENOENT, "no entry")), ("127.0.0.1", 7603)),
        (FakeSocket(IPV4, OSError(errno.ENOPROTOOPT, "no such option")), ("127.0.0.1", 7603)),
        (FakeSocket(IPV4, V4[:4]), ("127.0.0.1", 7603)),
        (FakeSocket(("fe80::1%eth0", 7603, 0, 2), OSError(errno.ENOENT, "no entry"), level=41), ("fe80::1", 7603)),
    ],
    ids=["ourselves", "ourselves by IPv6", "ourselves, mapped", "untracked", "unsupported", "cut short", "link-local"],
)
def test_one_that_was_not_redirected(sock: FakeSocket, local: tuple[str, int]) -> None:
    assert original_destination(sock, local_address(sock)) is None
    host, port = local
    assert entry_of(FakeTransport(sock)) == Entry(mode="transparent", host=host, port=port, peer=("192.0.2.1", 51000))


def test_a_socket_that_is_closed_already() -> None:
    sock = FakeSocket(OSError(errno.EBADF, "closed"), V4)
    for ask in (lambda: local_address(sock), lambda: entry_of(FakeTransport(sock))):
        with pytest.raises(OSError, match="closed"):
            ask()


def test_a_real_connection_that_nobody_redirected() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert original_destination(accepted, local_address(accepted)) is None
            assert local_address(accepted) == listener.getsockname()
