"""Every reason has one answer, of one shape."""

from __future__ import annotations

import orjson
import pytest

from sidecar.errors import Reason, Verdict
from sidecar.intercept.problem import ROWS, Refusal, problem
from sidecar.rules.proxy_status import ERRORS


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_answers_in_full(reason: Reason) -> None:
    refusal = Refusal(
        reason, 'say "why" – now', "00000000000000ab", Verdict.LOCAL, "stripe", "charge", 2, 2.2, "a.test"
    )
    answer = problem(refusal, b"provider=stripe")
    fields = dict(answer.extra)
    body = answer.body.whole()
    assert body is not None
    assert answer.headers.get(b"content-length") == b"%d" % len(body)
    assert orjson.loads(body) == {
        "type": f"urn:sidecar:problem:{reason}",
        "title": ROWS[reason].title,
        "status": answer.status,
        "detail": 'say "why" – now',
        "provider": "stripe",
        "route": "charge",
        "reason": reason.value,
        "attempts": 2,
        "id": "00000000000000ab",
    }
    assert fields[b"Proxy-Status"] == (
        f'sidecar; error={ERRORS[reason]}; next-hop="a.test"; details="say \\"why\\" ? now"'.encode()
    )
    assert fields[b"Sidecar"] == b"provider=stripe"
    assert fields[b"X-Should-Retry"] == fields[b"Stripe-Should-Retry"] == b"false"
    assert (b"Retry-After" in fields) is (answer.status in (429, 503))


def test_retry_after_is_rounded_up_and_at_least_a_second() -> None:
    for wait_s, shown in ((None, b"1"), (0.01, b"1"), (2.2, b"3")):
        answer = problem(Refusal(Reason.BREAKER_OPEN, "", "1", wait_s=wait_s), b"")
        assert dict(answer.extra)[b"Retry-After"] == shown
