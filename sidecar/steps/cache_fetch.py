"""Asking the provider for the cache: one call for many equal ones, conditional where something is kept, and what stands
in when it fails."""

from __future__ import annotations

from typing import final

from sidecar.call import Call, Failure, Handler, Outcome, Reply, Served
from sidecar.errors import Reason, Verdict
from sidecar.http1.message import Body, Headers
from sidecar.rules.cache.asked import ANYTHING
from sidecar.rules.cache.entry import Entry
from sidecar.rules.cache.freshness import age_s, terms_of
from sidecar.rules.cache.settings import CacheSettings
from sidecar.rules.cache.stale import may_stand_in, stands_in_for
from sidecar.rules.cache.status import forwarded, hit
from sidecar.rules.cache.validation import CONDITIONAL, conditions, confirms, is_conditional
from sidecar.rules.fallback import reason_of
from sidecar.steps.cache_keep import Keeper
from sidecar.steps.cache_ports import CachePorts, Lookup
from sidecar.steps.cache_reply import add_status, kept_reply, wants_no_body
from sidecar.steps.flight import ALONE, GONE, How, Landing


@final
class Fetch:
    """Calls that what is kept does not answer. One a route."""

    def __init__(self, inner: Handler, settings: CacheSettings, ports: CachePorts) -> None:
        self._inner = inner
        self._settings = settings
        self._ports = ports
        self._keeper = Keeper(settings, ports)
        self._flights = ports.flights
        self._wall = ports.clock.wall
        self._now = ports.clock.now
        self._count = ports.book.count

    def goes_first(self, lookup: Lookup, now_s: float) -> bool:
        """Whether a call is simply the provider's to answer, as most misses are: nothing is kept that could be
        confirmed or stand in, and no equal call is under way. If so, it has begun: `answered` or `gone` must follow."""
        if lookup.entry is not None:
            return False
        if self._may_share(lookup):
            if lookup.key in self._flights.by_key:
                return False
            lookup.flight = self._flights.begin(lookup.key)
        self._leave(lookup, now_s)
        return True

    def gone(self, lookup: Lookup) -> None:
        """It was broken off, which says nothing to those who wait."""
        lookup.land(self._flights, GONE)

    async def fetch(self, lookup: Lookup) -> Outcome:
        """The provider's answer, another call's, or what stands in for it."""
        if self._may_share(lookup):
            while (flight := self._flights.by_key.get(lookup.key)) is not None:
                landing = await flight.wait(self._ports.clock, lookup.call.deadline_s)
                if landing is None:
                    return self._covered(lookup, _out_of_time())
                if landing.how is not How.GONE:
                    outcome = self._share(lookup.call, landing) or await self.ask(lookup)
                    return self._covered(lookup, outcome)
            lookup.flight = self._flights.begin(lookup.key)
        try:
            outcome = await self.ask(lookup)
        except BaseException:
            self.gone(lookup)
            raise
        return self._covered(lookup, outcome)

    # One call for many.

    def _may_share(self, lookup: Lookup) -> bool:
        """Whether the answer can be another's, too: not that to the application's own conditions or directives."""
        return (
            self._settings.coalesce
            and lookup.asked is ANYTHING
            and lookup.call.method == "GET"
            and (lookup.entry is not None or not is_conditional(lookup.call.headers))
            and not (self._flights.any_alone and self._flights.goes_alone(lookup.key, self._now()))
        )

    def _share(self, call: Call, landing: Landing) -> Outcome | None:
        """What another call's answer is to this one; None if it is nothing to it."""
        entry, tee, outcome = landing.entry, landing.tee, landing.outcome
        if outcome is not None:
            self._count("coalesced")
            return _copied(outcome)
        if entry is None or not self._ports.keys.matches(entry, call.headers):
            return None
        if tee is not None and not tee.keeps and not entry.body_bytes:
            return None  # It has grown past what is kept.
        self._count("coalesced")
        body = tee.reader() if tee is not None and tee.keeps else None
        terms_of(entry, self._settings)  # Which its age comes with.
        age = age_s(entry, self._wall())
        status = forwarded("uri-miss", entry.status, False, True)
        return kept_reply(call, entry, age, status, None, wants_no_body(call, entry), body)

    # The call itself.

    async def ask(self, lookup: Lookup) -> Outcome:
        """Ask the provider, conditionally if there is something to confirm, and keep what may be kept of its answer."""
        call, entry = lookup.call, lookup.entry
        asks_whether = False
        if entry is not None:
            asks_whether = _ask_whether(call, entry)
            call.standby = may_stand_in(entry, terms_of(entry, self._settings), lookup.asked, self._wall())
        self._leave(lookup, self._wall())
        outcome = await self._inner(call)
        if entry is not None and isinstance(outcome, Reply) and outcome.status == 304 and asks_whether:
            if confirms(entry, outcome.headers):
                return self._confirmed(lookup, entry, outcome)
            # About some other reply, which is not at hand: ask for all of it.
            outcome.body.discard()
            _drop_conditions(call)
            outcome = await self._inner(call)
        return self.answered(lookup, outcome)

    def _leave(self, lookup: Lookup, now_s: float) -> None:
        if lookup.entry is None:
            self._count("miss")
        lookup.requested_s = now_s

    def answered(self, lookup: Lookup, outcome: Outcome) -> Outcome:
        """The provider's answer, which is no confirmation of what is kept: learn from it, and keep it if it may be."""
        call, entry = lookup.call, lookup.entry
        if not isinstance(outcome, Reply) or stands_in_for(outcome.verdict, None):
            self._failed(lookup, outcome)
            if isinstance(outcome, Reply) and entry is None and call.method == "GET":
                # A failure that says how long it will last (RFC 9111 3), never in place of something better.
                lookup.flight = None
                self._keeper.keep(lookup, outcome)
            return outcome
        self._well(lookup)
        if call.method == "HEAD":
            self._keeper.compare(lookup, outcome)
            add_status(outcome, forwarded(lookup.why, outcome.status, False, False))
            return outcome
        if entry is not None:
            self._count("refreshed")
        self._keeper.keep(lookup, outcome)
        return outcome

    def _confirmed(self, lookup: Lookup, entry: Entry, reply: Reply) -> Reply:
        """A 304: what is kept is good again."""
        self._well(lookup)
        fresh, stored = self._keeper.freshen(lookup, entry, reply)
        lookup.land(self._flights, Landing(How.KEPT, fresh) if stored else ALONE)
        self._count("validated")
        age = age_s(fresh, self._wall())
        status = forwarded("stale", 304, stored, False)
        return kept_reply(lookup.call, fresh, age, status, Served("cache", age), lookup.unchanged)

    # Failures.

    def _well(self, lookup: Lookup) -> None:
        self._ports.health.succeeded()
        self._flights.succeeded(lookup.key)

    def _failed(self, lookup: Lookup, outcome: Outcome) -> None:
        reason = reason_of(outcome)
        refused = reason == Reason.BREAKER_OPEN
        if refused or (outcome.verdict is not Verdict.LOCAL and reason != Reason.TOTAL_TIMEOUT):
            now_s = self._now()
            self._ports.health.failed(reason, now_s, outcome.wait_s, refused)
            self._flights.failed(lookup.key, reason, now_s, outcome.wait_s)
        # Who had no time left says nothing about those who have.
        lookup.land(self._flights, GONE if reason == Reason.TOTAL_TIMEOUT else _shared_failure(outcome))

    def _covered(self, lookup: Lookup, outcome: Outcome) -> Outcome:
        """A failure's stand-in if there is one; anything else as it is."""
        entry = lookup.entry
        if entry is None or not stands_in_for(
            outcome.verdict, outcome.reason if isinstance(outcome, Failure) else None
        ):
            return outcome
        now_s = self._wall()
        terms = terms_of(entry, self._settings)
        if not may_stand_in(entry, terms, lookup.asked, now_s):
            return outcome
        reason = reason_of(outcome)
        if isinstance(outcome, Reply):
            outcome.body.discard()
        age = age_s(entry, now_s)
        self._count("stale")
        lookup.call.note("cache", f"a reply {int(age)} s old stands in: {reason}", self._now())
        lookup.call.final = False
        status = hit(entry.lifetime_s - age, reason)
        return kept_reply(lookup.call, entry, age, status, Served("stale", age, reason), lookup.unchanged)


