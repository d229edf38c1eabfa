"""The process from outside: `sidecar run` as a user starts it, its signals, its exit codes, its words."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from sidecar.policy.files import shipped_policies

RELOAD_S = 2.0
"""What the product promises."""
NOT_AT_START = (
    "cryptography",
    "ctypes",
    "google.protobuf",
    "multiprocessing",
    "opentelemetry",
    "prometheus_client",
    "pydantic.deprecated",
    "pydantic.v1",
    "requests",
    "sidecar.admin.openapi",
    "sidecar.cli.check",
    "sidecar.cli.explain",
    "sidecar.cli.schema",
    "sidecar.policy.effective",
    "sidecar.policy.schema",
    "sidecar.serving.lastgood",
    "sidecar.telemetry.otlp",
    "sidecar.telemetry.otlp_metrics",
    "sidecar.telemetry.otlp_spans",
    "sidecar.telemetry.prometheus",
    "sqlite3",
    "urllib3",
    "xml",
)
"""What takes megabytes or tenths of a second, and is imported by whoever first asks for what needs it."""
CLEAN = {name: value for name, value in os.environ.items() if not re.match("SIDECAR_|OTEL_|.*_proxy$", name, re.I)}


def until(condition: Callable[[], Any], within_s: float = 20.0) -> Any:
    """What `condition` gives once it is true; fails after `within_s`."""
    deadline_s = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline_s, "it did not come about"
        threading.Event().wait(0.01)
    return found


class Upstream(BaseHTTPRequestHandler):
    """Answers `/slow` once the test lets it, everything else at once."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/slow":
            self.server.reached.set()  # type: ignore[attr-defined]
            self.server.gate.wait(30)  # type: ignore[attr-defined]
        body = self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def upstream() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    server.gate, server.reached = threading.Event(), threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.gate.set()  # type: ignore[attr-defined]
    server.shutdown()
    thread.join()
    server.server_close()


