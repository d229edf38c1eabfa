"""`sidecar doctor` where a program can really get around: in a network namespace, at a provider's own address."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.clients.doctored import ADDRESS
from tests.clients.namespace import in_namespace, need_namespaces
from tests.real import need
from tests.wire.daemon import ROOT


@pytest.fixture(scope="module")
def told() -> Any:
    for part in ("unshare", "ip", "nft"):
        need(part)
    need_namespaces()
    command = in_namespace(sys.executable, "-m", "tests.clients.doctored")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def calls(report: Any) -> list[tuple[list[str], str, int]]:
    return [(row["hosts"], row["mode"], row["calls"]) for row in report["through"]]


def test_what_reads_the_variables_goes_through(told: Any) -> None:
    assert calls(told["through"]) == [(["shop.example"], "forward", 1)]
    assert told["through"]["around"] == []
    assert told["through"]["hints"] == []


def test_what_reads_none_gets_around_and_is_named(told: Any) -> None:
    report = told["around"]
    assert calls(report) == []
    (row,) = report["around"]
    assert (row["host"], row["address"], row["port"], row["connections"]) == ("shop.example", ADDRESS, 80, 1)
    assert "trust_env=True" in report["hints"][0]


def test_a_redirected_connection_goes_through_though_it_shows_the_address_that_was_dialled(told: Any) -> None:
    assert calls(told["redirected"]) == [(["shop.example"], "transparent", 1)]
    assert told["redirected"]["around"] == []


def test_without_the_rules_it_gets_around(told: Any) -> None:
    assert [row["host"] for row in told["astray"]["around"]] == ["shop.example"]
    assert "not redirected" in told["astray"]["hints"][0]