def _ask_whether(call: Call, entry: Entry) -> bool:
    """Put conditions that the entry would meet in place of the application's own; False if it has no validators."""
    asked = conditions(entry)
    if asked:
        _drop_conditions(call)
        for name, value in asked:
            call.headers.add(name, value)
    return bool(asked)


def _drop_conditions(call: Call) -> None:
    for name in CONDITIONAL:
        call.headers.remove(name)


def _shared_failure(outcome: Outcome) -> Landing:
    """A failure is everybody's; a reply that is one, only if its body is here to be copied."""
    if isinstance(outcome, Failure):
        return Landing(How.FAILED, None, None, outcome)
    whole = outcome.body.look()
    if whole is None:
        return ALONE
    return Landing(How.FAILED, None, None, _with_body(outcome, whole))


def _copied(outcome: Outcome) -> Outcome:
    if isinstance(outcome, Failure):
        return outcome
    return _with_body(outcome, outcome.body.look() or b"")


def _with_body(reply: Reply, whole: bytes) -> Reply:
    headers = Headers(reply.headers.fields)
    return Reply(reply.status, reply.phrase, headers, Body.of(whole), reply.verdict, reply.wait_s)


def _out_of_time() -> Failure:
    detail = "an equal call was still under way when the call's deadline passed"
    return Failure(Reason.TOTAL_TIMEOUT, detail, Verdict.TRANSIENT)
