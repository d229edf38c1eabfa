"""What becomes of a connection, and of a client that has to say who it is; without a socket."""

from __future__ import annotations

import logging
import ssl
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Any

import pytest

from sidecar.errors import ClientError, Reason
from sidecar.http1.entry import Entry
from sidecar.http1.gate import Pending, Plain, Refuse, Ruling, Splice, Terminate
from sidecar.http1.hello import Hello
from sidecar.http1.splice import Dial, Ending, SpliceTarget
from sidecar.intercept.door import ACCESS_DENIED, SILENT, Credentials, Door, connect_goal, is_address
from sidecar.telemetry.instruments import Meters
from tests.fakes import FakeClock
from tests.telemetry.test_calls import points

POLICY, TUNNELLED, UNKNOWN = "api.acme.test", "far.acme.test", "nobody.test"
ADDRESS = ("192.0.2.7", 443)
PEER = ("192.0.2.1", 51000)
CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


@dataclass
class Authority:
    """Signs for `names`; clients that read its roots earlier may distrust it for those of `added`."""

    names: tuple[str, ...] = (POLICY,)
    added: tuple[str, ...] = ()

    def context_for(self, host: str) -> ssl.SSLContext | None:
        return CONTEXT if host in self.names else None

    def late(self, host: str) -> bool:
        return host in self.added


@dataclass
class Tunnels:
    """One host that is opened, one that is not, and what `egress` says of others."""

    waiting: bool = False
    """There are no policies yet."""
    allows_unknown: bool = False
    verifies: bool = False
    dialled: list[tuple[str, int]] = field(default_factory=list)

    def verifies_sni(self) -> bool:
        return self.verifies

    def intercepts(self, authority: bytes) -> bool | None:
        return {f"{POLICY}:443".encode(): True, f"{TUNNELLED}:443".encode(): False}.get(authority)

    def dial(self, entry: Entry) -> Dial | None:
        if self.waiting:
            raise ClientError(Reason.STARTING, "no policies yet")
        self.dialled.append((entry.host, entry.port))
        return nowhere if self.allows_unknown or entry.host in (POLICY, TUNNELLED) else None


async def nowhere() -> SpliceTarget:
    raise NotImplementedError


@dataclass
class Network:
    own: tuple[tuple[tuple[str, int], tuple[str, int]], ...] = ()
    names: dict[str, str] = field(default_factory=dict)

    def is_own(self, near: tuple[str, int], far: tuple[str, int]) -> bool:
        return (near, far) in self.own

    async def resolves_to(self, host: str, port: int, address: str) -> bool:
        return self.names.get(host) == address


class House:
    """A door and all that it asks."""

    def __init__(self, *, authority: Authority | None = None, **tunnels: Any) -> None:
        self.authority: Authority | None = authority or Authority()
        self.tunnels = Tunnels(**tunnels)
        self.network = Network()
        self.clock = FakeClock()
        self.meters = Meters()
        self.door = Door(self.tunnels, self.network, lambda: self.authority, self.clock, self.meters.handshakes)

    @property
    def counts(self) -> dict[str, object]:
        """What the door has counted, without what it has not seen."""
        return {str(labels[0]): count for labels, count in points(self.meters, "sidecar.handshakes").items() if count}


def hello(name: str | None, *alpn: bytes) -> Hello:
    return Hello(name, alpn, encrypted=False, versions=(0x0304,))


def connect(host: str, port: int = 443) -> Entry:
    return Entry("connect", host, port)


def redirected(host: str = ADDRESS[0], port: int = 443) -> Entry:
    return Entry("transparent", host, port, address=ADDRESS, peer=PEER)


def assert_refused(ruling: Ruling, *words: str, reason: Reason = Reason.EGRESS_DENIED) -> None:
    assert isinstance(ruling, Refuse), ruling
    assert (ruling.alert, ruling.reason) == (ACCESS_DENIED, reason)
    assert all(word in ruling.detail for word in words), ruling.detail


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, "sidecar.intercept.door")
    return caplog


def lines(said: pytest.LogCaptureFixture) -> list[tuple[str, str, str]]:
    """Message, host and reason of each line."""
    return [(one.getMessage(), vars(one)["host"], vars(one)["reason"]) for one in said.records]


# Rulings.


