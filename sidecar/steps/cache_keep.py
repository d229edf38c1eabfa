"""What of the provider's answers is kept, and who else gets them."""

from __future__ import annotations

from typing import Final, final

from sidecar.call import Reply
from sidecar.errors import Verdict
from sidecar.http1.message import Headers
from sidecar.http1.tee import Tee
from sidecar.rules.cache.entry import Entry
from sidecar.rules.cache.freshness import terms_of
from sidecar.rules.cache.settings import CacheSettings
from sidecar.rules.cache.status import forwarded
from sidecar.rules.cache.storing import is_storable, make_entry
from sidecar.rules.cache.validation import freshen, head_agrees
from sidecar.steps.cache_ports import CachePorts, Lookup
from sidecar.steps.cache_reply import add_status
from sidecar.steps.flight import ALONE, How, Landing

_OK: Final = Verdict.OK


@final
class Keeper:
    """Puts replies into the store. One a route."""

    def __init__(self, settings: CacheSettings, ports: CachePorts) -> None:
        self._settings = settings
        self._ports = ports
        self._store = ports.store
        self._flights = ports.flights
        self._wall = ports.clock.wall
        self._keys = ports.keys
        self._origin = ports.origin
        self._is_tagged = bool(settings.tags)
        self._most_bytes = settings.max_entry_bytes

    def keep(self, lookup: Lookup, reply: Reply) -> None:
        """Keep a reply to a GET if it may be, now or when its body is whole, and say so in its `Cache-Status`."""
        whole = reply.body.look()
        entry = self._entry(lookup, reply, whole)
        add_status(reply, forwarded(lookup.why, reply.status, entry is not None, False))
        if entry is None:
            self._go_alone(lookup)
        elif whole is not None:
            self._keep_whole(lookup, entry)
        elif reply.body.error is None:
            self._keep_arriving(lookup, entry, reply)
        else:
            lookup.land(self._flights, ALONE)

    def freshen(self, lookup: Lookup, entry: Entry, reply: Reply) -> tuple[Entry, bool]:
        """An entry with what a 304 says of it, and whether by that it may still be kept (RFC 9111 4.3.4)."""
        fresh = freshen(entry, reply.headers, lookup.requested_s, self._wall(), self._settings)
        terms_of(fresh, self._settings)
        authorized = b"authorization" in lookup.call.headers
        stored = is_storable(self._settings, lookup.asked, authorized, fresh.status, Headers(fresh.fields), True)
        if stored:
            self._store.put(lookup.key, fresh, entry)
        else:
            self._store.drop(lookup.key, entry)
        return fresh, stored

    def compare(self, lookup: Lookup, reply: Reply) -> None:
        """What a HEAD says of the GET that is kept (RFC 9111 4.3.5)."""
        entry = lookup.entry
        if entry is None or reply.status != 200:
            return
        if head_agrees(entry, reply.headers):
            self.freshen(lookup, entry, reply)
        else:
            self._store.drop(lookup.key, entry)

    def _entry(self, lookup: Lookup, reply: Reply, whole: bytes | None) -> Entry | None:
        """What is kept of a reply, with its body if that is whole; None if it may not be kept, or should not."""
        size_bytes = _said_bytes(reply.headers) if whole is None else len(whole)
        if size_bytes > self._most_bytes or self._flights.is_outdated(lookup.key, lookup.requested_s):
            return None
        call, ports = lookup.call, self._ports
        return make_entry(
            self._settings,
            self._keys,
            lookup.asked,
            call.headers,
            self._origin,
            call.target,
            call.route,
            call.provider,
            ports.tags(call) if self._is_tagged else (),
            reply.status,
            reply.phrase,
            reply.headers,
            b"" if whole is None else whole,
            reply.verdict is _OK,
            lookup.requested_s,
            self._wall(),
        )

    def _keep_whole(self, lookup: Lookup, entry: Entry) -> None:
        self._store.put(lookup.key, entry)
        self._offer(lookup, entry, None)
        if lookup.flight is not None:
            self._flights.end(lookup.key, lookup.flight)

    def _keep_arriving(self, lookup: Lookup, entry: Entry, reply: Reply) -> None:
        """Pass the body on as it comes, to all who wait for it, and keep it once it is whole."""
        key, flight, requested_s = lookup.key, lookup.flight, lookup.requested_s

        def on_end(whole: bytes | None) -> None:
            if flight is not None:
                self._flights.end(key, flight)
            if whole is None:
                return
            entry.take(whole)
            if not self._flights.is_outdated(key, requested_s):
                self._store.put(key, entry)

        endless = b"content-length" not in reply.headers
        tee = Tee(reply.body, self._settings.max_entry_bytes, on_end, endless=endless)
        reply.body = tee.reader()
        tee.start()
        self._offer(lookup, entry, tee)

    def _offer(self, lookup: Lookup, entry: Entry, tee: Tee | None) -> None:
        """Let those who wait have it, unless it is for one request only."""
        self._flights.shares(lookup.key)
        flight = lookup.flight
        if flight is None:
            return
        terms = terms_of(entry, self._settings)
        if terms.must_validate or (entry.lifetime_s <= entry.initial_age_s and not terms.heuristic):
            self._go_alone(lookup)
        elif tee is not None or flight.is_awaited:
            flight.land(Landing(How.KEPT, entry, tee))

    def _go_alone(self, lookup: Lookup) -> None:
        if lookup.flight is not None:
            self._flights.go_alone(lookup.key, self._ports.clock.now())
            lookup.land(self._flights, ALONE)


def _said_bytes(headers: Headers) -> int:
    """How long a body will be; 0 if its length is not said."""
    length = headers.get(b"content-length")
    return int(length) if length is not None and length.isdigit() else 0
