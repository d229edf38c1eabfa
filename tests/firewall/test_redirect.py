"""The rules in a kernel, by each of the tools that it may have, in network namespaces of the test's own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache

import pytest

from sidecar.firewall.machine import ThisMachine
from sidecar.firewall.rules import SIDECAR_UID
from tests.firewall.spaces import POD, PROVIDER, SPARED, Namespace, Spaces
from tests.real import lacking, need

ONE_RULE = "-w 5 -t nat -A OUTPUT -p tcp -m owner --uid-owner 1 -j REDIRECT --to-ports 2"
PROBES = {
    "nft": [
        "nft add table inet probe",
        "nft add chain inet probe out { type nat hook output priority 0; }",
        "nft add rule inet probe out tcp dport 1 redirect to :2",
    ],
    "iptables-nft": [f"{name}-nft {ONE_RULE}" for name in ("iptables", "ip6tables")],
    "iptables-legacy": [f"{name}-legacy {ONE_RULE}" for name in ("iptables", "ip6tables")],
}
"""The least that each tool must be able to do here, in words that are not ours."""
V4, V6 = PROVIDER
CAUGHT_V4 = f"uvloop transparent {V4} 443 ('{V4}', 443)"
CAUGHT_V6 = f"uvloop transparent {V6} 443 ('{V6}', 443)"
RESOLVE = (V4, 53)


@pytest.fixture(scope="module")
def served() -> Iterator[Spaces]:
    if not any(map(ThisMachine().find, PROBES)):
        need("nft")
    spaces = Spaces()
    try:
        spaces.serve()
        yield spaces
    finally:
        spaces.close()


@pytest.fixture
def spaces(served: Spaces) -> Iterator[Spaces]:
    """Without rules before and after."""
    yield served
    assert served.firewall("down").stderr == ""


@pytest.fixture(params=PROBES)
def tool(request: pytest.FixtureRequest) -> str:
    """A tool that works on this machine."""
    return working(request.param)


@cache
def working(tool: str) -> str:
    probe = Namespace()
    try:
        for command in PROBES[tool]:
            program, *words = command.split()
            done = probe.run(need(program), *words)
            if done.returncode:
                lacking(f"this kernel has no NAT for {tool}: {done.stderr.strip()}")
    finally:
        probe.close()
    return tool


def up(spaces: Spaces, *args: str) -> None:
    done = spaces.firewall("up", *args)
    assert (done.returncode, done.stderr) == (0, "")


def in_force(spaces: Spaces) -> str:
    done = spaces.firewall("show")
    assert done.returncode == (0 if done.stdout else 3)
    return done.stdout


def test_connections_of_both_families_are_caught_with_their_destination(spaces: Spaces, tool: str) -> None:
    up(spaces, "--tool", tool)
    assert spaces.dial((V4, 443), (V6, 443)) == [CAUGHT_V4, CAUGHT_V6]
    # Ports where nobody listens are caught as well: whether to connect is for the sidecar to say.
    assert spaces.dial((V4, 9)) == [f"uvloop transparent {V4} 9 ('{V4}', 9)"]


def test_what_goes_straight(spaces: Spaces, tool: str) -> None:
    up(spaces, "--tool", tool, "--exclude", "198.51.100.0/24,2001:db8:5::/48", "--exclude-port", "5432")
    assert spaces.dial((V4, 443), (V6, 443), uid=SIDECAR_UID) == ["provider"] * 2
    assert spaces.dial((V4, 443), (V6, 443), uid=SIDECAR_UID + 1) == [CAUGHT_V4, CAUGHT_V6]
    own = [("127.0.0.1", 8080), ("::1", 8080), *((address, 8080) for address in POD)]
    assert spaces.dial(*own) == ["neighbour"] * 4
    assert spaces.dial(*((address, 443) for address in SPARED)) == ["provider"] * 2
    assert spaces.dial((V4, 5432), (V6, 5432), RESOLVE, (f"udp {V4}", 53)) == ["provider"] * 3 + ["echo"]


def test_only_the_ports_that_are_named(spaces: Spaces, tool: str) -> None:
    up(spaces, "--tool", tool, "--ports", "50-60,443")
    answers = spaces.dial((V4, 443), (V4, 80), (V6, 80), RESOLVE)
    assert answers == [CAUGHT_V4, "provider", "provider", f"uvloop transparent {V4} 53 ('{V4}', 53)"]


def test_without_ipv6(spaces: Spaces, tool: str) -> None:
    up(spaces, "--tool", tool)
    up(spaces, "--tool", tool, "--no-ipv6")
    assert spaces.dial((V4, 443), (V6, 443)) == [CAUGHT_V4, "provider"]


def test_up_twice_is_up_once_and_down_is_as_if_never(spaces: Spaces, tool: str) -> None:
    up(spaces, "--tool", tool)
    once = in_force(spaces)
    up(spaces, "--tool", tool)
    assert in_force(spaces) == once != ""
    for _ in range(2):
        done = spaces.firewall("down")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert in_force(spaces) == ""
    assert spaces.dial((V4, 443), (V6, 443)) == ["provider"] * 2


def test_other_options_replace_the_earlier_ones(spaces: Spaces, tool: str) -> None:
    up(spaces, "--tool", tool, "--to", "7604", "--exclude", "10.0.0.0/8")
    wanted = in_force(spaces)
    up(spaces, "--tool", tool, "--ports", "80", "--uid", "7")
    assert in_force(spaces) != wanted
    up(spaces, "--tool", tool, "--to", "7604", "--exclude", "10.0.0.0/8")
    assert in_force(spaces) == wanted


def test_every_loop_tells_the_destination(spaces: Spaces) -> None:
    for port, who in (("7604", "asyncio"), ("7605", "one-socket")):
        up(spaces, "--to", port)
        assert spaces.dial((V4, 443), (V6, 443)) == [
            f"{who} transparent {address} 443 ('{address}', 443)" for address in (V4, V6)
        ]


def test_a_provider_whose_name_leads_to_loopback_has_no_destination(spaces: Spaces) -> None:
    up(spaces)
    assert spaces.dial(("127.0.0.1", 7603), ("::1", 7603), (POD[0], 7603)) == [
        "uvloop transparent 127.0.0.1 7603 None",
        "uvloop transparent ::1 7603 None",
        f"uvloop transparent {POD[0]} 7603 None",
    ]


def test_one_tool_at_a_time(spaces: Spaces) -> None:
    for tool in PROBES:
        up(spaces, "--tool", working(tool))
        shown = in_force(spaces)
        assert ("table inet sidecar" in shown) == (tool == "nft")
        assert [line for line in shown.splitlines() if line.startswith("# ")] == (
            [] if tool == "nft" else [f"# {name}{tool.removeprefix('iptables')}" for name in ("iptables", "ip6tables")]
        )


def test_the_listener_setting_says_the_port(spaces: Spaces) -> None:
    up(spaces)
    spaces.pod.do("env", "SIDECAR_TRANSPARENT=0.0.0.0:7604", sys.executable, "-m", "sidecar", "firewall", "up")
    assert spaces.dial((V4, 443)) == [CAUGHT_V4.replace("uvloop", "asyncio")]


@pytest.mark.parametrize("tool", ["iptables-nft", "iptables-legacy"])
def test_rules_of_others_stay_and_come_second(spaces: Spaces, tool: str) -> None:
    iptables = working(tool)
    theirs = ["OUTPUT", "-p", "tcp", "--dport", "443", "-j", "REDIRECT", "--to-ports", "7604"]
    spaces.pod.do(iptables, "-w", "5", "-t", "nat", "-A", *theirs)
    try:
        for ours in ("nft", tool):
            up(spaces, "--tool", ours)
            assert spaces.dial((V4, 443)) == [CAUGHT_V4]
            # The sidecar's own calls go on to them.
            assert spaces.dial((V4, 443), uid=SIDECAR_UID) == [CAUGHT_V4.replace("uvloop", "asyncio")]
        spaces.firewall("down")
        assert spaces.dial((V4, 443)) == [CAUGHT_V4.replace("uvloop", "asyncio")]
    finally:
        spaces.pod.do(iptables, "-w", "5", "-t", "nat", "-D", *theirs)


@pytest.mark.parametrize(
    ("tool", "dropped", "message"),
    [
        ("nft", "-all", "this process lacks NET_ADMIN): run it with NET_ADMIN, as the init container does"),
        ("iptables-nft", "-all", "this process lacks NET_ADMIN): run it with NET_ADMIN, as the init container does"),
        ("iptables-legacy", "-net_raw", "this process lacks NET_RAW): run it with NET_RAW, as the init container does"),
    ],
    ids=["nft", "iptables-nft", "iptables-legacy"],
)
def test_a_missing_privilege_is_named(spaces: Spaces, tool: str, dropped: str, message: str) -> None:
    need(tool)
    command = [sys.executable, "-m", "sidecar", "firewall", "up", "--tool", tool]
    done = spaces.pod.run(need("setpriv"), f"--bounding-set={dropped}", *command)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"sidecar: {tool} may not change the firewall ({message}\n"
    assert in_force(spaces) == ""


def test_a_foreign_namespace_is_not_ours_to_change() -> None:
    """All capabilities, but over nothing: as root in a user namespace that shares the machine's network."""
    space = Namespace()
    try:
        command = [sys.executable, "-m", "sidecar", "firewall", "up", "--tool", working("nft")]
        done = space.run(need("unshare"), "--user", "--map-root-user", *command)
    finally:
        space.close()
    if done.stderr.startswith("unshare:"):
        lacking(f"no user namespace can be made here: {done.stderr.strip()}")
    assert done.returncode == 1
    assert done.stderr.startswith("sidecar: nft may not change the firewall (")