class Run:
    """One `sidecar run`, its output kept in files."""

    def __init__(self, home: Path, *flags: str, environ: dict[str, str] | None = None) -> None:
        self._out, self._err = home / "out", home / "err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sidecar", "run", *flags],
                cwd=home,
                env={
                    **CLEAN,
                    "SIDECAR_CA_DIR": "off",
                    "PYTHONPATH": str(Path(__file__).parent.parent),
                    **(environ or {}),
                },
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The whole log lines so far."""
        return [json.loads(line) for line in self.out.splitlines(keepends=True) if line.endswith("\n")]

    def said(self, message: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["message"] == message]

    def address(self, listener: str) -> str:
        """`host:port` from the line that says that it is ready."""

        def listening() -> list[dict[str, Any]]:
            assert self.process.poll() is None, self.out + self.err
            return [line for line in self.said("listening") if line["listener"] == listener]

        return urlsplit(until(listening)[0]["address"]).netloc

    def ask(self, listener: str, path: str, method: str = "GET", body: str | None = None) -> tuple[int, bytes]:
        connection = HTTPConnection(self.address(listener), timeout=20)
        try:
            connection.request(method, path, body)
            reply: HTTPResponse = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    def call(self, path: str) -> tuple[int, bytes]:
        return self.ask("calls", path)

    def admin(self, path: str, method: str = "GET", body: str | None = None) -> Any:
        return json.loads(self.ask("admin", path, method, body)[1])

    def ended(self, within_s: float = 20.0) -> int:
        return self.process.wait(within_s)


Start = Callable[..., Run]


@pytest.fixture
def start(tmp_path: Path, upstream: ThreadingHTTPServer) -> Iterator[Start]:
    """Starts daemons on free ports with a policy `shop` in `policies/`; their last words are checked."""
    runs: list[Run] = []
    write_policy(tmp_path / "policies", upstream)

    def begin(*flags: str, environ: dict[str, str] | None = None) -> Run:
        home = tmp_path / f"run{len(runs)}"
        home.mkdir()
        ports = [] if "--listen" in flags else ["--listen", "127.0.0.1:0"]
        ports += [] if "--admin" in flags else ["--admin", "127.0.0.1:0"]
        policies = [] if "--policies" in flags else ["--policies", str(tmp_path / "policies")]
        drain = [] if "--drain" in flags else ["--drain", "0s"]
        runs.append(Run(home, *ports, *policies, *drain, *flags, environ=environ))
        return runs[-1]

    yield begin
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()
        assert "Traceback" not in run.out + run.err


def write_policy(directory: Path, upstream: ThreadingHTTPServer, name: str = "shop", **keys: object) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    policy = {
        "provider": name,
        "hosts": [f"{name}.example"],
        "upstream": f"http://127.0.0.1:{upstream.server_port}",
        "routes": [{"name": "slow", "match": {"path": "/slow"}}],
        **keys,
    }
    path = directory / f"{name}.yaml"
    # JSON is YAML.
    path.write_text(json.dumps(policy))
    return path


def refused(start: Start, *flags: str, environ: dict[str, str] | None = None) -> str:
    """The one line of a start that must not succeed."""
    run = start(*flags, environ=environ)
    assert run.ended() == 2
    assert run.out == ""
    assert run.err.startswith("sidecar: ")
    assert run.err.count("\n") == 1
    return run.err


# Starting.


def test_it_says_where_it_listens_and_serves(start: Start) -> None:
    run = start()

    assert run.call("/shop/hello?x=1") == (200, b"/hello?x=1")
    assert run.admin("/readyz") == {"status": "ready"}
    assert run.admin("/startupz") == {"status": "started"}
    assert run.admin("/policies")["providers"] == ["shop"]
    assert run.err == ""
    assert {line["listener"] for line in run.said("listening")} == {"calls", "admin"}


@pytest.mark.parametrize("ca_dir", ["off", "ca"])
def test_it_imports_nothing_that_its_settings_do_not_use(start: Start, ca_dir: str) -> None:
    """With an authority, too, whose key nobody has needed yet: a child has made it."""
    run = start("--policies", str(shipped_policies()), "--ca-dir", ca_dir, environ={"PYTHONPROFILEIMPORTTIME": "1"})

    assert run.admin("/readyz") == {"status": "ready"}
    imported = {line.rpartition("|")[2].strip() for line in run.err.splitlines() if line.startswith("import time:")}
    assert {"sidecar.daemon", "sidecar.policy.model", "aiohttp.web"} <= imported
    assert {name for name in imported if f"{name}.".startswith(tuple(f"{late}." for late in NOT_AT_START))} == set()


def test_every_admin_path_answers_from_the_real_parts(start: Start) -> None:
    run = start()
    run.call("/shop/hello")

    def served() -> Any:
        return run.admin("/calls?provider=shop")["calls"]

    assert until(served)[0]["outcome"] == "ok"
    assert {row["scope"] for row in until(lambda: run.admin("/breakers")["breakers"])} >= {"-"}
    assert run.admin("/limits") == {"limits": []}
    assert run.admin("/unknown") == {"unknown": []}
    assert run.admin("/authority")["kind"] is None
    assert run.admin("/catalog")["providers"][0]["status"] == "operational"
    status, metrics = run.ask("admin", "/metrics")
    assert status == 200
    assert b'sidecar_calls_total{sidecar_mode="reverse",sidecar_outcome="ok",sidecar_provider="shop"' in metrics
    for name in (b"sidecar_policy_age", b"sidecar_policy_problems", b"sidecar_connections", b"sidecar_breaker_state"):
        assert name in metrics


def test_a_breaker_is_opened_by_hand_and_let_go(start: Start) -> None:
    run = start()
    assert run.call("/shop/hello")[0] == 200

    change = run.admin("/breakers/shop/-", "POST", '{"state": "forced-open", "for": "10m"}')
    assert change["state"] == "forced-open"
    assert run.call("/shop/hello")[0] == 503
    until(lambda: run.said("a breaker was set by hand"))
    run.admin("/breakers/shop/-", "POST", '{"state": "auto"}')
    assert run.call("/shop/hello")[0] == 200


def test_a_host_without_a_policy_is_listed(start: Start, tmp_path: Path) -> None:
    (tmp_path / "policies" / "defaults.yaml").write_text("egress: {unknown: deny}\n")
    run = start()
    connection = HTTPConnection(run.address("calls"), timeout=20)
    connection.request("GET", "http://nowhere.example/x")
    assert connection.getresponse().status == 403
    connection.close()

    (row,) = run.admin("/unknown")["unknown"]
    assert (row["host"], row["calls"], row["allowed"]) == ("nowhere.example", 1, False)


def test_the_shipped_policies_are_served_when_none_are_named(tmp_path: Path) -> None:
    run = Run(tmp_path, environ={"SIDECAR_LISTEN": "127.0.0.1:0", "SIDECAR_ADMIN": "[::1]:0", "SIDECAR_DRAIN": "0s"})
    try:
        assert run.address("admin").startswith("[::1]:")
        assert {"stripe", "sendgrid", "salesforce", "hubspot"} <= set(run.admin("/policies")["providers"])
        assert (tmp_path / ".sidecar").is_dir()
    finally:
        run.process.terminate()
        assert run.ended() == 0


def test_on_a_terminal_the_lines_are_for_reading(tmp_path: Path, start: Start) -> None:
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "sidecar", "run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
    process = subprocess.Popen(
        [*command, "--drain", "0s"],
        cwd=tmp_path,
        env=CLEAN | {"SIDECAR_CA_DIR": "off"},
        stdout=follower,
        stdin=follower,
    )
    os.close(follower)
    seen = b""
    while b"listener=admin" not in seen:
        seen += os.read(leader, 4096)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    os.close(leader)
    assert re.search(rb"^\d\d:\d\d:\d\d info +listening +listener=calls  address=http://127\.0\.0\.1:\d+\r\n", seen)


# Starts that must not succeed.


@pytest.mark.parametrize(
    ("flags", "environ", "said"),
    [
        (["--drain", "5"], {}, "--drain / SIDECAR_DRAIN: expected a duration"),
        ([], {"SIDECAR_POOL_SIZE": "many"}, "--pool-size / SIDECAR_POOL_SIZE: expected a whole number"),
        (["--nothing"], {}, "No such option '--nothing'"),
        ([], {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector"}, "OTEL_EXPORTER_OTLP_ENDPOINT"),
        (["--policies", "/nowhere/at/all"], {}, "got '/nowhere/at/all' (no such file or directory)"),
        (["--state", "/dev/null/state"], {}, "--state / SIDECAR_STATE: expected a directory that can be written"),
        (["--listen", "203.0.113.1:7600"], {}, "--listen / SIDECAR_LISTEN"),
        (["--admin", "203.0.113.1:7600"], {}, "--admin / SIDECAR_ADMIN"),
        (["--listen", "no-such-host.invalid:7600"], {}, "--listen / SIDECAR_LISTEN"),
        (["--admin", "no-such-host.invalid:7600"], {}, "--admin / SIDECAR_ADMIN"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(
    start: Start, flags: list[str], environ: dict[str, str], said: str
) -> None:
    assert said in refused(start, *flags, environ=environ)


@pytest.mark.parametrize(("flag", "variable"), [("--listen", "SIDECAR_LISTEN"), ("--admin", "SIDECAR_ADMIN")])
def test_a_port_in_use_is_told_in_one_line(start: Start, flag: str, variable: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        said = refused(start, flag, address)

    assert f"{flag} / {variable}" in said
    assert f"got '{address}' (address already in use)" in said


def exploding() -> bytes:
    """A few lines that unfold to 9^10 values."""
    lines = [b"a: &a [x, x, x, x, x, x, x, x, x]"]
    for before, name in pairwise("abcdefghij"):
        aliases = ", ".join([f"*{before}"] * 9)
        lines.append(f"{name}: &{name} [{aliases}]".encode())
    return b"\n".join(lines)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"provider: shop\nretries: 3\nhosts: [a.example]\n", "bad.yaml:2:1: "),
        (b"provider: [\n", "bad.yaml:"),
        (b"\xff\xfe\x00", "UTF-8"),
        (exploding(), "bad.yaml"),
        (b"x" * (101 * 1024 * 1024), "bad.yaml"),
        (b"".join(b"key%d: 1\n" % n for n in range(1000)), '"key999"'),
    ],
    ids=["unknown-key", "syntax", "not-utf-8", "exploding-anchors", "100-MiB", "1000-errors"],
)
def test_a_policy_that_is_not_fit_stops_the_start(start: Start, tmp_path: Path, content: bytes, said: str) -> None:
    bad = tmp_path / "bad" / "bad.yaml"
    bad.parent.mkdir()
    bad.write_bytes(content)
    run = start("--policies", str(bad.parent))

    assert run.ended() == 2
    assert said in run.err
    assert run.err.splitlines()[-1].startswith("sidecar: the policies have ")
    assert run.out == ""


def test_all_problems_of_all_files_are_told_at_once(start: Start, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / "policies" / f"{name}.yaml").write_text(f"provider: {name}\nhosts: [{name}.example]\nnope: 1\n")
    run = start()

    assert run.ended() == 2
    assert "one.yaml:3:1" in run.err
    assert "two.yaml:3:1" in run.err


# Reloading.


def reloaded(run: Run, *providers: str, within_s: float = RELOAD_S + 3) -> None:
    until(lambda: run.admin("/policies")["providers"] == sorted(providers), within_s)


def test_a_configmaps_swap_takes_effect_in_time(start: Start, tmp_path: Path, upstream: ThreadingHTTPServer) -> None:
    mount = tmp_path / "mount"
    write_policy(mount / "..v1", upstream)
    write_policy(mount / "..v2", upstream)
    write_policy(mount / "..v2", upstream, "books")
    (mount / "..data").symlink_to("..v1")
    (mount / "shop.yaml").symlink_to("..data/shop.yaml")
    run = start("--policies", str(mount))
    before = run.admin("/policies")
    assert run.call("/books/x")[0] == 404

    (mount / "..fresh").symlink_to("..v2")
    (mount / "..fresh").rename(mount / "..data")
    (mount / "books.yaml").symlink_to("..data/books.yaml")
    swapped_s = time.monotonic()
    until(lambda: run.call("/books/x")[0] == 200)
    assert time.monotonic() - swapped_s < RELOAD_S
    after = run.admin("/policies")
    assert after["digest"] != before["digest"]
    assert after["age_s"] < before["age_s"] + RELOAD_S
    shutil.rmtree(mount / "..v1")
    assert run.call("/shop/x")[0] == 200


@pytest.mark.parametrize("how", ["SIGHUP", "POST"])
def test_a_reload_can_be_asked_for(start: Start, tmp_path: Path, upstream: ThreadingHTTPServer, how: str) -> None:
    run = start()
    run.address("admin")
    write_policy(tmp_path / "policies", upstream, "books")

    if how == "SIGHUP":
        run.process.send_signal(signal.SIGHUP)
        reloaded(run, "books", "shop")
    else:
        assert run.admin("/policies/reload", "POST")["providers"] == ["books", "shop"]


def test_a_broken_policy_replaces_nothing_and_a_good_one_is_taken_up_afterwards(
    start: Start, tmp_path: Path, upstream: ThreadingHTTPServer
) -> None:
    run = start()
    run.address("admin")
    path = tmp_path / "policies" / "shop.yaml"
    good = path.read_text()
    path.write_text("provider: shop\nhosts: [shop.example]\nretry: {attempts: many}\n")

    errors = until(lambda: run.admin("/policies")["errors"])
    assert (errors[0]["file"], errors[0]["line"]) == (str(path), 3)
    assert run.call("/shop/x")[0] == 200
    assert run.ask("admin", "/readyz")[0] == 200
    assert run.ask("admin", "/policies/reload", "POST")[0] == 422
    assert b"sidecar_policy_problems 1.0" in until(
        lambda: (text := run.ask("admin", "/metrics")[1]) and b"sidecar_policy_problems" in text and text
    )
    line = until(lambda: run.said("some policies are not fit, and their last good versions stay in force"))[0]
    assert str(path) in line["problems"][0]

    write_policy(tmp_path / "policies", upstream, "books")
    path.write_text(good)
    reloaded(run, "books", "shop")
    until(lambda: run.admin("/policies")["errors"] == [])
    assert run.admin("/policies")["failed_at"] is None


def test_the_problem_is_logged_once_a_change(start: Start, tmp_path: Path) -> None:
    run = start()
    run.address("admin")
    (tmp_path / "policies" / "shop.yaml").write_text("provider: shop\nnope: 1\n")
    until(lambda: run.admin("/policies")["errors"])
    # Two more looks, which another change proves to be over.
    (tmp_path / "policies" / "books.yaml").write_text("provider: books\nhosts: [books.example]\n")
    reloaded(run, "books", "shop")

    run.process.terminate()
    assert run.ended() == 0
    assert len(run.said("some policies are not fit, and their last good versions stay in force")) == 2


def test_a_directory_that_vanishes_keeps_its_policies_and_may_come_back(
    start: Start, tmp_path: Path, upstream: ThreadingHTTPServer
) -> None:
    run = start()
    run.address("admin")
    (tmp_path / "policies").rename(tmp_path / "away")
    until(lambda: run.admin("/policies")["errors"])
    assert run.call("/shop/x")[0] == 200

    write_policy(tmp_path / "away", upstream, "books")
    (tmp_path / "away").rename(tmp_path / "policies")
    reloaded(run, "books", "shop")
    assert run.admin("/policies")["errors"] == []


def test_a_breaker_outlives_a_reload_and_a_call_in_flight_is_not_dropped(
    start: Start, tmp_path: Path, upstream: ThreadingHTTPServer
) -> None:
    run = start()
    run.call("/shop/x")
    run.admin("/breakers/shop/-", "POST", '{"state": "forced-open"}')
    results: list[tuple[int, bytes]] = []
    calling = threading.Thread(target=lambda: results.append(run.call("/shop/slow")))
    calling.start()
    assert upstream.reached.wait(20)  # type: ignore[attr-defined]

    write_policy(tmp_path / "policies", upstream, "books")
    write_policy(tmp_path / "policies", upstream, retry={"attempts": 2})
    reloaded(run, "books", "shop")
    upstream.gate.set()  # type: ignore[attr-defined]
    calling.join(20)

    assert results == [(200, b"/slow")]
    assert run.call("/shop/x")[0] == 503


# Stopping.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well(start: Start, number: signal.Signals) -> None:
    run = start()
    run.address("admin")
    run.process.send_signal(number)

    assert run.ended() == 0
    assert run.said("stopped")[0]["signal"] == number.name
    assert run.err == ""


def test_ctrl_c_during_the_start_ends_it_without_a_traceback(start: Start, tmp_path: Path) -> None:
    run = start()
    until((tmp_path / "run0" / ".sidecar").exists)
    run.process.send_signal(signal.SIGINT)

    assert run.ended() in (0, 130)
    assert run.err.strip() == ""


def test_a_drain_is_unready_at_once_and_serves_on(start: Start) -> None:
    run = start("--drain", "3s")
    run.address("admin")
    run.process.send_signal(signal.SIGTERM)

    until(lambda: run.ask("admin", "/readyz")[0] == 503)
    signalled_s = time.monotonic()
    checks = {check["name"]: check for check in run.admin("/readyz?verbose")["checks"]}
    assert checks["drain"] == {"name": "drain", "ok": False, "detail": "stopping, because of SIGTERM"}
    assert run.call("/shop/x") == (200, b"/x")
    assert run.admin("/livez") == {"status": "ok"}
    assert run.ended() == 0
    assert time.monotonic() - signalled_s > 1.5


def test_sigint_does_not_wait_for_the_drain(start: Start) -> None:
    run = start("--drain", "1h")
    run.address("admin")
    run.process.send_signal(signal.SIGINT)

    assert run.ended() == 0


def test_a_second_signal_ends_it_at_once(start: Start) -> None:
    run = start("--drain", "1h")
    run.address("admin")
    run.process.send_signal(signal.SIGTERM)
    until(lambda: run.said("draining"))
    run.process.send_signal(signal.SIGTERM)

    assert run.ended() == 128 + signal.SIGTERM


@pytest.mark.parametrize(("grace", "finished"), [("30s", True), ("100ms", False)])
def test_calls_in_flight_finish_within_the_grace(
    start: Start, upstream: ThreadingHTTPServer, grace: str, finished: bool
) -> None:
    run = start("--grace", grace)
    results: list[tuple[int, bytes] | str] = []

    def call() -> None:
        try:
            results.append(run.call("/shop/slow"))
        except (OSError, EOFError) as error:
            results.append(type(error).__name__)

    calling = threading.Thread(target=call)
    calling.start()
    assert upstream.reached.wait(20)  # type: ignore[attr-defined]
    run.process.send_signal(signal.SIGTERM)
    until(lambda: run.said("stopping"))
    assert run.said("stopping")[0]["count"] == 1
    if finished:
        upstream.gate.set()  # type: ignore[attr-defined]
    calling.join(20)

    assert run.ended() == 0
    assert (results == [(200, b"/slow")]) is finished


def test_sigusr1_writes_the_state_to_the_log(start: Start) -> None:
    run = start()
    run.call("/shop/x")
    run.process.send_signal(signal.SIGUSR1)

    (line,) = until(lambda: [line for line in run.said("state: breaker") if line["scope"] == "-"])
    assert line["provider"] == "shop"
    assert "'state': 'closed'" in line["state"]
    assert until(lambda: run.said("state: policies"))[0]["digest"] == run.admin("/policies")["digest"]


def test_the_limit_on_open_files_is_raised(start: Start) -> None:
    run = start()
    run.address("admin")
    limits = Path(f"/proc/{run.process.pid}/limits").read_text()
    soft, hard = re.search(r"Max open files +(\d+) +(\d+)", limits).groups()  # type: ignore[union-attr]

    assert soft == hard
