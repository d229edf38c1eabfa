"""Which rung holds, and what it answers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.call import Failure, Outcome
from sidecar.errors import Reason, Verdict
from sidecar.rules.cache.stale import stands_in_for
from sidecar.rules.fallback import READS, Condition, Rung, choose, reason_of
from sidecar.rules.placeholder import Template, for_field, for_text
from tests.fakes import make_failure, make_reply

OUTCOMES = st.one_of(
    st.builds(make_failure, st.sampled_from(Verdict), st.sampled_from(Reason)),
    st.builds(lambda s, v: make_reply(s, verdict=v), st.integers(200, 599), st.sampled_from(Verdict)),
)
CONDITIONS = st.builds(
    Condition,
    st.frozensets(st.sampled_from(Reason), max_size=2),
    st.frozensets(st.sampled_from(Verdict), max_size=2),
    st.frozensets(st.integers(200, 599), max_size=2),
    st.frozensets(st.sampled_from(["GET", "HEAD", "POST"]), max_size=2),
)


def rung(when: Condition | None = None, status: int = 200, text: str | None = "{id}", **fields: str) -> Rung:
    body = None if text is None else Template.of_text(text, for_text)
    named = tuple((name.encode(), Template.of_text(value, for_field)) for name, value in fields.items())
    return Rung(when or Condition(), status, b"", named, body)


@pytest.mark.parametrize(
    ("outcome", "holds"),
    [
        (make_failure(Verdict.UNREACHABLE, Reason.CONNECT_FAILED), True),
        (make_failure(Verdict.TRANSIENT, Reason.CONNECTION_LOST), True),
        (make_failure(Verdict.TRANSIENT, Reason.TOTAL_TIMEOUT), True),
        (make_failure(Verdict.LOCAL, Reason.TOTAL_TIMEOUT), True),
        (make_failure(Verdict.LOCAL, Reason.BREAKER_OPEN), True),
        (make_failure(Verdict.LOCAL, Reason.RATE_LIMITED), True),
        (make_failure(Verdict.LOCAL, Reason.CONCURRENCY_LIMITED), True),
        (make_failure(Verdict.LOCAL, Reason.POOL_EXHAUSTED), True),
        (make_failure(Verdict.LOCAL, Reason.ADDRESS_DENIED), False),
        (make_failure(Verdict.LOCAL, Reason.EGRESS_DENIED), False),
        (make_failure(Verdict.LOCAL, Reason.NOT_CACHED), False),
        (make_failure(Verdict.LOCAL, Reason.INTERNAL), False),
        (make_failure(Verdict.REJECTED, Reason.BAD_REQUEST), False),
        (make_reply(503, verdict=Verdict.TRANSIENT), True),
        (make_reply(429, verdict=Verdict.THROTTLED), True),
        (make_reply(402, verdict=Verdict.EXHAUSTED), True),
        (make_reply(404, verdict=Verdict.REJECTED), False),
        (make_reply(401, verdict=Verdict.CREDENTIAL), False),
    ],
)
def test_without_more_words_it_stands_in_for_the_providers_trouble(outcome: Outcome, holds: bool) -> None:
    assert Condition().holds(outcome, "GET") is holds
    assert Condition(methods=READS).holds(outcome, "GET") is holds
    assert not Condition(methods=READS).holds(outcome, "POST")


@pytest.mark.parametrize(
    ("words", "outcome", "holds"),
    [
        ({"reasons": {Reason.BREAKER_OPEN}}, make_failure(Verdict.LOCAL, Reason.BREAKER_OPEN), True),
        ({"reasons": {Reason.BREAKER_OPEN}}, make_failure(Verdict.LOCAL, Reason.RATE_LIMITED), False),
        ({"reasons": {Reason.BREAKER_OPEN}}, make_reply(503, verdict=Verdict.TRANSIENT), False),
        ({"statuses": {404}}, make_reply(404, verdict=Verdict.REJECTED), True),
        ({"statuses": {404}}, make_reply(503, verdict=Verdict.TRANSIENT), False),
        ({"statuses": {503}}, make_failure(), False),
        ({"verdicts": {Verdict.CREDENTIAL}}, make_reply(401, verdict=Verdict.CREDENTIAL), True),
        ({"verdicts": {Verdict.TRANSIENT}, "statuses": {500}}, make_reply(500, verdict=Verdict.REJECTED), False),
        (
            {"verdicts": {Verdict.TRANSIENT}, "reasons": {Reason.CONNECTION_LOST}},
            make_failure(Verdict.TRANSIENT),
            False,
        ),
    ],
)
def test_everything_named_must_hold(words: dict[str, Any], outcome: Outcome, holds: bool) -> None:
    assert Condition(**{key: frozenset(value) for key, value in words.items()}).holds(outcome, "GET") is holds


@given(CONDITIONS, OUTCOMES, st.sampled_from(["GET", "HEAD", "POST"]))
def test_a_condition_is_the_conjunction_of_its_words(when: Condition, outcome: Outcome, method: str) -> None:
    failure = isinstance(outcome, Failure)
    reason = outcome.reason if isinstance(outcome, Failure) else None
    status = None if isinstance(outcome, Failure) else outcome.status
    named = bool(when.reasons or when.verdicts or when.statuses)
    assert when.holds(outcome, method) is (
        (not when.methods or method in when.methods)
        and (not when.reasons or (failure and reason in when.reasons))
        and (not when.statuses or status in when.statuses)
        and (not when.verdicts or outcome.verdict in when.verdicts)
        and (named or stands_in_for(outcome.verdict, reason))
    )


@given(st.lists(CONDITIONS, max_size=4), OUTCOMES)
def test_the_first_that_holds_wins(ladder: list[Condition], outcome: Outcome) -> None:
    holding = [place for place, when in enumerate(ladder) if when.holds(outcome, "GET")]
    assert choose([rung(when) for when in ladder], outcome, "GET") == (holding[0] if holding else None)


def test_a_reply_is_filled_and_measured() -> None:
    headers, body = rung(text="hello {id}", Location="/v1/{id}").compose({"id": "a\n\u00e9"})
    assert body == "hello a\u00e9".encode()
    assert headers.fields == [(b"Location", b"/v1/a%0A%C3%A9"), (b"Content-Length", b"9")]


@pytest.mark.parametrize(("status", "length"), [(200, b"0"), (205, b"0"), (204, None), (304, None)])
def test_without_a_body_the_length_is_zero_or_unsaid(status: int, length: bytes | None) -> None:
    headers, body = rung(status=status, text=None).compose({})
    assert (headers.get(b"content-length"), body) == (length, b"")


def test_what_it_stands_in_for_has_a_name() -> None:
    assert reason_of(make_failure(reason=Reason.BREAKER_OPEN)) == "breaker-open"
    assert reason_of(make_reply(503)) == "status-503"
