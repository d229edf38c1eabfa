"""Answers with a reply of the policy's own when nothing better is left."""

from __future__ import annotations

from sidecar.call import Call, Failure, Handler, Outcome, Reply, Served
from sidecar.clock import Clock
from sidecar.errors import Verdict
from sidecar.http1.message import Body
from sidecar.rules.fallback import Rung, choose, reason_of
from sidecar.rules.placeholder import PathValues
from sidecar.rules.proxy_status import failed, received


class Fallback:
    """Goes down the ladder until a rung holds. `upstream` is what `Proxy-Status` calls the provider's end."""

    name = "fallback"

    def __init__(
        self, ladder: tuple[Rung, ...], values: PathValues, clock: Clock, upstream: str | None, *, dry_run: bool = False
    ) -> None:
        self._ladder = ladder
        self._values = values
        self._clock = clock
        self._upstream = upstream
        self._dry_run = dry_run

    def bind(self, inner: Handler) -> Handler:
        stand_in = self._stand_in

        async def fallback(call: Call) -> Outcome:
            outcome = await inner(call)
            return outcome if outcome.verdict is Verdict.OK else stand_in(call, outcome)

        return fallback

    def _stand_in(self, call: Call, outcome: Outcome) -> Outcome:
        place = choose(self._ladder, outcome, call.method)
        if place is None:
            return outcome
        rung, reason = self._ladder[place], reason_of(outcome)
        answers = "would answer" if self._dry_run else "answers"
        said = f"{answers} {rung.status} (fallback {place + 1} of {len(self._ladder)}) instead of {reason}"
        call.note("fallback", said, self._clock.now())
        if self._dry_run:
            return outcome
        reply = self._reply(call, rung)
        reply.served = Served("fallback", None, reason)
        reply.extra = [(b"Proxy-Status", self._proxy_status(outcome))]
        if isinstance(outcome, Reply):
            outcome.body.discard()
        return reply

    def _reply(self, call: Call, rung: Rung) -> Reply:
        headers, body = rung.compose(self._values.of(call.target))
        return Reply(rung.status, rung.phrase, headers, Body.of(b"" if call.method == "HEAD" else body))

    def _proxy_status(self, outcome: Outcome) -> bytes:
        if isinstance(outcome, Failure):
            return failed(outcome.reason, outcome.detail, self._upstream)
        return received(outcome.status, self._upstream)
