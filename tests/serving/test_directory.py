"""Where a name or a host leads: by policy, by wildcard, or as a host that nobody named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.call import Call, Handler, Outcome
from sidecar.errors import ClientError, Reason
from sidecar.http1.limits import PoolLimits
from sidecar.policy.compile import CacheGround, Ports
from sidecar.policy.keep import Keep
from sidecar.policy.model import ProviderPolicy, Settings
from sidecar.policy.sources import load_policies
from sidecar.serving import directory as module
from sidecar.serving.directory import Directory
from sidecar.serving.unknown import UnknownHosts
from sidecar.serving.upstreams import Upstreams
from sidecar.telemetry.settings import TelemetrySettings
from sidecar.telemetry.telemetry import Telemetry
from tests.fakes import FakeClock, make_reply


class Wires(Upstreams):
    """Upstreams that write down whom they were asked for."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(PoolLimits(), 30.0, clock, b"1.1 sidecar-test")
        self.asked: list[tuple[str, str, bool]] = []
        self.tidied = 0

    def transport(self, policy: ProviderPolicy, settings: Settings, *, named: bool = True) -> Handler:
        self.asked.append((policy.provider, str(policy.origin), named))

        async def transport(call: Call) -> Outcome:
            return make_reply(200)

        return transport

    def tidy(self) -> None:
        self.tidied += 1


def no_cache() -> CacheGround:
    raise AssertionError("no policy caches anything")


class Town:
    def __init__(self, home: Path, *policies: dict[str, Any], egress: dict[str, Any] | None = None) -> None:
        for policy in policies:
            (home / f"{policy['provider']}.yaml").write_text(yaml.safe_dump(policy))
        (home / "defaults.yaml").write_text(yaml.safe_dump({"egress": egress or {"unknown": "allow"}}))
        loaded = load_policies([home])
        assert not loaded.problems, [problem.text() for problem in loaded.problems]
        self.clock = clock = FakeClock()
        telemetry = Telemetry(TelemetrySettings(), clock)
        self.keep = Keep(clock, lambda: 0.5)
        self.wires = Wires(clock)
        self.unknown = UnknownHosts(clock, telemetry.meters.unknown_hosts)
        ports = Ports(clock, lambda: 0.5, self.keep, self.wires.transport, telemetry, no_cache)
        self.directory = Directory(loaded, ports, self.wires, self.unknown)

    def route(self, authority: str, path: str = "/x") -> tuple[str, str, str]:
        """(provider, route, upstream) of a GET to a host."""
        routes = self.directory.by_host(authority.encode())
        assert routes is not None
        found = routes.pipeline("GET", path.encode())
        return found.provider, found.route, found.upstream


SHOP = {
    "provider": "shop",
    "hosts": ["shop.example", "files.shop.example:8443"],
    "routes": [{"name": "item", "match": {"path": "/items/{id}"}}],
}
WILD = {"provider": "wild", "hosts": ["*.wild.example"]}
FIXED = {"provider": "fixed", "hosts": ["*.fixed.example", "fixed.example"], "upstream": "http://10.0.0.7:8080"}


def test_a_host_leads_to_itself_and_a_name_to_the_first_host(tmp_path: Path) -> None:
    town = Town(tmp_path, SHOP)

    assert town.route("shop.example") == ("shop", "-", "shop.example")
    assert town.route("SHOP.example:80", "/items/7") == ("shop", "item", "shop.example")
    assert town.route("files.shop.example:8443") == ("shop", "-", "files.shop.example:8443")
    routes = town.directory.by_name(b"shop")
    assert routes is not None
    assert routes.pipeline("GET", b"/items/7").upstream == "shop.example"
    assert town.directory.by_name(b"nobody") is None
    assert town.directory.by_host(b"nobody.example") is None


def test_a_pipeline_is_compiled_once(tmp_path: Path) -> None:
    town = Town(tmp_path, SHOP)

    assert town.route("shop.example") == town.route("shop.example")
    assert town.wires.asked == [("shop", "https://shop.example", False)]


