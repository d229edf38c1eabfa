"""Life and death: what a kill leaves, what a full volume does, and whom a SIGTERM cuts off (nobody)."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any

import pytest

from tests.providers import Stage
from tests.real import lacking, need
from tests.test_daemon import CLEAN, until

ROOT = Path(__file__).parent.parent
CALLS = 10_000
CONNECTIONS = 64
BREAKER = {"breaker": {"consecutive": 2, "open": {"base": "10m", "cap": "10m"}}, "retry": False}


class Shop(asyncio.Protocol):
    """A provider as fast as can be: every head is answered at once, with `answer`."""

    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    heads = 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._read = b""

    def data_received(self, data: bytes) -> None:
        self._read += data
        count = self._read.count(b"\r\n\r\n")
        self._read = self._read.rpartition(b"\r\n\r\n")[2]
        type(self).heads += count
        self._transport.write(self.answer * count)


@pytest.fixture
def shop() -> Iterator[tuple[type[Shop], int]]:
    """The provider, and its port."""

    class Own(Shop):
        pass

    async def start() -> asyncio.Server:
        return await asyncio.get_running_loop().create_server(Own, "127.0.0.1", 0, backlog=1024)

    async def stop(server: asyncio.Server) -> None:
        server.close()

    stage = Stage()
    server = stage.run(start())
    yield Own, server.sockets[0].getsockname()[1]
    stage.run(stop(server))
    stage.close()


class Pod:
    """One sidecar container, on addresses that stay the same when it is started again."""

    def __init__(self, home: Path, provider_port: int) -> None:
        self.home = home
        self.state = home / "state"
        self.policies = home / "policies"
        self.policies.mkdir()
        self.provider_port = provider_port
        self.port, self.admin_port = _free_ports(2)
        self.processes: list[subprocess.Popen[bytes]] = []
        self.flags: list[str] = ["--ca-dir", "off", "--drain", "0s"]
        self.write_policy()

    def write_policy(self, name: str = "shop", **keys: object) -> None:
        policy = {"provider": name, "hosts": [f"{name}.example"], "upstream": f"http://127.0.0.1:{self.provider_port}"}
        (self.policies / f"{name}.yaml").write_text(json.dumps({**policy, **keys}))

    def start(self, *flags: str, within: tuple[str, ...] = (), ports: tuple[int, int] | None = None) -> None:
        """Start it, with `within` before its command line; it is ready when this returns."""
        port, admin_port = ports or (self.port, self.admin_port)
        command = [*within, sys.executable, "-m", "sidecar", "run", "--listen", f"127.0.0.1:{port}"]
        command += ["--admin", f"127.0.0.1:{admin_port}", "--policies", str(self.policies), "--state", str(self.state)]
        log = (self.home / f"log{len(self.processes)}").open("wb")
        with log:
            self.processes.append(
                subprocess.Popen(
                    [*command, *self.flags, *flags],
                    env={**CLEAN, "PYTHONPATH": str(ROOT)},
                    cwd=self.home,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            )
        until(lambda: self._is_ready(admin_port))

    def _is_ready(self, admin_port: int) -> bool:
        assert self.process.poll() is None, self.log
        try:
            return self.ask(admin_port, "/readyz")[0] == 200
        except OSError:
            return False

    @property
    def process(self) -> subprocess.Popen[bytes]:
        return self.processes[-1]

    @property
    def log(self) -> str:
        return (self.home / f"log{len(self.processes) - 1}").read_text()

    def said(self, message: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.splitlines(keepends=True) if line.endswith("\n")]
        return [line for line in lines if line["message"] == message]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(20)

    def ask(
        self, port: int, path: str, method: str = "GET", body: str | None = None, **headers: str
    ) -> tuple[int, bytes]:
        connection = HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request(method, path, body, headers)
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    def call(self, path: str = "/shop/x", **headers: str) -> int:
        return self.ask(self.port, path, **headers)[0]

    def admin(self, path: str, body: str | None = None) -> Any:
        return json.loads(self.ask(self.admin_port, path, "GET" if body is None else "POST", body)[1])

    def written(self) -> dict[str, Any]:
        """What the file of breakers holds, once it is there."""
        path = self.state / "breakers.json"
        content: dict[str, Any] = json.loads(until(lambda: path.exists() and path.read_bytes()))["memory"]
        return content


@pytest.fixture
def pod(tmp_path: Path, shop: tuple[type[Shop], int]) -> Iterator[Pod]:
    pod = Pod(tmp_path, shop[1])
    yield pod
    for process in pod.processes:
        if process.poll() is None:
            process.kill()
            process.wait()
    assert not [log for log in tmp_path.glob("log*") if "Traceback" in log.read_text()]


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


# A kill.


def test_a_breaker_that_was_open_is_open_after_a_kill(pod: Pod, shop: tuple[type[Shop], int]) -> None:
    pod.write_policy(**BREAKER)
    shop[0].answer = b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno"
    pod.start()
    assert [pod.call() for _ in range(3)] == [500, 500, 503]
    assert [row["state"] for row in pod.written()["breakers"]] == ["open"]
    pod.kill()
    heads = shop[0].heads
    pod.start()

    assert [pod.call() for _ in range(5)] == [503] * 5
    assert shop[0].heads == heads, "no call may reach the provider"
    (row,) = [row for row in pod.admin("/breakers")["breakers"] if row["state"] != "closed"]
    assert (row["provider"], row["history"][-1]["cause"]) == ("shop", "2 failures in a row")
    assert 450 < row["left_s"] < 600
    assert pod.said("breakers and limits go on as before the restart")[0]["count"] == 1
    assert not pod.said("a breaker changed its state"), "what has been is no news"


def test_what_was_forced_by_hand_stays_so(pod: Pod) -> None:
    pod.start()
    assert pod.call() == 200
    assert pod.admin("/breakers/shop/-", '{"state": "forced-open"}')["state"] == "forced-open"
    pod.written()
    pod.kill()
    pod.start()

    assert pod.call() == 503
    pod.admin("/breakers/shop/-", '{"state": "forced-closed"}')
    assert pod.call() == 200


def test_a_provider_that_said_wait_is_not_asked_after_a_kill(pod: Pod, shop: tuple[type[Shop], int]) -> None:
    pod.write_policy(
        limit={"rate": "100/s", "learn": True}, breaker=False, retry={"attempts": 1, "hint": {"cap": "1h"}}
    )
    shop[0].answer = b"HTTP/1.1 429 Slow Down\r\nRetry-After: 600\r\nContent-Length: 2\r\n\r\nno"
    pod.start()
    assert pod.call() == 429
    assert pod.written()["limits"][0]["left_s"] > 500
    pod.kill()
    heads = shop[0].heads
    pod.start()

    assert pod.call() == 429
    assert shop[0].heads == heads


def test_each_credential_has_its_breaker_again_and_no_secret_is_in_any_file(
    pod: Pod, shop: tuple[type[Shop], int]
) -> None:
    pod.write_policy(breaker={**BREAKER["breaker"], "scope": "credential"}, retry=False)  # type: ignore[dict-item]
    pod.start()
    mine, other = {"Authorization": "Bearer sk_live_mine_4242"}, {"Authorization": "Bearer sk_live_other"}
    assert pod.call(**other) == 200
    shop[0].answer = b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno"
    assert [pod.call("/shop/x?token=tok_4242", **mine) for _ in range(3)] == [500, 500, 503]
    pod.written()
    pod.kill()
    pod.start()
    shop[0].answer = Shop.answer

    assert (pod.call(**mine), pod.call(**other)) == (503, 200)
    for file in pod.state.rglob("*"):
        content = file.read_bytes() if file.is_file() else b""
        assert b"4242" not in content or b"sk_live" not in content
        assert b"tok_4242" not in content
    assert b"sk_live" not in (pod.state / "breakers.json").read_bytes()


def test_a_file_that_cannot_be_read_does_not_keep_it_from_starting(pod: Pod) -> None:
    pod.state.mkdir()
    (pod.state / "breakers.json").write_bytes(b"\0" * 4096)
    pod.start()

    assert pod.call() == 200
    assert (pod.state / "breakers.json.corrupt").exists()
    assert (
        len(pod.said("what breakers knew before the restart cannot be used: it was set aside, and they start closed"))
        == 1
    )


def test_whoever_trusts_the_authority_still_does_after_a_kill(pod: Pod, tmp_path: Path) -> None:
    pod.flags = ["--ca-dir", str(tmp_path / "ca"), "--drain", "0s"]
    pod.write_policy(intercept="on")
    pod.start()
    before = shutil.copy(tmp_path / "ca" / "ca.crt", tmp_path / "read-by-the-application.crt")
    assert _call_opened(pod, Path(before)) == 200
    pod.kill()
    shutil.rmtree(tmp_path / "ca")
    pod.start()

    assert (tmp_path / "ca" / "ca.crt").read_bytes() == Path(before).read_bytes()
    assert _call_opened(pod, Path(before)) == 200


def _call_opened(pod: Pod, trusted: Path) -> int:
    connection = HTTPSConnection(
        "127.0.0.1", pod.port, timeout=20, context=ssl.create_default_context(cafile=str(trusted))
    )
    connection.set_tunnel("shop.example", 443)
    try:
        connection.request("GET", "/x")
        return connection.getresponse().status
    finally:
        connection.close()


def test_of_two_on_one_state_directory_the_second_says_so_and_serves(pod: Pod) -> None:
    pod.start()
    ports = _free_ports(2)
    pod.start(ports=(ports[0], ports[1]))

    assert pod.ask(ports[0], "/shop/x")[0] == 200
    (line,) = [line for line in pod.log.splitlines() if "another sidecar uses this state directory" in line]
    assert json.loads(line)["level"] == "warning"
    warnings = json.loads(pod.ask(ports[1], "/readyz?verbose")[1])["warnings"]
    assert {"name": "breakers.json", "detail": "another sidecar uses this state directory"} in warnings
    assert pod.admin("/readyz?verbose")["warnings"] == []


# A volume that fills up, or can be written no more.


@pytest.fixture
def volume(pod: Pod) -> tuple[Pod, Callable[..., None]]:
    """The pod with a small volume of its own for its state, and commands run where that is mounted."""
    unshare = [need("unshare"), "--mount", "--propagation", "private"]
    tried = subprocess.run([*unshare, "mount", "-t", "tmpfs", "tmpfs", str(pod.home)], capture_output=True, check=False)
    if tried.returncode != 0:
        lacking(f"no volume can be mounted here: {tried.stderr.decode().strip()}")
    pod.state.mkdir()
    script = f"mount -t tmpfs -o size=1M tmpfs '{pod.state}' && exec \"$@\""
    pod.start(within=(*unshare, "sh", "-c", script, "sh"))

    def run(*command: str) -> None:
        inside = [need("nsenter"), "--mount", f"--target={pod.process.pid}", "--", *command]
        subprocess.run(inside, check=True, capture_output=True, timeout=20)

    return pod, run


def fill(state: Path) -> tuple[str, ...]:
    return "sh", "-c", f"cat /dev/zero > '{state}/filler' 2>/dev/null || true"


def test_a_volume_that_fills_up_hurts_no_call(
    volume: tuple[Pod, Callable[..., None]], shop: tuple[type[Shop], int]
) -> None:
    pod, run = volume
    fresh = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 30000\r\n\r\n" + b"x" * 30_000
    shop[0].answer = fresh
    pod.write_policy(cache={"store": "shared"}, **BREAKER)
    assert pod.ask(pod.admin_port, "/policies/reload", "POST")[0] == 200
    assert pod.call("/shop/before") == 200
    run(*fill(pod.state))

    assert [pod.call(f"/shop/{number}") for number in range(30)] == [200] * 30
    pod.admin("/breakers/shop/-", '{"state": "forced-open"}')

    def warned() -> set[str]:
        return {row["name"] for row in pod.admin("/readyz?verbose")["warnings"]}

    until(lambda: warned() >= {"breakers.json", "cache.sqlite"})
    assert pod.ask(pod.admin_port, "/readyz")[0] == 200
    assert b'sidecar_troubles{sidecar_part="breakers.json"} 1.0' in pod.ask(pod.admin_port, "/metrics")[1]
    pod.admin("/breakers/shop/-", '{"state": "auto"}')
    pod.admin("/breakers/shop/-", '{"state": "forced-closed"}')
    assert pod.call("/shop/7") == 200
    assert pod.call("/shop/new") == 200
    assert len(pod.said("what breakers know cannot be kept: after a restart they will start closed")) == 1
    full = "the file of kept replies cannot be written: it is read for as long as that is of use"
    assert len(pod.said(full)) == 1

    run("rm", f"{pod.state}/filler")
    until(lambda: "breakers.json" not in warned())


def test_a_volume_that_becomes_read_only_hurts_no_call(
    volume: tuple[Pod, Callable[..., None]], shop: tuple[type[Shop], int]
) -> None:
    pod, run = volume
    assert pod.call() == 200
    run("mount", "-o", "remount,ro", str(pod.state))
    pod.admin("/breakers/shop/-", '{"state": "forced-closed"}')
    # A cache that is switched on now finds neither a key nor a file.
    shop[0].answer = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nok"
    pod.write_policy(cache={"store": "shared"})
    assert pod.ask(pod.admin_port, "/policies/reload", "POST")[0] == 200

    until(lambda: len(pod.admin("/readyz?verbose")["warnings"]) >= 3)
    warnings = {row["name"]: row["detail"] for row in pod.admin("/readyz?verbose")["warnings"]}
    assert warnings.keys() - {"policies.json"} == {"breakers.json", "cache.sqlite", "cache.key"}
    assert warnings["breakers.json"] == warnings["cache.key"] == "read-only file system"
    assert [pod.call("/shop/y") for _ in range(3)] == [200] * 3
    assert shop[0].heads == 2, "memory still keeps replies"


# The end.


class Load:
    """An application with many connections that calls on and on, each kept for as long as replies allow."""

    def __init__(self, port: int, most: int | None = None) -> None:
        self.port = port
        self.most = most
        self.begun = 0
        self.good = 0
        self.failed: list[str] = []
        self.refused = 0
        """Connections that found nobody listening."""
        self.closed = 0
        """Replies that said that they were their connection's last."""

    async def run(self) -> None:
        await asyncio.gather(*(self._work() for _ in range(CONNECTIONS)))

    async def _work(self) -> None:
        streams = None
        while self.most is None or self.begun < self.most:
            self.begun += 1
            try:
                streams = streams or await asyncio.open_connection("127.0.0.1", self.port)
            except ConnectionRefusedError:
                self.refused += 1
                return
            try:
                keep = await self._call(*streams)
            except (OSError, EOFError) as error:
                self.failed.append(f"{type(error).__name__}: {error}")
                return
            if not keep:
                streams[1].close()
                streams = None
        if streams is not None:
            streams[1].close()

    async def _call(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"POST /shop/x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(2) == b"ok" or b" 200 " not in head
        if b" 200 " not in head:
            self.failed.append(head.decode())
        self.good += 1
        closes = b"connection: close" in head.lower()
        self.closed += closes
        return not closes


async def drawn(condition: Callable[[], Any], within_s: float = 60.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - a count, which has no event
            await asyncio.sleep(0.005)


def test_not_one_of_ten_thousand_calls_fails_after_sigterm(pod: Pod) -> None:
    """The classic form: both are told to end at once, and the application has more to say."""
    pod.flags = ["--ca-dir", "off", "--drain", "10m"]
    pod.start()
    load = Load(pod.port, CALLS)

    async def calls() -> None:
        running = asyncio.ensure_future(load.run())
        await drawn(lambda: load.good > CALLS // 10)
        pod.process.send_signal(signal.SIGTERM)
        await running

    asyncio.run(calls())
    assert pod.said("draining")
    assert (load.good, load.failed, load.refused) == (CALLS, [], 0)
    assert pod.ask(pod.admin_port, "/readyz")[0] == 503


def test_calls_up_to_the_very_end_are_answered_or_never_connected(pod: Pod) -> None:
    """An application that calls on while the drain runs out: no call that was taken is broken off."""
    pod.flags = ["--ca-dir", "off", "--drain", "1s"]
    pod.start()
    load = Load(pod.port)

    async def calls() -> None:
        running = asyncio.ensure_future(load.run())
        await drawn(lambda: load.good > 500)
        pod.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            await running

    asyncio.run(calls())
    assert pod.process.wait(20) == 0
    assert load.failed == []
    assert load.refused == CONNECTIONS, "each worked until nobody listened"
    assert load.closed > CONNECTIONS, "kept connections were closed politely before that"


def test_tunnels_live_on_until_the_end_of_the_grace(pod: Pod) -> None:
    pod.flags = ["--ca-dir", "off", "--drain", "1s", "--grace", "30s"]
    echo = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_echo, args=(echo,), daemon=True).start()
    pod.provider_port = echo.getsockname()[1]
    pod.write_policy()
    pod.start()
    with socket.create_connection(("127.0.0.1", pod.port), timeout=20) as tunnel:
        tunnel.sendall(b"CONNECT shop.example:443 HTTP/1.1\r\nHost: shop.example:443\r\n\r\n")
        assert b" 200 " in tunnel.recv(4096)
        tunnel.sendall(b"before")
        assert tunnel.recv(64) == b"before"
        pod.process.send_signal(signal.SIGTERM)
        until(lambda: pod.said("stopping"))
        tunnel.sendall(b"after")
        assert tunnel.recv(64) == b"after"
    assert pod.process.wait(20) == 0
    echo.close()


def _echo(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        while data := connection.recv(4096):
            connection.sendall(data)


def test_with_nobody_left_it_ends_at_once(pod: Pod) -> None:
    """The native form: the kubelet says SIGTERM when the application is gone."""
    pod.start("--grace", "1h")
    assert pod.call() == 200
    pod.process.send_signal(signal.SIGTERM)

    assert pod.process.wait(20) == 0
    assert os.listdir(pod.state)
