"""Gives every reply its verdict and the provider's wish to be left alone, once, for all steps outside."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final

from sidecar.call import Call, Failure, Handler, Outcome, Reply
from sidecar.clock import Clock
from sidecar.errors import Reason, Verdict, WireError
from sidecar.http1.message import Body, Headers
from sidecar.rules.classify import (
    BUILT_IN,
    PEEK_BYTES,
    Rule,
    body_bytes,
    decide,
    is_json,
    parse_body,
    rules_for,
    suspects,
)
from sidecar.rules.hint import HintSettings, hint_s

OK: Final = Verdict.OK
_ASKS_TO_WAIT: Final = frozenset({Verdict.THROTTLED, Verdict.EXHAUSTED, Verdict.TRANSIENT})


class Classify:
    """`rules` are the policy's, before the built-in ones; `hint` says which fields to believe, None for none."""

    name = "classify"

    def __init__(
        self, rules: tuple[Rule, ...], hint: HintSettings | None, clock: Clock, *, dry_run: bool = False
    ) -> None:
        self._rules = rules
        self._hint = hint
        self._clock = clock
        self._dry_run = dry_run

    def bind(self, inner: Handler) -> Handler:
        judge = self._bind_built_in()

        async def classify(call: Call) -> Outcome:
            outcome = await inner(call)
            if isinstance(outcome, Reply):
                judge(outcome)
            return outcome

        if not self._rules:
            return classify
        rules, apply_rules = self._rules, self._apply_rules
        by_status: dict[int, tuple[Rule, ...]] = {}

        async def classify_by_rules(call: Call) -> Outcome:
            outcome = await inner(call)
            if not isinstance(outcome, Reply):
                return outcome
            judge(outcome)
            status = outcome.status
            candidates = by_status.get(status)
            if candidates is None:
                candidates = by_status[status] = rules_for(rules, status)
            return await apply_rules(call, outcome, candidates) if candidates else outcome

        return classify_by_rules

    def _bind_built_in(self) -> Callable[[Reply], None]:
        built_in, hinted_s = BUILT_IN, self._hinted_s

        def judge(reply: Reply) -> None:
            verdict = built_in[reply.status]
            if verdict is not OK:
                reply.verdict = verdict
                reply.wait_s = hinted_s(verdict, reply.headers)

        return judge

    async def _apply_rules(self, call: Call, reply: Reply, rules: tuple[Rule, ...]) -> Outcome:
        found = suspects(rules, reply.headers)
        document = None
        if found and found[0].body and is_json(reply.headers):
            document = await _peek(reply, call, self._clock)
            if isinstance(document, Failure):
                return document
        rule = decide(found, document)
        if rule is None:
            return reply
        if self._dry_run:
            call.note("classify", f"would be {rule.verdict} instead of {reply.verdict}", self._clock.now())
            return reply
        reply.verdict = rule.verdict
        hinted_s = self._hinted_s(rule.verdict, reply.headers)
        reply.wait_s = rule.wait_s if hinted_s is None else hinted_s
        return reply

    def _hinted_s(self, verdict: Verdict, headers: Headers) -> float | None:
        hint = self._hint
        if hint is None or verdict not in _ASKS_TO_WAIT:
            return None
        fields = hint.about_failures if verdict is Verdict.TRANSIENT else hint.fields
        return hint_s(headers, fields, hint.cap_s, self._clock.wall())


async def _peek(reply: Reply, call: Call, clock: Clock) -> object:
    """The JSON of a reply whose body stays unread; None if there is none, a failure if it does not come as it should.

    Nothing has gone to the application yet, so a body that breaks here may still be asked for again.
    """
    body = reply.body
    if body_bytes(reply.headers) > PEEK_BYTES:
        return None
    until_s = min(call.attempt_deadline_s, call.deadline_s)
    # Discarding it is how a reader that waits is woken.
    alarm = clock.at(until_s, body.discard) if not body.done and until_s < inf else None
    try:
        data = await _read_some(body)
    except WireError as lost:
        return Failure(lost.reason, lost.detail, Verdict.TRANSIENT)
    finally:
        if alarm is not None:
            alarm.cancel()
    if alarm is not None and clock.now() >= until_s:
        body.discard()
        reason = Reason.ATTEMPT_TIMEOUT if until_s < call.deadline_s else Reason.TOTAL_TIMEOUT
        detail = f"{call.provider} began to answer but did not finish in time; try again or allow it more time."
        return Failure(reason, detail, Verdict.TRANSIENT)
    body.unread(data)
    return parse_body(data, reply.headers)


async def _read_some(body: Body) -> bytes:
    """All of a body, or more than `PEEK_BYTES` of it."""
    pieces: list[bytes] = []
    size_bytes = 0
    while size_bytes <= PEEK_BYTES and (piece := await body.read()):
        pieces.append(piece)
        size_bytes += len(piece)
    return b"".join(pieces)
