"""NO_PROXY's grammar, held to what curl itself makes of it."""

from __future__ import annotations

import os
import socket
import subprocess
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.rules.no_proxy import no_proxy
from tests.real import need

CASES = [
    ("example.com", "example.com", True),
    ("example.com", "EXAMPLE.com", True),
    ("Example.COM", "api.example.com", True),
    (".example.com", "example.com", True),
    (".example.com", "a.b.example.com", True),
    ("example.com", "notexample.com", False),
    ("example.com", "example.com.evil.test", False),
    ("example.com", "example.com.", True),
    ("example.com.", "example.com", True),
    ("api.example.com", "example.com", False),
    ("10.0.0.7", "10.0.0.7", True),
    ("10.0.0.7", "10.0.0.70", False),
    ("10.0.0.0/8", "10.255.0.1", True),
    ("10.0.0.0/8", "11.0.0.1", False),
    ("10.0.0.0/8", "ten.example.com", False),
    ("0.7", "10.0.0.7", False),
    ("[::1]", "[::1]", True),
    ("::1", "[::1]", True),
    ("fd00::/8", "[fd12::1]", True),
    ("fd00::/8", "[fe80::1]", False),
    ("*", "anything.example", True),
    ("*", "[::1]", True),
]


@pytest.mark.parametrize(("entry", "host", "covered"), CASES)
def test_an_entry_covers_a_host_or_does_not(entry: str, host: str, covered: bool) -> None:
    assert no_proxy([entry]).covers(host) is covered
    assert no_proxy(["other.test", entry]).covers(host) is covered


@pytest.mark.parametrize(("entry", "host", "covered"), [case for case in CASES if not case[1].startswith("[")])
def test_curl_reads_it_so_too(entry: str, host: str, covered: bool) -> None:
    """It comes to the proxy, or goes elsewhere and finds nobody. Versions of curl differ on IPv6."""
    curl = need("curl")
    came: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        port = proxy.getsockname()[1]
        answering = Thread(target=_hang_up, args=(proxy, came))
        answering.start()
        # Led to a port of nobody's, so that a direct call fails at once and stays on this machine.
        options = ["--connect-to", "::127.0.0.1:1", "--max-time", "5", "--silent"]
        environment = {"http_proxy": f"http://127.0.0.1:{port}", "no_proxy": entry, "PATH": os.environ["PATH"]}
        subprocess.run([curl, *options, f"http://{host}/"], env=environment, check=False, timeout=20)
        socket.create_connection(("127.0.0.1", port)).close()
        answering.join(10)
    assert (not came) is covered


def _hang_up(proxy: socket.socket, came: list[bytes]) -> None:
    """On whoever says something, and on the test itself, which says nothing and comes last."""
    while True:
        connection, _ = proxy.accept()
        with connection:
            data = connection.recv(4096)
        if not data:
            return
        came.append(data)


NAMES = st.from_regex(r"[a-z]{1,5}(\.[a-z]{1,5}){0,3}", fullmatch=True)


@given(NAMES, NAMES)
def test_a_name_covers_itself_and_all_below_it_and_nothing_else(name: str, other: str) -> None:
    rule = no_proxy([name])
    assert rule.covers(name)
    assert rule.covers(f"x.{name}")
    assert not rule.covers(f"x{name}")
    assert rule.covers(other) is (f".{other}".endswith(f".{name}"))


@given(st.ip_addresses(), st.integers(0, 32))
def test_a_range_covers_addresses_and_no_names(address: object, bits: int) -> None:
    rule = no_proxy([f"{address}/{bits}"])
    assert rule.covers(str(address))
    assert rule.covers(f"[{address}]")
    assert not rule.covers(f"{bits}.example.com")


def test_no_entries_cover_nothing() -> None:
    assert not no_proxy([]).covers("localhost")
