"""Replies to calls by a base URL lead back to it; all other calls have the provider's own URLs."""

from __future__ import annotations

from sidecar.call import Call, Outcome, Reply
from sidecar.steps.rewrite import Rewrite
from tests.fakes import FakeClock, FakeProvider, make_call, make_failure, make_reply

NAMES = frozenset((b"location", b"link"))
URL = "https://api.stripe.com/v1/x"
OURS = b"http://localhost:7600/stripe"


def rewrite(*, dry_run: bool = False) -> Rewrite:
    return Rewrite(NAMES, lambda authority: authority == b"api.stripe.com", FakeClock(), dry_run=dry_run)


async def ask(step: Rewrite, outcome: object, base: bytes | None = OURS) -> tuple[Call, Outcome]:
    call = make_call()
    call.base = base
    return call, await step.bind(FakeProvider(outcome))(call)


def location(outcome: Outcome) -> bytes | None:
    assert isinstance(outcome, Reply)
    return outcome.headers.get(b"location")


async def test_a_reply_to_a_call_by_base_url_leads_back_to_it() -> None:
    reply = make_reply(302, {"Location": URL, "Content-Type": "text/plain", "Link": f"<{URL}>; rel=next"})
    call, outcome = await ask(rewrite(), reply)

    assert location(outcome) == OURS + b"/v1/x"
    assert isinstance(outcome, Reply)
    assert outcome.headers.get(b"link") == b"<" + OURS + b"/v1/x>; rel=next"
    assert [name for name, _ in outcome.headers.fields] == [b"Location", b"Content-Type", b"Link"]
    assert call.decisions == [("rewrite", "rewrites Location, Link", 1000.0)]


async def test_calls_in_other_modes_have_the_providers_urls() -> None:
    call, outcome = await ask(rewrite(), make_reply(302, {"Location": URL}), base=None)
    assert (location(outcome), call.decisions) == (URL.encode(), None)


async def test_what_a_cache_shares_is_not_touched() -> None:
    reply = make_reply(302, {"Location": URL})
    kept = reply.headers
    _, outcome = await ask(rewrite(), reply)
    assert location(outcome) != URL.encode()
    assert kept.get(b"location") == URL.encode()


async def test_a_dry_run_only_says_what_it_would_do() -> None:
    call, outcome = await ask(rewrite(dry_run=True), make_reply(302, {"Location": URL}))
    assert location(outcome) == URL.encode()
    assert call.decisions == [("rewrite", "would rewrite Location", 1000.0)]


async def test_foreign_urls_replies_without_the_fields_and_failures_pass() -> None:
    for outcome in (make_reply(302, {"Location": "https://a.test/"}), make_reply(200), make_failure()):
        call, seen = await ask(rewrite(), outcome)
        assert seen is outcome
        assert call.decisions is None
