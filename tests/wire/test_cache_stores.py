"""What outlives what: a reload, a restart, a kill, and the daemon beside it; and what people can do to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from tests.menu import after, name_target, reply, serve
from tests.providers import Gate
from tests.real import need
from tests.wire.client import Response, eventually
from tests.wire.daemon import ROOT, Served, Sidecar, free_port

CACHE = {"store": "private", "stale": "1h"}
FRESH = b"Cache-Control: max-age=600"
SPENT = (b"Cache-Control: max-age=60", b"Age: 100")
KEEP = reply(200, b"kept", FRESH)
RunSidecar = Callable[..., Sidecar]


def moved(served: Served, sidecar: Sidecar) -> Served:
    """The same policy and provider behind another daemon."""
    file = sidecar.policies / served.policy_file.name
    file.write_text(served.policy_file.read_text())
    sidecar.reload()
    return Served(served.name, sidecar, served.provider, file)


def source(response: Response) -> str | None:
    return None if response.served is None else str(response.served.value)


def entries(sidecar: Sidecar, served: Served) -> list[dict[str, Any]]:
    status, document = sidecar.admin("GET", f"/cache?provider={served.name}")
    assert status == 200
    found: list[dict[str, Any]] = document["entries"]
    return found


# A reload.


def test_a_reload_keeps_what_is_kept(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(KEEP), cache=CACHE)
    served.get()
    served.policy_file.write_text(served.policy_file.read_text().replace("1h", "2h"))
    sidecar.reload()
    assert source(served.get()) == "cache"
    assert len(served.requests) == 1


def test_a_reload_counts_for_what_is_kept_already(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200, b"kept", *SPENT), reply(500)), cache={"store": "private", "stale": "1h"})
    served.get()
    served.policy_file.write_text(served.policy_file.read_text().replace("1h", "30s"))
    sidecar.reload()
    assert served.get().status == 500, "it is 40 s past its life"


def test_a_reload_under_those_who_wait_drops_nobody(sidecar: Sidecar) -> None:
    gate = Gate()
    served = sidecar.provider(serve(after(gate, KEEP)), cache=CACHE)
    with sidecar.connect() as leader, sidecar.connect() as follower:
        for client in (leader, follower):
            client.send(served.message("GET", "/"))
        eventually(lambda: gate.waiting)
        served.policy_file.write_text(served.policy_file.read_text().replace("1h", "2h"))
        sidecar.reload()
        gate.open()
        assert [client.response().body for client in (leader, follower)] == [b"kept"] * 2
    assert source(served.get()) == "cache"


def test_another_upstream_is_another_s_reply(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(KEEP), cache=CACHE)
    other = sidecar.provider(serve(reply(200, b"other's", FRESH)))
    served.get()
    text = served.policy_file.read_text()
    served.policy_file.write_text(text.replace(f":{served.provider.port}", f":{other.provider.port}"))
    sidecar.reload()
    assert served.get().body == b"other's"


# A restart.


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT], ids=["killed", "stopped"])
def test_a_restart_serves_stale_from_the_warm_store(
    run_sidecar: RunSidecar, tmp_path: Path, end: signal.Signals
) -> None:
    state = ("--state", str(tmp_path / "shared-state"))
    first = run_sidecar(*state)
    served = first.provider(serve(reply(200, b"kept", *SPENT)), cache=CACHE)
    keys = b"Authorization: hush-a", b"Authorization: hush-b"
    for key in keys:
        served.get("/v1/x?secret=hush-1", key)
    eventually(lambda: _on_disk(first, 2))
    first.signal(end)
    first.process.wait(10)
    first.stop_provider(served.provider)

    second = run_sidecar(*state, "--policies", str(first.policies), defaults={"retry": False})
    again = Served(served.name, second, served.provider, served.policy_file)
    began_s = monotonic()
    for key in keys:
        response = again.get("/v1/x?secret=hush-1", key)
        assert (response.body, source(response)) == (b"kept", "stale")
        assert int(response.one(b"age")) >= 100
    assert monotonic() - began_s < 2
    assert again.get("/v1/x?secret=hush-1").status == 502, "of no credential nothing was kept"
    assert again.get("/v1/x?secret=hush-2", keys[0]).status == 502
    stored = b"".join(file.read_bytes() for file in (tmp_path / "shared-state").glob("cache.sqlite*"))
    assert b"kept" in stored
    assert b"hush" not in stored


def _on_disk(sidecar: Sidecar, count: int) -> bool:
    """Whether the disk has taken in that many entries."""
    document = sidecar.admin("GET", "/cache")[1]
    disk = [store for store in document["stores"] if store["tier"] == "disk"]
    return bool(disk) and (disk[0]["entries"] or 0) >= count


def test_a_spoilt_store_is_moved_aside_and_said(run_sidecar: RunSidecar, tmp_path: Path) -> None:
    state = tmp_path / "spoilt"
    state.mkdir()
    (state / "cache.sqlite").write_bytes(b"This is no database, but it is here." * 100)
    sidecar = run_sidecar("--state", str(state))
    served = sidecar.provider(serve(KEEP), cache=CACHE)
    assert [source(served.get()) for _ in range(2)] == [None, "cache"]
    assert eventually(lambda: [file.name for file in state.iterdir() if file.name.startswith("cache.sqlite.")])
    assert eventually(lambda: "cache.sqlite" in sidecar.log)


def test_a_daemon_that_keeps_nothing_leaves_nothing(run_sidecar: RunSidecar, tmp_path: Path) -> None:
    state = tmp_path / "unused"
    sidecar = run_sidecar("--state", str(state))
    sidecar.provider(serve(KEEP)).get()
    assert not [*state.glob("cache.*")]


# Another daemon: Redis.


@contextmanager
def redis_server(home: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A real one on loopback, without a disk: its URL and process."""
    port = free_port()
    argv = [need("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(home)]
    with (home / "redis.log").open("wb") as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        eventually(lambda: b"Ready to accept" in (home / "redis.log").read_bytes())
        yield f"redis://127.0.0.1:{port}/0", process
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


def test_two_daemons_share_what_is_kept(run_sidecar: RunSidecar, tmp_path: Path) -> None:
    with redis_server(tmp_path) as (url, _):
        secret = {"SIDECAR_CACHE_SECRET": "one for all of the fleet"}
        # A busy machine's Redis may need more than the few milliseconds that a call gives it by default.
        shared = ("--redis", url, "--redis-timeout", "20s")
        one, two = (run_sidecar(*shared, environ=secret) for _ in range(2))
        served = one.provider(serve(name_target), cache={"ttl": "1m"})
        beside = moved(served, two)
        assert served.get("/v1/x").body == b"/v1/x"
        assert len(eventually(lambda: _keys(url))) == 1
        response = beside.get("/v1/x")
        assert (response.body, source(response)) == (b"/v1/x", "cache")
        assert len(served.requests) == 1

        # A change that one has seen counts for the other's next restart at least, and for Redis at once.
        served.call("POST", "/v1/x", body=b"")
        three = moved(served, run_sidecar(*shared, environ=secret))
        assert source(three.get("/v1/x")) is None


def test_foreign_data_is_not_served(run_sidecar: RunSidecar, tmp_path: Path) -> None:
    """Neither what another fleet has written nor what somebody has put in our place."""
    with redis_server(tmp_path) as (url, _):
        ours, theirs = ({"SIDECAR_CACHE_SECRET": f"the secret of {fleet}"} for fleet in ("ours", "theirs"))
        shared = ("--redis", url, "--redis-timeout", "20s")
        served = run_sidecar(*shared, environ=ours).provider(serve(KEEP), cache=CACHE)
        served.get()
        (key,) = eventually(lambda: _keys(url))
        assert source(moved(served, run_sidecar(*shared, environ=theirs)).get()) is None
        _overwrite(url, key)
        assert source(moved(served, run_sidecar(*shared, environ=ours)).get()) is None


def test_a_redis_that_stops_costs_milliseconds(run_sidecar: RunSidecar, tmp_path: Path) -> None:
    with redis_server(tmp_path) as (url, process):
        sidecar = run_sidecar("--redis", url)
        served = sidecar.provider(serve(KEEP), cache=CACHE)
        served.get("/before")
        process.send_signal(signal.SIGSTOP)
        worst_s = 0.0
        for number in range(20):
            began_s = monotonic()
            assert served.get(f"/{number}").status == 200
            worst_s = max(worst_s, monotonic() - began_s)
        assert worst_s < 0.25, "each call is allowed a few milliseconds for it"
        assert source(served.get("/before")) == "cache"
        process.kill()
        process.wait()
        assert served.get("/after").status == 200
        assert source(served.get("/after")) == "cache"


def test_a_redis_that_is_not_there_keeps_nobody_from_starting(run_sidecar: RunSidecar) -> None:
    sidecar = run_sidecar("--redis", f"redis://user:hush@127.0.0.1:{free_port()}/0")
    served = sidecar.provider(serve(KEEP), cache=CACHE)
    assert [source(served.get()) for _ in range(2)] == [None, "cache"]
    assert "hush" not in sidecar.log


def _keys(url: str) -> list[bytes]:
    """What replies are kept under; the marks of invalidations are kept beside them."""
    import redis

    with redis.Redis.from_url(url) as client:
        return [key for key in client.scan_iter("sidecar:cache:*") if b":uri:" not in key]


def _overwrite(url: str, key: bytes) -> None:
    """With a reply of somebody else's making, of the same shape but for its body."""
    import redis

    with redis.Redis.from_url(url) as client:
        record = client.get(key)
        assert isinstance(record, bytes)
        assert b"kept" in record
        client.set(key, record.replace(b"kept", b"evil"))


# People.


def command(sidecar: Sidecar, *arguments: str) -> subprocess.CompletedProcess[str]:
    admin = ("--admin", f"127.0.0.1:{sidecar.admin_port}")
    return subprocess.run(
        [sys.executable, "-m", "sidecar", "cache", *arguments, *admin],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_what_is_kept_can_be_listed_and_looked_at(sidecar: Sidecar) -> None:
    fields = (FRESH, b"Surrogate-Key: users user-7", b"Set-Cookie: session=hush", b"X-Own: hush-too")
    served = sidecar.provider(serve(reply(200, b"hush body", *fields)), cache=CACHE)
    served.get("/v1/users/7?token=hush", b"Authorization: Bearer hush")
    listed = command(sidecar, "ls", "--provider", served.name, "--json")
    assert listed.returncode == 0, listed.stderr
    (entry,) = json.loads(listed.stdout)["entries"]
    assert entry.items() >= {"status": 200, "provider": served.name, "route": "-", "tags": ["users", "user-7"]}.items()
    assert "/v1/users/7" in entry["url"]
    shown = command(sidecar, "show", entry["key"])
    table = command(sidecar, "ls", "--provider", served.name)
    assert (shown.returncode, table.returncode) == (0, 0)
    assert "/v1/users/7" in table.stdout
    everything = (
        listed.stdout + shown.stdout + table.stdout + json.dumps(sidecar.admin("GET", f"/cache/{entry['key']}"))
    )
    assert "Set-Cookie" in shown.stdout
    assert "hush" not in everything


@pytest.mark.parametrize("selector", ["tag", "url", "key", "route"])
def test_what_is_kept_can_be_purged(sidecar: Sidecar, selector: str) -> None:
    routes = [
        {"name": "users", "match": {"path": "/users/{id}"}, "cache": {"ttl": "1h", "tags": ["account-{id}"]}},
        {"name": "others", "match": {"path": "/others/{id}"}, "cache": {"ttl": "1h"}},
    ]
    served = sidecar.provider(serve(reply(200)), routes=routes)
    for path in ("/users/7", "/others/7"):
        served.get(path)
    (key,) = [entry["key"] for entry in entries(sidecar, served) if entry["route"] == "users"]
    arguments = {
        "tag": ("--tag", "account-7"),
        "url": ("--url", f"http://127.0.0.1:{sidecar.port}/{served.name}/users/7"),
        "key": ("--key", key),
        "route": ("--provider", served.name, "--route", "users"),
    }[selector]
    purged = command(sidecar, "purge", *arguments)
    assert (purged.returncode, purged.stdout.split()[:2]) == (0, ["purged", "1"]), purged.stderr
    assert [source(served.get(path)) for path in ("/users/7", "/others/7")] == [None, "cache"]


def test_what_is_purged_softly_still_stands_in(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(KEEP, reply(500)), cache=CACHE)
    served.get()
    assert command(sidecar, "purge", "--provider", served.name, "--soft").returncode == 0
    response = served.get()
    assert (response.body, source(response)) == (b"kept", "stale")
    assert command(sidecar, "purge", "--provider", served.name, "--yes").returncode == 0
    assert served.get().status == 500


def test_a_purge_reaches_the_disk(run_sidecar: RunSidecar, tmp_path: Path) -> None:
    state = ("--state", str(tmp_path / "shared-state"))
    first = run_sidecar(*state)
    served = first.provider(serve(KEEP), cache=CACHE)
    served.get("/a")
    served.get("/b")
    eventually(lambda: _on_disk(first, 2))
    assert command(first, "purge", "--provider", served.name, "--yes").stdout.split()[:2] == ["purged", "2"]
    served.get("/b")
    first.stop()
    second = run_sidecar(*state, "--policies", str(first.policies), defaults={"retry": False})
    again = Served(served.name, second, served.provider, served.policy_file)
    assert [source(again.get(path)) for path in ("/a", "/b")] == [None, "cache"]
    first.stop_provider(served.provider)


def test_metrics_tell_what_was_served(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200, b"kept", *SPENT), reply(500)), cache=CACHE)
    for _ in range(2):
        served.get()
    text = sidecar.admin("GET", "/metrics")[1]
    ours = [line for line in text.splitlines() if served.name in line]
    assert any("served" in line and "stale" in line and "status-500" in line for line in ours)
    assert any(line.startswith("sidecar_cache_requests") for line in ours)