def test_an_upstream_that_is_written_takes_every_host(tmp_path: Path) -> None:
    town = Town(tmp_path, FIXED)

    assert {town.route(host)[2] for host in ("a.fixed.example", "fixed.example")} == {"10.0.0.7:8080"}
    assert town.wires.asked == [("fixed", "http://10.0.0.7:8080", True)]


def test_a_wildcard_leads_to_the_host_that_was_asked_for_and_to_no_inner_address(tmp_path: Path) -> None:
    town = Town(tmp_path, WILD)

    assert town.route("EU1.wild.example:443") == ("wild", "-", "eu1.wild.example")
    assert town.wires.asked == [("wild", "https://eu1.wild.example", False)]
    with pytest.raises(ClientError) as caught:
        town.directory.by_name(b"wild")
    assert caught.value.reason is Reason.UNKNOWN_PROVIDER


def test_a_wildcards_host_that_is_no_name_is_refused(tmp_path: Path) -> None:
    town = Town(tmp_path, WILD)

    with pytest.raises(ClientError) as caught:
        town.directory.by_host(b"-.-.wild.example")
    assert caught.value.reason is Reason.BAD_REQUEST


def test_hosts_below_a_wildcard_are_remembered_up_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WILDCARD_HOSTS", 2)
    town = Town(tmp_path, WILD)

    for host in ("a", "b", "a", "c", "a", "b"):
        town.route(f"{host}.wild.example")
    assert [origin[-14:] for _, origin, _ in town.wires.asked] == [f"{host}.wild.example" for host in "abcb"]


def test_an_unknown_host_is_carried_as_it_came_and_counted(tmp_path: Path) -> None:
    town = Town(tmp_path)
    plain = town.directory.unknown("a.example", 80, False)
    town.directory.unknown("a.example", 80, False)
    secure = town.directory.unknown("b.example", 80, True)
    port = town.directory.unknown("[2001:db8::1]", 443, False)

    assert plain is not None
    assert secure is not None
    assert port is not None
    assert (plain.provider, plain.route, plain.upstream) == ("-", "-", "a.example")
    assert [(origin, named) for _, origin, named in town.wires.asked] == [
        ("http://a.example", False),
        ("https://b.example:80", False),
        ("https://[2001:db8::1]", False),
    ]
    rows = town.unknown.as_json()
    assert [(row["host"], row["calls"], row["allowed"]) for row in rows] == [
        ("[2001:db8::1]", 1, True),
        ("b.example", 1, True),
        ("a.example", 2, True),
    ]


@pytest.mark.parametrize(("egress", "port"), [({"unknown": "deny"}, 443), ({"unknown": "allow"}, 25)])
def test_an_unknown_host_is_denied_by_rule_or_by_port(tmp_path: Path, egress: dict[str, Any], port: int) -> None:
    town = Town(tmp_path, egress=egress)

    assert town.directory.unknown("a.example", port, False) is None
    assert [(row["port"], row["allowed"]) for row in town.unknown.as_json()] == [(port, False)]


def test_an_unknown_hosts_call_meets_no_step_that_changes_its_fate(tmp_path: Path) -> None:
    town = Town(tmp_path)
    town.directory.unknown("a.example", 443, True)

    assert list(town.keep.circuits()) == []
    assert list(town.keep.limiters()) == []


def test_unknown_hosts_are_remembered_up_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_HOSTS", 2)
    town = Town(tmp_path)

    for host in ("a", "b", "a", "c", "a"):
        assert town.directory.unknown(f"{host}.example", 443, True) is not None
    assert len(town.wires.asked) == 3
    assert town.wires.tidied == 1


def test_warming_compiles_all_that_has_a_name(tmp_path: Path) -> None:
    town = Town(tmp_path, SHOP, WILD)
    steps = sum(1 for _ in town.directory.warm())

    assert steps == 2
    assert {(provider, scope) for provider, scope, _ in town.keep.circuits()} == {("shop", "-"), ("shop", "item")}
    assert sum(1 for _ in town.directory.warm()) == 0
