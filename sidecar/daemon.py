"""The process: wires every part, starts them in order, reloads, drains, stops."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import getrandbits, random
from typing import TYPE_CHECKING, Any, Final

import uvloop

from sidecar import __version__
from sidecar.address import Address
from sidecar.admin.guard import Guard
from sidecar.clock import LoopClock
from sidecar.http1.server import Server
from sidecar.intercept.door import Credentials, Door
from sidecar.intercept.router import Router, refuse
from sidecar.lean import import_without
from sidecar.policy.compile import CacheGround, Ports, routes_of
from sidecar.policy.files import shipped_policies
from sidecar.policy.keep import Keep
from sidecar.policy.sources import LoadedPolicies
from sidecar.policy.watch import PolicyWatch
from sidecar.serving.breakers import BreakersFile
from sidecar.serving.caching import Caching
from sidecar.serving.cgroup import find_memory_group
from sidecar.serving.directory import Directory
from sidecar.serving.ground import bind, cannot_listen, check_paths, is_loopback, prepare_state, raise_file_limit
from sidecar.serving.memory import MemoryWatch, cache_bound_bytes, too_much
from sidecar.serving.notyet import NotYet
from sidecar.serving.opening import Opening
from sidecar.serving.overview import Life, Overview
from sidecar.serving.reaper import attend_orphans
from sidecar.serving.reload import PoliciesInForce, UnfitPolicies
from sidecar.serving.terms import credential_secret, last_good, pool_limits, server_limits, store_settings
from sidecar.serving.unknown import UnknownHosts
from sidecar.serving.upstreams import Upstreams
from sidecar.serving.watching import BreakerNews, watch, watch_authority, watch_cache, watch_troubles
from sidecar.settings import Settings
from sidecar.telemetry.logs import LineWriter, start_logging, stop_logging
from sidecar.telemetry.settings import TelemetrySettings
from sidecar.telemetry.settings import read_settings as read_telemetry_settings
from sidecar.telemetry.telemetry import Telemetry

if TYPE_CHECKING:
    from aiohttp.web import AppRunner

    from sidecar.stores.shelf import Shelf
    from sidecar.stores.tiers import Tiers

log = logging.getLogger(__name__)

UNUSABLE: Final = 2
"""The exit code of a start that a setting or a policy prevents."""
PART_S: Final = 2.0
"""How long before the end of a drain replies begin to say that their connection closes."""
FLUSH_S: Final = 1.0
"""How long telemetry may take to be sent at the end."""
THREADS_MOST: Final = 4
"""For what blocks: policies that are parsed, files that are written. By default there would be a thread for each core
of the node, whatever part of them the container has, and each with memory of its own."""
GARBAGE_AT: Final = 5_000
"""Tracked objects made and not freed that set the collector off."""
WARM_AT_ONCE: Final = 20
WARM_MOST: Final = 1000
"""Pipelines compiled ahead of their first call, and how many between two looks at the loop."""


def run(settings: Settings) -> int:
    """Serve until a signal ends it; the process's exit code. Raises `SettingsError`."""
    # A reload or a dump that is asked for too early must not kill.
    for early in (signal.SIGHUP, signal.SIGUSR1):
        signal.signal(early, signal.SIG_IGN)
    telemetry_settings = read_telemetry_settings(os.environ, version=__version__)
    paths = settings.policies or (shipped_policies(),)
    if settings.unfit_policies == "exit":
        check_paths(paths)
    prepare_state(settings.state)
    raise_file_limit()
    json = None if settings.log_format == "auto" else settings.log_format == "json"
    writer = start_logging(json=json, level=logging.getLevelName(settings.log_level.upper()))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(settings, telemetry_settings, paths, writer))
    except UnfitPolicies as unfit:
        return _say_unfit(unfit)
    finally:
        stop_logging(writer)


