"""Answers from what is kept: fresh as long as it is, stale while the provider fails, one call where many are equal.

What is kept, for how long, and what may be made of it are `rules/cache`'s decisions; this is the shell around them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, final

from sidecar.call import Call, Failure, Handler, Outcome, Reply, Served
from sidecar.errors import Reason, Verdict, WireError
from sidecar.http1.message import NO_BODY, Body, Headers
from sidecar.rules.cache.asked import ANYTHING, Asked, ask
from sidecar.rules.cache.entry import Entry, Key
from sidecar.rules.cache.health import Health
from sidecar.rules.cache.invalidation import invalidated
from sidecar.rules.cache.reuse import Plan, Use, plan
from sidecar.rules.cache.settings import CacheSettings
from sidecar.rules.cache.status import forwarded, hit
from sidecar.rules.cache.storing import passes_by
from sidecar.rules.cache.validation import CONDITIONAL
from sidecar.steps.cache_fetch import Fetch
from sidecar.steps.cache_ports import CachePorts, Lookup
from sidecar.steps.cache_reply import add_status, kept_reply, wants_no_body
from sidecar.steps.flight import GONE, Flight

log = logging.getLogger(__name__)

_FRESH: Final = Use.FRESH
_REFUSED: Final = Use.REFUSED
"""As names of this module, which cost less to look up than members of an enumeration."""
REFRESHING: Final = "revalidating"
"""Why a stale reply is served while all is well (RFC 5861 3)."""


class CacheStep:
    """Looks into what is kept before a call goes out. Without settings, a route only clears up after its changes."""

    name = "cache"

    def __init__(self, settings: CacheSettings | None, ports: CachePorts, *, dry_run: bool = False) -> None:
        self._settings = settings
        self._ports = ports
        self._dry_run = dry_run

    def bind(self, inner: Handler) -> Handler:
        if self._settings is None:
            return _bind_change(inner, self._ports, None)
        return _bind_cache(inner, self._settings, self._ports, self._dry_run)


def _bind_cache(inner: Handler, settings: CacheSettings, ports: CachePorts, dry_run: bool) -> Handler:
    store, flights, health, keys = ports.store, ports.flights, ports.health, ports.keys
    wall, count = ports.clock.wall, ports.book.count
    change = _bind_change(inner, ports, "method")
    fetch = Fetch(inner, settings, ports)
    serve = _bind_serve(fetch, settings, ports)
    dry = _bind_dry(fetch, ports)

    async def cache(call: Call) -> Outcome:
        method, headers = call.method, call.headers
        if method not in ("GET", "HEAD"):
            return await change(call)
        why = passes_by(method, headers, not call.body.empty, call.upgrade is not None)
        if why:
            count("bypass")
            return _told(await inner(call), "bypass", why)
        asked = ask(headers)
        key = keys.key(call.target, headers)
        variants = store.peek(key)
        if not variants and store.is_behind(key):
            variants = await store.fetch(key)
        now_s = wall()
        ailing = flights.health_of(key)
        sick = health.sick or ailing is not None
        found = plan(asked, variants, keys, headers, settings, now_s, sick)
        use, entry = found.use, found.entry
        if dry_run:
            return await dry(call, key, asked, found)
        if entry is not None and (use is _FRESH or use is Use.STALE or use is Use.WHILE):
            return serve(call, key, found, entry, ailing)
        if use is _REFUSED:
            return _not_cached()
        unchanged = entry is not None and wants_no_body(call, entry)
        lookup = Lookup(call, key, asked, entry, found.why, unchanged)
        if not fetch.goes_first(lookup, now_s):
            return await fetch.fetch(lookup)
        # Most misses, for which `fetch` and `ask` would only be two coroutines more.
        try:
            return fetch.answered(lookup, await inner(call))
        except BaseException:
            fetch.gone(lookup)
            raise

    return cache


def _bind_serve(
    fetch: Fetch, settings: CacheSettings, ports: CachePorts
) -> Callable[[Call, Key, Plan, Entry, Health | None], Reply]:
    """What is kept, as an answer; where it is old already, asked for anew behind the application's back."""
    health, count = ports.health, ports.book.count
    detail = "" if settings.ttl_s is None else "ttl-by-policy"
    refresher = Refresher(fetch, ports, settings.max_entry_bytes)

    def serve(call: Call, key: Key, found: Plan, entry: Entry, ailing: Health | None) -> Reply:
        unchanged = wants_no_body(call, entry)
        if found.use is _FRESH:
            count("hit")
            served = Served("cache", found.age_s)
            return kept_reply(call, entry, found.age_s, hit(found.ttl_s, detail), served, unchanged)
        reason = _why_stale(found.use, health, ailing)
        count("while" if reason == REFRESHING else "stale")
        if found.use is Use.WHILE:
            refresher.refresh(call, key, found, ailing)
        served = Served("stale", found.age_s, reason)
        return kept_reply(call, entry, found.age_s, hit(found.ttl_s, reason), served, unchanged)

    return serve