@pytest.mark.parametrize("alpn", [(), (b"http/1.1",), (b"h2", b"http/1.1"), (b"http/1.0",)])
def test_a_policys_host_is_opened(alpn: tuple[bytes, ...], said: pytest.LogCaptureFixture) -> None:
    house = House()
    for entry in (connect(POLICY), redirected(POLICY)):
        assert house.door.rule(entry, hello(POLICY, *alpn), False) == Terminate(CONTEXT, POLICY)
    assert (house.tunnels.dialled, lines(said)) == ([], [])


def test_where_interception_is_off_bytes_are_left_alone() -> None:
    house = House()
    assert house.door.rule(connect(TUNNELLED), hello(TUNNELLED), False) == Splice(nowhere, SILENT)
    assert house.tunnels.dialled == [(TUNNELLED, 443)]


def test_while_there_are_no_policies_nothing_passes() -> None:
    house = House(waiting=True)
    for host, greeting in ((TUNNELLED, hello(TUNNELLED)), (UNKNOWN, hello(UNKNOWN)), (UNKNOWN, None)):
        assert_refused(house.door.rule(redirected(host), greeting, False), "no policies yet", reason=Reason.STARTING)
    assert house.counts == {"refused": 3}


@pytest.mark.parametrize("alpn", [(b"h2",), (b"h2", b"spdy/3"), (b"acme-tls/1",)])
def test_a_client_that_speaks_no_http1_is_tunnelled(alpn: tuple[bytes, ...], said: pytest.LogCaptureFixture) -> None:
    house = House()
    assert house.door.rule(connect(POLICY), hello(POLICY, *alpn), False) == Splice(nowhere, SILENT)
    ((message, host, reason),) = lines(said)
    assert ("no HTTP/1.1" in message, host, "HTTP/2" in reason) == (True, POLICY, True)


def test_without_a_server_name_the_connects_host_says() -> None:
    assert House().door.rule(connect(POLICY), hello(None), False) == Terminate(CONTEXT, POLICY)


def test_without_a_server_name_a_redirected_connection_has_its_address_alone() -> None:
    house = House()
    assert_refused(house.door.rule(redirected(), hello(None), False), ADDRESS[0])
    house = House(allows_unknown=True)
    assert isinstance(house.door.rule(redirected(), hello(None), False), Splice)
    assert house.tunnels.dialled == [ADDRESS]


def test_a_hidden_server_name_leaves_the_address(said: pytest.LogCaptureFixture) -> None:
    house = House(allows_unknown=True)
    hidden = Hello("front.test", (), encrypted=True, versions=(0x0304,))
    assert isinstance(house.door.rule(redirected("front.test"), hidden, False), Splice)
    assert house.tunnels.dialled == [ADDRESS]
    assert [host for _, host, _ in lines(said)] == [ADDRESS[0]]


def test_what_only_looks_hidden_is_opened_for_the_policys_name_outside() -> None:
    made_up = Hello(POLICY, (), encrypted=True, versions=(0x0304,))
    assert House().door.rule(redirected(POLICY), made_up, False) == Terminate(CONTEXT, POLICY)


@pytest.mark.parametrize("host", ["192.0.2.7", "[2001:db8::7]"])
def test_a_connect_to_an_address_belongs_to_the_server_name(host: str) -> None:
    assert House().door.rule(connect(host), hello(POLICY), False) == Terminate(CONTEXT, POLICY)


def test_the_connects_name_wins_over_the_server_name() -> None:
    house = House(authority=Authority(names=(POLICY, "front.test")))
    assert house.door.rule(connect(POLICY), hello("front.test"), False) == Terminate(CONTEXT, POLICY)
    assert_refused(house.door.rule(connect(UNKNOWN), hello(POLICY), False), UNKNOWN)


def test_what_the_authority_may_not_sign_for_is_tunnelled(said: pytest.LogCaptureFixture) -> None:
    house = House(authority=Authority(names=()))
    assert house.door.rule(connect(POLICY), hello(POLICY), False) == Splice(nowhere, SILENT)
    assert [(host, reason) for _, host, reason in lines(said)] == [(POLICY, "outside the constraint")]


def test_without_an_authority_nothing_is_opened_and_nothing_said(said: pytest.LogCaptureFixture) -> None:
    house = House()
    house.authority = None
    assert house.door.rule(connect(POLICY), hello(POLICY), False) == Splice(nowhere, SILENT)
    assert lines(said) == []


