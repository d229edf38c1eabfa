"""The process from outside, where it is about policies: a first start without fit ones, ConfigMaps that are swapped."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.policy.documents import ConfigMap
from tests.test_daemon import RELOAD_S, Run, Start, start, until, upstream, write_policy

__all__ = ["start", "upstream"]  # Fixtures.

WAIT = ("--unfit-policies", "wait")
NOT_SERVED = "the policies are not fit, and nothing is served until they are"


def shop(upstream: ThreadingHTTPServer, name: str = "shop", **keys: object) -> str:
    policy = {
        "provider": name,
        "hosts": [f"{name}.example"],
        "upstream": f"http://127.0.0.1:{upstream.server_port}",
        **keys,
    }
    return json.dumps(policy)


def unready(run: Run, *said: str) -> None:
    """Alive, neither started nor ready, and it says why."""
    assert run.ask("admin", "/livez")[0] == 200
    for path in ("/startupz?verbose", "/readyz?verbose"):
        status, body = run.ask("admin", path)
        assert status == 503
        check = json.loads(body)["checks"][0]
        assert (check["name"], check["ok"]) == ("policies", False)
        assert all(words in check["detail"] for words in said), check["detail"]


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return f"127.0.0.1:{found.getsockname()[1]}"


def asked(address: str, method: str, target: str) -> tuple[int, Any]:
    connection = HTTPConnection(address, timeout=20)
    try:
        connection.request(method, target)
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()


# A first start without fit policies.


def test_a_broken_policy_is_waited_for_and_nothing_passes_meanwhile(
    start: Start, tmp_path: Path, upstream: ThreadingHTTPServer
) -> None:
    listen = free_port()
    good = write_policy(tmp_path / "policies", upstream, "books")
    bad = tmp_path / "policies" / "bad.yaml"
    bad.write_text("provider: bad\nhosts: [bad.example]\nnope: 1\n")
    run = start(*WAIT, "--listen", listen)

    unready(run, f"{bad}:3:1: nope: expected ", "no policies are in force yet")
    policies = run.admin("/policies")
    assert (policies["providers"], policies["loaded_at"]) == ([], None)
    assert policies["errors"][0]["line"] == 3
    assert str(good) in [file["path"] for file in policies["files"]]
    for method, target in (
        ("GET", "/books/x"),
        ("GET", "http://books.example/x"),
        ("GET", "http://unknown.example/"),
        ("CONNECT", "unknown.example:443"),
    ):
        status, problem = asked(listen, method, target)
        assert (status, problem["reason"], problem["attempts"]) == (503, "starting", 0)
    assert run.said("listening")[0]["listener"] == "admin"
    assert len(run.said("listening")) == 1

    bad.unlink()
    mended_s = time.monotonic()
    assert until(lambda: run.ask("admin", "/readyz")[0] == 200)
    assert time.monotonic() - mended_s < RELOAD_S
    assert run.admin("/startupz") == {"status": "started"}
    assert run.call("/books/x") == (200, b"/x")
    assert run.address("calls") == listen
    assert until(lambda: {row["scope"] for row in run.admin("/breakers")["breakers"]}) >= {"-"}
    assert len(run.said(NOT_SERVED)) == 1


@pytest.mark.parametrize("there", ["missing", "empty", "empty-configmap"])
def test_policies_that_are_not_there_are_waited_for(
    start: Start, tmp_path: Path, upstream: ThreadingHTTPServer, there: str
) -> None:
    directory = tmp_path / "mount"
    if there != "missing":
        directory.mkdir()
    if there == "empty-configmap":
        ConfigMap(directory).publish()
    run = start(*WAIT, "--policies", str(directory))
    unready(run, str(directory), "mounted" if there == "missing" else "an empty directory")
    if there == "empty-configmap":
        unready(run, "is the ConfigMap there")

    mount = ConfigMap(directory)
    mount._version = 1
    mount.publish(shop=shop(upstream))
    mended_s = time.monotonic()
    assert until(lambda: run.ask("admin", "/readyz")[0] == 200)
    assert time.monotonic() - mended_s < RELOAD_S
    assert run.call("/shop/x") == (200, b"/x")


def test_what_waits_says_once_a_change_what_is_wrong(start: Start, tmp_path: Path) -> None:
    bad = tmp_path / "policies" / "bad.yaml"
    nope = "provider: bad\nhosts: [bad.example]\n{}nope: 1\n"
    bad.write_text(nope.format(""))
    run = start(*WAIT)
    unready(run, f"{bad}:3:1: nope")
    # Between two changes there are looks that find none.
    for line in (4, 5):
        bad.write_text(nope.format("\n" * (line - 3)))
        until(lambda line=line: run.admin("/policies")["errors"][0]["line"] == line)  # type: ignore[misc]

    run.process.terminate()
    assert run.ended() == 0
    assert [line["problems"][0].split(":")[1] for line in run.said(NOT_SERVED)] == ["3", "4", "5"]


def test_what_waits_has_its_metrics(start: Start, tmp_path: Path) -> None:
    (tmp_path / "policies" / "bad.yaml").write_text("nope: 1\n")
    run = start(*WAIT)
    text = until(lambda: (found := run.ask("admin", "/metrics")[1]) and b"sidecar_policy_problems" in found and found)
    assert b"sidecar_policy_problems 0" not in text
    assert b"sidecar_policy_age_seconds " not in text
    assert b'sidecar_policy_reloads_total{sidecar_result="failed"} 1.0' in text


@pytest.mark.parametrize("how", ["SIGHUP", "POST"])
def test_what_waits_can_be_asked_to_look(start: Start, tmp_path: Path, upstream: ThreadingHTTPServer, how: str) -> None:
    run = start(*WAIT, "--policies", str(tmp_path / "mount"))
    unready(run)
    assert run.ask("admin", "/policies/reload", "POST")[0] == 422
    write_policy(tmp_path / "mount", upstream, "books")
    if how == "SIGHUP":
        run.process.send_signal(signal.SIGHUP)
    else:
        assert run.ask("admin", "/policies/reload", "POST")[0] == 200
    assert until(lambda: run.ask("admin", "/readyz")[0] == 200)
    assert run.call("/books/x")[0] == 200


def test_what_was_mended_opens_https_as_any_start_does(
    start: Start, tmp_path: Path, upstream: ThreadingHTTPServer
) -> None:
    run = start(*WAIT, "--policies", str(tmp_path / "mount"), "--ca-dir", str(tmp_path / "ca"))
    unready(run)
    assert not (tmp_path / "ca").exists()
    write_policy(tmp_path / "mount", upstream, cache={"ttl": "60s"})
    assert until(lambda: run.ask("admin", "/readyz")[0] == 200)
    assert (tmp_path / "ca" / "bundle.crt").is_file()
    assert run.admin("/authority")["kind"] == "own"
    assert run.call("/shop/x")[0] == 200
    assert until(lambda: run.admin("/cache")["entries"])
    calls, admin = run.said("listening")[1], run.said("listening")[0]
    assert (admin["listener"], calls["listener"]) == ("admin", "calls")
    assert run.lines.index(run.said("HTTPS is opened")[0]) < run.lines.index(calls)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_waits_ends_at_once(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    run = start(*WAIT, "--policies", str(tmp_path / "mount"), "--drain", "1h")
    unready(run)
    run.process.send_signal(number)
    assert run.ended() == 0
    assert run.said("draining") == []
    assert run.said("stopped")[0]["signal"] == number.name


def test_what_has_waited_drains_as_any_other(start: Start, tmp_path: Path, upstream: ThreadingHTTPServer) -> None:
    run = start(*WAIT, "--policies", str(tmp_path / "mount"), "--drain", "1h")
    unready(run)
    write_policy(tmp_path / "mount", upstream)
    assert until(lambda: run.ask("admin", "/readyz")[0] == 200)
    run.process.terminate()
    until(lambda: run.said("draining"))
    assert run.call("/shop/x")[0] == 200
    run.process.terminate()
    assert run.ended() == 128 + signal.SIGTERM


def test_with_fit_policies_there_is_nothing_to_wait_for(start: Start) -> None:
    run = start(environ={"SIDECAR_UNFIT_POLICIES": "wait"})
    assert run.call("/shop/x") == (200, b"/x")
    assert [line["listener"] for line in run.said("listening")] == ["calls", "admin"]


def test_after_a_restart_the_last_good_policies_serve_whatever_is_mounted(
    start: Start, tmp_path: Path, upstream: ThreadingHTTPServer
) -> None:
    state = ("--state", str(tmp_path / "state"))
    first = start(*WAIT, *state)
    assert first.call("/shop/x")[0] == 200
    until((tmp_path / "state" / "policies.json").exists)
    first.process.kill()
    first.process.wait()
    bad = tmp_path / "policies" / "shop.yaml"
    good = bad.read_text()
    bad.write_text("provider: shop\nhosts: [shop.example]\nnope: 1\n")

    run = start(*WAIT, *state)
    assert run.call("/shop/x") == (200, b"/x")
    assert run.ask("admin", "/readyz")[0] == 200
    (error,) = run.admin("/policies")["errors"]
    assert (error["file"], error["line"]) == (str(bad), 3)
    assert [file["stale"] for file in run.admin("/policies")["files"]] == [True]
    bad.write_text(good)
    until(lambda: run.admin("/policies")["errors"] == [])


def test_what_served_from_other_paths_is_no_last_good_version(start: Start, tmp_path: Path) -> None:
    state = ("--state", str(tmp_path / "state"))
    start(*WAIT, *state).address("admin")
    until((tmp_path / "state" / "policies.json").exists)
    unready(start(*WAIT, *state, "--policies", str(tmp_path / "mount")), "no such file or directory")


# ConfigMaps.


class Callers:
    """Steady calls to several providers; what was answered, in order of the answers."""

    def __init__(self, run: Run, *providers: str) -> None:
        self.answers: list[tuple[str, int]] = []
        self._over = threading.Event()
        self._address = run.address("calls")
        self._threads = [threading.Thread(target=self._call, args=(provider,)) for provider in providers]

    def _call(self, provider: str) -> None:
        connection = HTTPConnection(self._address, timeout=20)
        while not self._over.is_set():
            connection.request("GET", f"/{provider}/x")
            reply = connection.getresponse()
            reply.read()
            self.answers.append((provider, reply.status))
        connection.close()

    @contextmanager
    def calling(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in self._threads:
                thread.join(20)


def test_swaps_under_steady_calls_fail_none_and_mix_nothing(
    start: Start, tmp_path: Path, upstream: ThreadingHTTPServer
) -> None:
    mount = ConfigMap(tmp_path / "mount")

    def files(version: int) -> dict[str, str]:
        """Every file names its version, and one file is of this version alone."""
        about = {"about": {"owner": f"v{version}"}}
        names = ("shop", "books", f"only{version}")
        return {name: shop(upstream, name, **about) for name in names}

    mount.publish(**files(0))
    run = start("--policies", str(mount.directory))
    callers = Callers(run, "shop", "books")
    seen: set[tuple[tuple[str, str], ...]] = set()

    def owners() -> dict[str, str]:
        found = {row["provider"]: row["owner"] for row in run.admin("/catalog")["providers"]}
        seen.add(tuple(sorted(found.items())))
        return found

    def whole(version: int) -> dict[str, str]:
        return dict.fromkeys(("books", f"only{version}", "shop"), f"v{version}")

    with callers.calling():
        for version in range(1, 5):
            for _ in mount.swap(**files(version)):
                owners()
            swapped_s = time.monotonic()
            assert until(lambda version=version: owners() == whole(version))  # type: ignore[misc]
            assert time.monotonic() - swapped_s < RELOAD_S
    assert len(callers.answers) > 50
    assert {status for _, status in callers.answers} == {200}
    assert seen == {tuple(sorted(whole(version).items())) for version in range(5)}
    assert run.said("some policies are not fit, and their last good versions stay in force") == []


def test_policies_of_two_configmaps_change_apart_and_outlive_their_deletion(
    start: Start, tmp_path: Path, upstream: ThreadingHTTPServer
) -> None:
    payments, mail = ConfigMap(tmp_path / "payments"), ConfigMap(tmp_path / "mail")
    payments.publish(shop=shop(upstream))
    mail.publish(books=shop(upstream, "books"))
    run = start(*WAIT, "--policies", str(payments.directory), "--policies", str(mail.directory))
    assert run.admin("/policies")["providers"] == ["books", "shop"]

    payments.publish()
    (error,) = until(lambda: run.admin("/policies")["errors"])
    assert (error["file"], error["got"]) == (str(payments.directory), "an empty directory")
    assert run.call("/shop/x")[0] == 200
    mail.publish(books=shop(upstream, "books"), more=shop(upstream, "more"))
    until(lambda: run.admin("/policies")["providers"] == ["books", "more", "shop"])
    payments.publish(shop=shop(upstream))
    until(lambda: run.admin("/policies")["errors"] == [])
    assert run.ask("admin", "/readyz")[0] == 200
