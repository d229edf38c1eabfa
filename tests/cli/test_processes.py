"""What a process connects to, read from the real /proc and from one made by hand."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.address import Address
from sidecar.cli.processes import Connection, Processes, closed, read_endpoint
from tests.wire.client import eventually

CONNECT = (
    "import socket,sys; one = socket.create_connection(({host!r}, {port})); print('up', flush=True); sys.stdin.read()"
)
CHILD = "import subprocess,sys; sys.exit(subprocess.call([sys.executable, '-c', sys.argv[1]]))"


@pytest.fixture(params=[(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")], ids=["IPv4", "IPv6"])
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    family, host = request.param
    try:
        made = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip(f"this machine has no {host}")
    with made:
        yield made


def test_it_sees_what_a_child_of_the_process_connects_to(listener: socket.socket) -> None:
    host, port, *_ = listener.getsockname()
    environ = {**os.environ, "https_proxy": "http://secret@127.0.0.1:1"}
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, CONNECT.format(host=host, port=port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environ,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"up\n"
        accepted, (peer, peer_port, *_) = listener.accept()
        with accepted:
            processes = Processes(process.pid)

            def looked() -> bool:
                processes.look()
                return bool(processes.connections)

            eventually(looked)
        process.stdin.close()
        (seen,) = processes.connections
    assert seen.pid != process.pid
    assert (seen.local, seen.remote) == (Address(peer, peer_port), Address(host, port))
    assert (port, seen.local) in processes.accepted
    assert processes.programs[seen.pid].name.startswith("python")
    assert processes.programs[seen.pid].proxied
    assert "secret" not in repr(processes.programs)


def test_a_process_that_has_ended_is_no_error() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    processes = Processes(process.pid)
    processes.look()
    assert (processes.programs, processes.connections) == ({}, set())


def test_a_connection_that_was_closed_in_order_is_remembered(listener: socket.socket) -> None:
    host, port, *_ = listener.getsockname()
    before = closed()
    with socket.create_connection((host, port)) as client:
        ends = Address(*client.getsockname()[:2]), Address(host, port)
        accepted, _ = listener.accept()
        client.shutdown(socket.SHUT_WR)
        assert accepted.recv(1) == b""
        accepted.close()
        assert client.recv(1) == b""
    eventually(lambda: ends in closed() - before)


ROW = (
    "  0: {local} {remote} {state} 00000000:00000000 00:00000000 00000000     0        0 {inode} 1 0000000000000000 20"
)


def written(proc: Path, *rows: str) -> Processes:
    """A /proc of one process, 7, which has the socket 41 open."""
    (proc / "net").mkdir()
    (proc / "net/tcp").write_text("\n".join(["  sl  local_address rem_address   st", *rows, ""]))
    (proc / "7/fd").mkdir(parents=True)
    (proc / "7/environ").write_bytes(b"NO_HTTPS_PROXY=1\0PATH=/bin\0")
    (proc / "7/exe").symlink_to("/usr/bin/node (deleted)")
    (proc / "7/fd/3").symlink_to("socket:[41]")
    (proc / "7/fd/4").symlink_to("/dev/null")
    return Processes(7, proc)


def test_only_its_own_sockets_and_none_that_listens(tmp_path: Path) -> None:
    if sys.byteorder != "little":
        pytest.skip("the table is written for a little-endian machine")
    processes = written(
        tmp_path,
        ROW.format(local="0100007F:C350", remote="077100CB:01BB", state="01", inode=41),
        ROW.format(local="0100007F:C351", remote="087100CB:01BB", state="01", inode=42),
    )
    processes.look()
    assert processes.connections == {Connection(7, Address("127.0.0.1", 50000), Address("203.0.113.7", 443))}
    assert processes.programs[7].name == "node"
    assert not processes.programs[7].proxied


def test_a_listener_is_no_connection(tmp_path: Path) -> None:
    processes = written(tmp_path, ROW.format(local="0100007F:1DB0", remote="00000000:0000", state="0A", inode=41))
    processes.look()
    assert (processes.connections, processes.accepted) == (set(), set())


def in_proc(packed: bytes, port: int) -> str:
    words = (int.from_bytes(packed[start : start + 4], sys.byteorder) for start in range(0, len(packed), 4))
    return f"{''.join(f'{word:08X}' for word in words)}:{port:04X}"


@given(st.ip_addresses(v=4), st.integers(0, 65535))
def test_every_ipv4_endpoint_is_read_in_both_tables(address: IPv4Address, port: int) -> None:
    expected = Address(str(address), port)
    assert read_endpoint(in_proc(address.packed, port)) == expected
    assert read_endpoint(in_proc(b"\0" * 10 + b"\xff\xff" + address.packed, port)) == expected


@given(st.ip_addresses(v=6).filter(lambda address: address.ipv4_mapped is None), st.integers(0, 65535))
def test_every_ipv6_endpoint_is_read(address: IPv6Address, port: int) -> None:
    assert read_endpoint(in_proc(address.packed, port)) == Address(str(address), port)
