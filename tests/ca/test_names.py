"""Which names may be signed, as properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.authority.names import Constraint, Hosts, dns_name, fewest

LABELS = st.from_regex(r"[a-z]([a-z0-9-]{0,5}[a-z0-9])?", fullmatch=True)
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
HOSTS = st.lists(st.tuples(st.booleans(), NAMES).map(lambda row: f"*.{row[1]}" if row[0] else row[1]), max_size=6)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("api.stripe.com", "api.stripe.com"),
        ("API.Stripe.COM.", "api.stripe.com"),
        ("localhost", "localhost"),
        ("_grpc.x.com", "_grpc.x.com"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_a_name_has_one_form(host: str, name: str) -> None:
    assert dns_name(host) == name


@pytest.mark.parametrize(
    "host",
    [
        "", ".", "*.x.com", "*", "10.0.0.1", "127.1", "a.0x7f", "[::1]", "::1", "x.com:443", "a..b", "-a.com", "a-.com",
        ".x.com", "x.com..", "a b", "a\n", "x.com\0.evil", "bücher.example", "a" * 64 + ".com", "a." * 126 + "aa",
    ],
)  # fmt: skip
def test_what_is_no_name_has_none(host: str) -> None:
    assert dns_name(host) is None


def test_hosts_as_policies_write_them() -> None:
    hosts = Hosts.of(["api.x.com:8443", "*.y.com:443", "*.Z.com", "10.0.0.1", "[::1]:80", "::1"])
    assert hosts == Hosts(frozenset({"api.x.com"}), frozenset({"y.com", "z.com"}))
    assert hosts.bases == {"api.x.com", "y.com", "z.com"}
    assert [hosts.has(name) for name in ("api.x.com", "a.api.x.com", "a.b.y.com", "y.com", "ay.com")] == [
        True, False, True, False, False,
    ]  # fmt: skip


@given(HOSTS, NAMES)
def test_every_host_lies_within_the_bases_and_none_of_them_within_another(hosts: list[str], name: str) -> None:
    wanted = Hosts.of(hosts)
    constraint = Constraint(wanted.bases)
    if wanted.has(name):
        assert constraint.permits(name)
    for base in wanted.bases:
        assert not Constraint(wanted.bases - {base}).permits(base)
    assert fewest(wanted.bases) == wanted.bases


@given(NAMES, NAMES)
def test_a_base_permits_itself_and_what_is_below_it(base: str, name: str) -> None:
    constraint = Constraint(frozenset({base}))
    assert constraint.permits(base)
    assert constraint.permits(f"{name}.{base}")
    assert not constraint.permits(f"{name}{base}") or name.endswith(".") or f"{name}{base}" == base
    assert not Constraint(None, frozenset({base})).permits(f"{name}.{base}")


def test_what_others_write_into_constraints_is_understood() -> None:
    assert Constraint(None).permits("any.example")
    assert Constraint(frozenset({""})).permits("any.example")
    below = Constraint(frozenset({".x.com"}))
    assert (below.permits("a.x.com"), below.permits("x.com")) == (True, False)
    both = Constraint(frozenset({"x.com"}), frozenset({"secret.x.com"}))
    assert (both.permits("a.x.com"), both.permits("a.secret.x.com")) == (True, False)