def test_an_unknown_host_is_refused_or_passed_on() -> None:
    assert_refused(House().door.rule(redirected(UNKNOWN), hello(UNKNOWN), False), UNKNOWN, "443")
    house = House(allows_unknown=True)
    assert isinstance(house.door.rule(redirected(UNKNOWN), hello(UNKNOWN), False), Splice)
    assert house.tunnels.dialled == [(UNKNOWN, 443)]


def test_another_port_is_another_host() -> None:
    assert_refused(House().door.rule(redirected(UNKNOWN, 8443), hello(UNKNOWN), False), "8443")


@pytest.mark.parametrize("entry", [connect(POLICY, 80), connect(UNKNOWN, 80), redirected(port=80)])
def test_http_in_clear_is_judged_request_by_request(entry: Entry) -> None:
    assert House().door.rule(entry, None, http=True) == Plain()


def test_what_is_neither_tls_nor_http_goes_by_its_destination() -> None:
    assert_refused(House().door.rule(redirected(port=5432), None, http=False), ADDRESS[0], "5432")
    assert isinstance(House(allows_unknown=True).door.rule(redirected(port=5432), None, http=False), Splice)


# Loops.


@pytest.mark.parametrize(("asked", "http"), [(hello(POLICY), False), (None, True), (None, False)])
def test_a_connection_of_our_own_is_refused(asked: Hello | None, http: bool) -> None:
    house = House(allows_unknown=True)
    house.network.own = ((PEER, ADDRESS),)
    assert_refused(house.door.rule(redirected(POLICY), asked, http), "sidecar firewall", reason=Reason.LOOP)
    assert house.tunnels.dialled == []


def test_a_port_that_one_of_ours_has_elsewhere_is_no_loop() -> None:
    """The kernel lends a port to an application while a connection of ours to another address has it."""
    house = House()
    house.network.own = ((PEER, ("192.0.2.99", 443)),)
    assert isinstance(house.door.rule(redirected(POLICY), hello(POLICY), False), Terminate)
    here = Entry("transparent", "127.0.0.1", 443, peer=PEER)
    assert isinstance(house.door.rule(here, hello(POLICY), False), Terminate)
    house.network.own = ((PEER, ("127.0.0.1", 443)),)
    assert_refused(house.door.rule(here, hello(POLICY), False), "sidecar firewall", reason=Reason.LOOP)


# Server names and addresses.


async def settled(ruling: Ruling) -> Ruling:
    assert isinstance(ruling, Pending)
    return await ruling.settle()


async def test_a_server_name_must_resolve_to_the_address_where_that_is_asked(said: pytest.LogCaptureFixture) -> None:
    house = House(verifies=True, allows_unknown=True)
    house.network.names = {POLICY: ADDRESS[0], UNKNOWN: "192.0.2.8"}
    assert await settled(house.door.rule(redirected(POLICY), hello(POLICY), False)) == Terminate(CONTEXT, POLICY)
    for name in (UNKNOWN, "no-such-name.test"):
        ruling = await settled(house.door.rule(redirected(name), hello(name), False))
        assert_refused(ruling, name, ADDRESS[0], "egress.verify_sni")
    assert house.tunnels.dialled == []
    assert [(host, reason) for _, host, reason in lines(said)] == [
        (UNKNOWN, ADDRESS[0]), ("no-such-name.test", ADDRESS[0])
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "asked"),
    [
        (connect(POLICY), hello(POLICY)),
        (redirected(), hello(None)),
        (Entry("transparent", POLICY, 443), hello(POLICY)),
        (redirected(port=80), None),
    ],
    ids=["CONNECT", "no name", "not redirected", "in clear"],
)
def test_there_is_nothing_to_look_up(entry: Entry, asked: Hello | None) -> None:
    house = House(verifies=True)
    assert not isinstance(house.door.rule(entry, asked, http=asked is None), Pending)


# What is said.


def test_a_client_that_distrusts_us_is_told_of_with_what_to_do(said: pytest.LogCaptureFixture) -> None:
    house = House(authority=Authority(added=(POLICY,)))
    house.door.client_distrusts(connect(UNKNOWN), "unknown_ca")
    house.door.client_distrusts(connect(POLICY), "bad_certificate")
    house.authority = None
    house.door.client_distrusts(connect(TUNNELLED), "unknown_ca")
    never_trusted, late, without = [(host, reason) for _, host, reason in lines(said)]
    assert never_trusted == (UNKNOWN, "unknown_ca: give it bundle.crt of --ca-dir; `sidecar env` prints the variables")
    assert late == (
        POLICY, "bad_certificate: it read the certificates before this host was added; restart the application"
    )  # fmt: skip
    assert without == (TUNNELLED, never_trusted[1])