def _why_stale(use: Use, health: Health, ailing: Health | None) -> str:
    if use is Use.STALE:
        return "max-stale"
    if ailing is not None:
        return ailing.reason
    return health.reason if health.sick else REFRESHING


def _not_cached() -> Failure:
    detail = (
        "The request asks for a kept reply only (only-if-cached), and there is none that may be used; leave that out."
    )
    return Failure(Reason.NOT_CACHED, detail, Verdict.LOCAL)


def _told(outcome: Outcome, why: str, detail: str = "") -> Outcome:
    if isinstance(outcome, Reply):
        add_status(outcome, forwarded(why, outcome.status, False, False, detail))
    return outcome


def _bind_change(inner: Handler, ports: CachePorts, why: str | None) -> Handler:
    """Calls that may change what is kept: once they have, it is forgotten (RFC 9111 4.4)."""
    store, flights, keys, wall, origin = ports.store, ports.flights, ports.keys, ports.clock.wall, ports.origin

    async def change(call: Call) -> Outcome:
        outcome = await inner(call)
        if not isinstance(outcome, Reply):
            return outcome
        for target in invalidated(call.method, outcome.status, origin, call.target, outcome.headers):
            uri = keys.uri(target)
            flights.invalidate(uri, wall())
            store.invalidate(uri)
        return outcome if why is None else _told(outcome, why)

    return change


def _bind_dry(fetch: Fetch, ports: CachePorts) -> Callable[[Call, Key, Asked, Plan], Awaitable[Outcome]]:
    """In place of answering: say what would have been the answer, and keep what comes."""
    now = ports.clock.now

    def dry(call: Call, key: Key, asked: Asked, found: Plan) -> Awaitable[Outcome]:
        if found.use in (Use.FRESH, Use.STALE, Use.WHILE):
            call.note("cache", f"would serve a reply {int(found.age_s)} s old", now())
        return fetch.ask(Lookup(call, key, asked, None, found.why))

    return dry


@final
class Refresher:
    """Asks the provider anew behind the back of those who are served a stale reply meanwhile."""

    def __init__(self, fetch: Fetch, ports: CachePorts, most_bytes: int) -> None:
        self._fetch = fetch
        self._ports = ports
        self._most_bytes = most_bytes

    def refresh(self, call: Call, key: Key, found: Plan, ailing: Health | None) -> None:
        """Begin one, unless one is under way or it is too early after a failure."""
        ports = self._ports
        flights, health = ports.flights, ports.health
        now_s = ports.clock.now()
        if key in flights.by_key or not health.may_refresh(now_s):
            return
        if ailing is not None and not ailing.may_refresh(now_s):
            return
        # From now on, not from when the task runs: other calls come before.
        flight = flights.begin(key)
        health.began()
        refreshing = self._run(_again(call, now_s, ports.refresh_s), key, found, flight)
        task = asyncio.get_running_loop().create_task(refreshing)
        flights.tasks.add(task)
        task.add_done_callback(flights.tasks.discard)

    async def _run(self, call: Call, key: Key, found: Plan, flight: Flight) -> None:
        ports = self._ports
        try:
            outcome = await self._fetch.ask(Lookup(call, key, ANYTHING, found.entry, found.why, flight=flight))
            if isinstance(outcome, Reply):
                await self._take(outcome.body, call.deadline_s)
        except WireError as error:
            extra = {"provider": call.provider, "route": call.route, "reason": error.reason}
            log.info("a refresh broke off", extra=extra)
        except Exception:
            log.exception(
                "a refresh failed", extra={"provider": call.provider, "route": call.route, "call_id": call.id}
            )
        finally:
            ports.health.ended()
            if flight.landing is None:
                ports.flights.end(key, flight)
                flight.land(GONE)

    async def _take(self, body: Body, deadline_s: float) -> None:
        """Read a body that is being kept, for as long as it may be and a refresh may take."""
        giving_up = self._ports.clock.at(deadline_s, body.discard)
        left_bytes = self._most_bytes
        try:
            while left_bytes >= 0 and (piece := await body.read()):
                left_bytes -= len(piece)
        finally:
            giving_up.cancel()
            body.discard()


def _again(call: Call, now_s: float, within_s: float) -> Call:
    """The same question, asked by nobody: unconditionally, and for no longer than a refresh may take."""
    fields = [field for field in call.headers.fields if field[0].lower() not in CONDITIONAL]
    return Call(
        call.id,
        call.mode,
        "GET",
        call.target,
        Headers(fields),
        NO_BODY,
        call.provider,
        call.route,
        now_s,
        now_s + within_s,
        trace=call.trace,
    )
