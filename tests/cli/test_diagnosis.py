"""From what was seen of a run to what is said of it."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.address import Address
from sidecar.cli.diagnosis import Diagnosis, Seen, diagnose, kind
from sidecar.cli.processes import Connection, Program
from sidecar.cli.report import lines

LISTEN, REDIRECTED = Address("127.0.0.1", 7600), Address("0.0.0.0", 7603)
LOCAL, PROVIDER, INSIDE = Address("10.1.2.3", 50000), Address("104.18.5.1", 443), Address("10.96.0.1", 443)
TO_LISTENER = Connection(1, LOCAL, LISTEN)
TO_PROVIDER = Connection(1, LOCAL, PROVIDER)


def call(provider: str = "stripe", mode: str = "connect", outcome: str = "ok") -> dict[str, Any]:
    return {"provider": provider, "mode": mode, "outcome": outcome}


def unknown(host: str, calls: int, allowed: bool = True) -> dict[str, Any]:
    return {"host": host, "port": 443, "calls": calls, "allowed": allowed}


def told(
    *connections: Connection, name: str = "python3.11", proxied: bool = True, accepted: bool = False, **more: Any
) -> Diagnosis:
    seen: dict[str, Any] = {
        "exit_code": 0,
        "duration_s": 1.0,
        "calls": [],
        "unknown": [],
        "hosts": {"stripe": ["api.stripe.com"]},
        "programs": {1: Program(1, name, proxied)},
        "connections": connections,
        "accepted": frozenset({(7603, LOCAL)} if accepted else ()),
        "closed": (),
        "names": {},
        "redirected": False,
    }
    return diagnose(Seen(**seen | more), LISTEN, REDIRECTED)


def test_calls_are_counted_by_provider_and_mode() -> None:
    calls = [call(), call("-"), call("github"), call(outcome="transient"), call(mode="reverse")]
    found = told(TO_LISTENER, calls=calls)
    assert [(row.provider, row.hosts, row.mode, row.calls, row.outcomes) for row in found.through] == [
        ("stripe", ("api.stripe.com",), "connect", 2, {"ok": 1, "transient": 1}),
        ("github", (), "connect", 1, {"ok": 1}),
        ("stripe", ("api.stripe.com",), "reverse", 1, {"ok": 1}),
    ]
    assert (found.around, found.hints) == ((), ())


def test_hosts_without_a_policy_are_those_of_this_run() -> None:
    found = told(TO_LISTENER, unknown=[unknown("a.example", 2), unknown("b.example", 0)])
    assert [row["host"] for row in found.unknown] == ["a.example"]
    assert found.hints == ()


def test_a_refused_host_wants_a_policy() -> None:
    found = told(TO_LISTENER, unknown=[unknown("a.example", 1, allowed=False), unknown("b.example", 0, allowed=False)])
    assert found.hints == ("a.example: no policy, so refused. Write one, or allow it by `egress` in defaults.yaml.",)


def test_what_gets_around_is_counted_by_address_and_named_by_its_host() -> None:
    again = Connection(1, Address("10.1.2.3", 50001), PROVIDER)
    (row,) = told(TO_PROVIDER, again, names={PROVIDER.host: "api.hubapi.com"}).around
    assert (row.address, row.port, row.host) == (PROVIDER.host, 443, "api.hubapi.com")
    assert (row.program, row.connections, row.inside) == ("python3.11", 2, False)


def test_a_redirected_connection_did_not_get_around() -> None:
    assert told(TO_PROVIDER, accepted=True, calls=[call(mode="transparent")]).around == ()


def test_loopback_and_private_addresses_are_nobody_to_advise_on() -> None:
    found = told(Connection(1, LOCAL, Address("127.0.0.1", 5432)), Connection(1, LOCAL, INSIDE), calls=[call()])
    assert [(row.address, row.inside) for row in found.around] == [(INSIDE.host, True)]
    assert found.hints == ()


def test_a_private_address_of_a_policys_host_is_a_provider() -> None:
    found = told(Connection(1, LOCAL, INSIDE), names={INSIDE.host: "crm.corp.example"})
    assert not found.around[0].inside
    assert "called crm.corp.example directly" in found.hints[0]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("python3.11", "trust_env=True"),
        ("node", "NODE_USE_ENV_PROXY=1"),
        ("java", "JAVA_TOOL_OPTIONS"),
        ("app", "has to be told of the proxy"),
    ],
)
def test_each_runtime_is_told_how_to_use_a_proxy(name: str, hint: str) -> None:
    (said,) = told(TO_PROVIDER, name=name).hints
    assert said.startswith(f"{name} called {PROVIDER.host} directly.")
    assert hint in said


def test_a_program_that_lost_its_variables_is_told_that_first() -> None:
    assert "without HTTPS_PROXY" in told(TO_PROVIDER, proxied=False).hints[0]
    assert "not redirected" in told(TO_PROVIDER, proxied=False, redirected=True).hints[0]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("python3", "stripe.ca_bundle_path"),
        ("node", "NODE_EXTRA_CA_CERTS"),
        ("java", "sidecar ca export"),
        ("curl", "CURL_CA_BUNDLE"),
        ("wget", "--ca-certificate"),
        ("app", "bundle in --ca-dir"),
    ],
)
def test_who_connects_and_makes_no_call_distrusts_us(name: str, hint: str) -> None:
    (said,) = told(TO_LISTENER, name=name).hints
    assert "distrusts the certificate" in said
    assert hint in said


@pytest.mark.parametrize("ends", [(LOCAL, LISTEN), (LISTEN, LOCAL)], ids=["client's", "sidecar's"])
def test_a_handshake_too_short_to_be_seen_leaves_a_closed_connection(ends: tuple[Address, Address]) -> None:
    programs = {1: Program(1, "sh", True), 2: Program(2, "curl", True)}
    (said,) = told(closed=[ends], programs=programs).hints
    assert said.startswith("curl connected to the sidecar, but no call came")
    assert told(closed=[ends], programs={}).hints[0].startswith("? connected")
    assert told(closed=[ends], calls=[call()]).hints == ()


def test_nothing_seen_is_said() -> None:
    assert told().hints == ("No call was counted, and no connection seen.",)


def test_a_failure_that_left_no_trace_may_be_distrust() -> None:
    programs = {1: Program(1, "sh", True), 2: Program(2, "curl", True)}
    nothing, distrust = told(exit_code=60, programs=programs).hints
    assert nothing == "No call was counted, and no connection seen."
    assert distrust.startswith("If curl complained of a certificate: curl reads CURL_CA_BUNDLE")


def test_many_addresses_are_not_all_named() -> None:
    found = told(*(Connection(1, LOCAL, Address(f"104.18.5.{last}", 443)) for last in range(1, 6)))
    assert "and 2 more directly" in found.hints[0]


def test_a_process_that_was_gone_too_soon_has_no_name() -> None:
    assert told(TO_PROVIDER, programs={}).around[0].program == "?"


@pytest.mark.parametrize(
    ("program", "runtime"), [("python3.13", "Python"), ("node", "Node"), ("node24", "Node"), ("ruby", ""), ("", "")]
)
def test_runtimes_are_known_by_their_executables(program: str, runtime: str) -> None:
    assert kind(program) == runtime


def test_the_report_of_a_mixed_run() -> None:
    found = told(
        TO_LISTENER,
        TO_PROVIDER,
        Connection(1, LOCAL, INSIDE),
        calls=[call(), call()],
        unknown=[unknown("a.example", 1), unknown("b.example", 1, allowed=False)],
        names={PROVIDER.host: "api.hubapi.com"},
    )
    said = "\n".join(lines(found, ["sync.py"], 0.01)).splitlines()
    assert said[:9] == [
        "sync.py ended with 0 after 1.0 s.",
        "Through the sidecar:",
        "  stripe  api.stripe.com  2 calls  connect  2 ok",
        "  -       a.example:443   1 call            no policy, carried as it came",
        "  -       b.example:443   1 call            no policy, refused",
        "Around it:",
        "  104.18.5.1:443  api.hubapi.com     1 connection  python3.11",
        "  10.96.0.1:443   a private address  1 connection  python3.11",
        f"* {found.hints[0]}",
    ]
    assert said[-1].startswith("Not seen: connections that lived for less than 10 ms")


def test_policies_that_never_change_are_told() -> None:
    warning = {"file": "/etc/p/a.yaml", "message": "is mounted by subPath and will never update: mount the directory"}
    found = told(TO_LISTENER, calls=[call()], policies={"loaded_at": "2026-11-22T10:00:00Z", "warnings": [warning]})
    assert found.hints == ("/etc/p/a.yaml is mounted by subPath and will never update: mount the directory.",)


def test_a_sidecar_without_policies_is_told_first() -> None:
    found = told(TO_LISTENER, policies={"loaded_at": None, "warnings": []})
    assert found.hints[0].startswith("The sidecar refuses every call until its policies are fit")


def test_the_report_of_nothing() -> None:
    said = list(lines(told(), ["true"], 0.01))
    assert said[1:5] == ["Through the sidecar:", "  nothing", "Around it:", "  nothing"]