def test_each_line_comes_at_most_once_a_minute_for_a_host(said: pytest.LogCaptureFixture) -> None:
    house = House()

    def distrust() -> int:
        for host in (POLICY, UNKNOWN):
            house.door.client_distrusts(connect(host), "unknown_ca")
            house.door.rule(connect(POLICY), hello(POLICY, b"h2"), False)
        return len(lines(said))

    assert distrust() == 3
    house.clock.advance(59.9)
    assert distrust() == 3
    house.clock.advance(0.1)
    assert distrust() == 6


def test_many_hosts_are_no_leak(said: pytest.LogCaptureFixture) -> None:
    house = House()
    for number in range(3000):
        house.door.client_distrusts(connect(f"h{number}.test"), "unknown_ca")
    assert len(lines(said)) == 3000
    house.door.client_distrusts(connect("h2999.test"), "unknown_ca")
    assert len(lines(said)) == 3000


def test_a_splice_keeps_no_book(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "sidecar.intercept.door")
    SILENT.ended(1, 2, Ending.CLOSED)
    assert [vars(one)["reason"] for one in caplog.records] == ["closed"]


# CONNECT.


def basic(text: str) -> bytes:
    return b"Basic " + b64encode(text.encode())


@pytest.mark.parametrize("given", [basic("user:pass:word"), basic("user:pass:word").replace(b"Basic", b"bAsIc  ")])
def test_the_right_credentials(given: bytes) -> None:
    Credentials("user:pass:word").check(given)


@pytest.mark.parametrize(
    "given",
    [None, b"", b"Basic", b"Basic !!!", basic("user:pass:wor"), basic("user:pass:word!"), b"Bearer user:pass:word",
     b"Bearer " + b64encode(b"user:pass:word"), basic("")],
)  # fmt: skip
def test_other_credentials_are_refused_and_never_shown(given: bytes | None) -> None:
    credentials = Credentials("user:pass:word")
    with pytest.raises(ClientError) as caught:
        credentials.check(given)
    assert caught.value.reason is Reason.PROXY_AUTHENTICATION
    assert "pass:word" not in f"{caught.value.detail} {credentials!r}"


@pytest.mark.parametrize(
    ("target", "goal"),
    [(b"API.Acme.test:443", ("api.acme.test", 443)), (b"192.0.2.1:8443", ("192.0.2.1", 8443)),
     (b"[2001:db8::1]:443", ("[2001:db8::1]", 443))],
)  # fmt: skip
def test_where_a_connect_goes(target: bytes, goal: tuple[str, int]) -> None:
    assert connect_goal(target) == goal


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (b"api.acme.test", Reason.BAD_REQUEST),
        (b":443", Reason.BAD_REQUEST),
        (b"api.acme.test:0", Reason.BAD_REQUEST),
        (b"api.acme.test:65536", Reason.BAD_REQUEST),
        (b"api.acme.test:x", Reason.BAD_REQUEST),
        (b"/", Reason.BAD_REQUEST),
        (b"metadata.google.internal:80", Reason.ADDRESS_DENIED),
    ],
)
def test_a_connect_to_nowhere(target: bytes, reason: Reason) -> None:
    with pytest.raises(ClientError) as caught:
        connect_goal(target)
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    ("host", "is_one"), [("192.0.2.1", True), ("[::1]", True), ("::1", True), ("a.test", False), ("", False)]
)
def test_addresses_are_told_from_names(host: str, is_one: bool) -> None:
    assert is_address(host) is is_one


def test_every_handshake_is_counted_by_what_became_of_it() -> None:
    house = House()
    house.door.rule(connect(POLICY), hello(POLICY), False)
    house.door.client_distrusts(connect(POLICY), "unknown_ca")
    house.door.rule(connect(TUNNELLED), hello(TUNNELLED), False)
    house.door.rule(connect(TUNNELLED), hello(TUNNELLED), False)
    house.door.rule(connect(UNKNOWN), hello(UNKNOWN), False)
    house.door.rule(connect(POLICY), None, True)
    assert house.counts == {"opened": 1, "distrusted": 1, "spliced": 2, "refused": 1}