async def _serve(
    settings: Settings, telemetry_settings: TelemetrySettings, paths: Sequence[Path], writer: LineWriter
) -> int:
    daemon = Daemon(settings, telemetry_settings, paths, writer)
    daemon.breakers.load()
    daemon.policies.load(wait=settings.unfit_policies == "wait")
    return await daemon.serve()


def _say_unfit(unfit: UnfitPolicies) -> int:
    for problem in unfit.problems:
        print(problem.text(), file=sys.stderr)
    count = len(unfit.problems)
    problems = "a problem" if count == 1 else f"{count} problems"
    print(f"sidecar: the policies have {problems}, so nothing is served", file=sys.stderr)
    return UNUSABLE


class Daemon:
    """Every part of one process."""

    def __init__(
        self, settings: Settings, telemetry_settings: TelemetrySettings, paths: Sequence[Path], writer: LineWriter
    ) -> None:
        self._settings = settings
        self._writer = writer
        self._stop = asyncio.Event()
        self._woken = asyncio.Event()
        """Waiting for the first policies is over."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._warming: asyncio.Task[None] | None = None
        self.life = Life()
        self.clock = clock = LoopClock()
        self.telemetry = Telemetry(telemetry_settings, clock)
        self.telemetry.count_log_drops(writer)
        meters = self.telemetry.meters
        news = BreakerNews(meters)
        self.keep = Keep(clock, random, [news], lambda: credential_secret(settings.state))
        news.find = self.keep.find_circuit
        self.breakers = BreakersFile(settings.state, self.keep, clock)
        # Told apart from other sidecars on the way, so that only a call of our own that comes back is a loop.
        name = f"sidecar-{getrandbits(32):08x}".encode()
        self.upstreams = Upstreams(pool_limits(settings), settings.dns_ttl_s, clock, b"1.1 " + name)
        self.unknown = UnknownHosts(clock, meters.unknown_hosts)
        group = find_memory_group()
        self._limit_bytes = None if group is None else group.limit_bytes
        bound_bytes = cache_bound_bytes(settings.cache_memory_bytes, self._limit_bytes)
        self.caching = Caching(store_settings(settings, bound_bytes), clock, self.keep.is_sick, self._show_cache)
        self.memory = MemoryWatch(group, bound_bytes, self._shelf, clock)
        self._ports = Ports(clock, random, self.keep, self.upstreams.transport, self.telemetry, self.caching.ground)
        self.policies = PoliciesInForce(
            paths, self._compile, self._swap, clock, meters.reloads, last_good=last_good(settings, paths)
        )
        # Made before the first load, so that a change during it is seen.
        self._watch = PolicyWatch(paths, self.policies.reload, clock)
        self._directory = self._compile(LoadedPolicies())
        credentials = None if settings.proxy_auth is None else Credentials(settings.proxy_auth)
        self.opening = Opening(settings, clock)
        self.router = Router(
            NotYet(), clock, name, settings.replay_bytes, credentials, opens=settings.ca_dir is not None
        )
        door = Door(self.router, self.upstreams, lambda: self.opening.authority, clock, meters.handshakes)
        self.server = Server(self.router.handle, refuse, server_limits(settings), clock, door)
        self.overview = Overview(
            life=self.life,
            policies=self.policies,
            keep=self.keep,
            unknown=self.unknown,
            opening=self.opening,
            telemetry=self.telemetry,
            clock=clock,
            troubles=self._troubles,
        )
        watch(meters, self.policies, self.keep, self.upstreams, self.server)
        watch_authority(meters, self.opening)
        watch_troubles(meters, self._troubles)

    def _shelf(self) -> Shelf | None:
        return None if self.caching.tiers is None else self.caching.tiers.shelf

    def _troubles(self) -> Mapping[str, str]:
        """What each part lacks that may be done without."""
        return {
            "breakers.json": self.breakers.trouble,
            "policies.json": self.policies.trouble,
            "cache.sqlite": self.caching.disk_trouble,
            "cache.key": self.caching.secret_trouble,
            "authority": self.opening.trouble,
            "memory": self.memory.trouble or too_much(self._settings.cache_memory_bytes, self._limit_bytes),
        }

    # Policies.

    def _compile(self, loaded: LoadedPolicies) -> Directory:
        return Directory(loaded, self._ports, self.upstreams, self.unknown)

    def _swap(self, loaded: LoadedPolicies, directory: Directory) -> None:
        self._directory = directory
        if self.life.waiting:
            self._woken.set()
            return
        self.router.directory = directory
        self.keep.retain(routes_of(loaded.providers))
        self.upstreams.tidy()
        if self.life.serving:
            self.opening.adopt(loaded)
            self._warm(directory)
            if _caches(loaded):
                self._spawn(self.caching.open())

    def _show_cache(self, tiers: Tiers, ground: CacheGround) -> None:
        from sidecar.serving.cached import CachedReplies  # noqa: PLC0415 - for those that cache only

        watch_cache(self.telemetry.meters, tiers)
        self.overview.cached_replies = CachedReplies(
            tiers, ground.secret, lambda: self.policies.loaded, lambda: self._directory, self.clock, ground.flights
        )

    def _warm(self, directory: Directory) -> None:
        if self._warming is not None:
            self._warming.cancel()
        self._warming = self._spawn(_warmed(directory))

    # Life.

    async def serve(self) -> int:
        """Start, serve, and stop when told to."""
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS_MOST, "sidecar"))
        self._handle_signals()
        self.life.waiting = self.policies.loaded is None
        await self._prepare()
        admin_socket = bind(self._settings.admin, "admin", self._settings.backlog)
        await self._listen()
        self.telemetry.start()
        self.memory.start()
        self._spawn(self._watch.run())
        self._warm(self._directory)
        runner = await self._serve_admin(admin_socket)
        waited = self.life.waiting
        if waited:
            _announce("admin", [admin_socket])
            await self._wait_for_policies()
        if self.life.serving:
            self.life.started = True
            self._spawn(self.policies.keep())
            _settle()
            _announce("calls", self.server.sockets)
        if not waited:
            _announce("admin", [admin_socket])
        await self._stop.wait()
        await self._finish(runner)
        return 0

    async def _prepare(self) -> LoadedPolicies | None:
        """Have what the policies in force need before a call is taken; None while there are none."""
        loaded = None
        while loaded is not self.policies.loaded:
            loaded = self.policies.loaded
            if loaded is not None and _caches(loaded):
                await self.caching.open()
        if loaded is not None:
            self.opening.open(loaded, _import_admin)
        return loaded

    async def _wait_for_policies(self) -> None:
        """Calls are refused until the policies are fit, or a signal ends the process."""
        gc.enable()  # It is off during the start, which may now take for ever.
        await self._woken.wait()
        loaded = await self._prepare()
        if loaded is None or self._stop.is_set():
            return
        self.life.waiting = False
        self._swap(loaded, self._directory)
        self.life.serving = True
        self._warm(self._directory)

    async def _listen(self) -> None:
        address = self._settings.listen
        try:
            await self.server.start(address.host, address.port, self._settings.backlog)
        except OSError as error:
            raise cannot_listen(address, "listen", error) from None
        if self._settings.transparent is not None:
            await self._listen_transparently(self._settings.transparent)
        self.life.serving = not self.life.waiting

    async def _listen_transparently(self, address: Address) -> None:
        from sidecar.http1.original import entry_of  # noqa: PLC0415 - for those that are redirected to

        try:
            await self.server.start(address.host, address.port, self._settings.backlog, entry_of)
        except OSError as error:
            raise cannot_listen(address, "transparent", error) from None

    async def _serve_admin(self, admin_socket: socket.socket) -> AppRunner:
        # Imported here, since it takes a third of the whole start: whoever calls or probes meanwhile waits in the
        # listeners' queues and is not refused. Not in a thread, whose memory arena would cost 4 MiB for good.
        _import_admin()
        from aiohttp import web  # noqa: PLC0415

        from sidecar.admin.app import make_app  # noqa: PLC0415

        guard = Guard(loopback=is_loopback(admin_socket), token=self._settings.admin_token)
        runner = web.AppRunner(
            make_app(self.overview, guard), access_log=None, handle_signals=False, shutdown_timeout=FLUSH_S
        )
        await runner.setup()
        await web.SockSite(runner, admin_socket, backlog=self._settings.backlog).start()
        return runner

    async def _finish(self, runner: AppRunner) -> None:
        if self.life.stopped_by == "SIGTERM" and self._settings.drain_s and not self.life.waiting:
            log.info("draining", extra={"drain_s": self._settings.drain_s})
            part_s = min(PART_S, self._settings.drain_s / 2)
            await self.clock.sleep(self._settings.drain_s - part_s)
            self.server.part()
            await self.clock.sleep(part_s)
        for task in self._tasks:
            task.cancel()
        log.info("stopping", extra={"count": self.server.in_flight})
        await self.server.stop(self._settings.grace_s)
        self.life.serving = False
        await self.caching.close()
        await self.breakers.close()
        await self.telemetry.shutdown(FLUSH_S)
        self.upstreams.close()
        await runner.cleanup()
        log.info("stopped", extra={"signal": self.life.stopped_by})

    # Signals.

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for ending in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(ending, self._on_end, ending)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._spawn(self.policies.reload()))
        loop.add_signal_handler(signal.SIGUSR1, self._dump)
        attend_orphans()

    def _on_end(self, number: signal.Signals) -> None:
        if self.life.stopped_by:
            stop_logging(self._writer)
            os._exit(128 + number)
        self.life.stopped_by = number.name
        self._stop.set()
        self._woken.set()

    def _dump(self) -> None:
        """The state as log lines, one a thing, so that none is cut."""
        overview = self.overview
        log.info("state: process", extra={"count": self.server.in_flight, "state": repr(overview.checks())})
        log.info("state: policies", extra={"digest": overview.policies()["digest"], "problems": _texts(self.policies)})
        for kind, rows in (("breaker", overview.breakers()), ("limit", overview.limits())):
            for row in rows:
                rest = {key: value for key, value in row.items() if key not in ("provider", "scope", "history")}
                extra = {"provider": row["provider"], "scope": row["scope"], "route": row["scope"], "state": repr(rest)}
                log.info("state: %s", kind, extra={**extra, "step": kind})

    def _spawn(self, coroutine: Any) -> asyncio.Task[Any]:
        """Run beside everything else; ends with the daemon."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _import_admin() -> None:
    """Also ahead of its time, where a child has to be waited for anyway."""
    import_without("frozenlist", "frozenlist._frozenlist")
    import sidecar.admin.app  # noqa: F401, PLC0415


async def _warmed(directory: Directory) -> None:
    for count, _ in enumerate(directory.warm(), 1):
        if count >= WARM_MOST:
            return
        if count % WARM_AT_ONCE == 0:
            await asyncio.sleep(0)


def _caches(loaded: LoadedPolicies) -> bool:
    return any(policy.caches for policy in loaded.providers)


def _texts(policies: PoliciesInForce[Directory]) -> list[str]:
    return [problem.text() for problem in policies.problems]


def _settle() -> None:
    """What a start has made lives as long as the process. Frozen, it is not walked by every full collection: that walk
    would stop the loop for tens of milliseconds, again and again. Nor is it walked now: the garbage in it is a few
    hundred KiB, and finding that would take a tenth of the whole start. A call makes some thirty objects that the
    collector tracks and frees them all by itself: at the default of 700, every two dozen calls at once would set it off
    in vain."""
    gc.freeze()
    gc.set_threshold(GARBAGE_AT)
    gc.enable()


def _announce(listener: str, sockets: Sequence[socket.socket]) -> None:
    for one in sockets:
        host, port = one.getsockname()[:2]
        log.info("listening", extra={"listener": listener, "address": f"http://{Address(host, port)}"})
