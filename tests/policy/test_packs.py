"""The shipped packs: clean, described, and true to what PROVIDERS say of each."""

from __future__ import annotations

import pytest

from sidecar.policy.effective import find_call
from sidecar.policy.files import shipped_policies
from sidecar.policy.model import HintUnit, ProviderPolicy, Settings
from sidecar.policy.sources import LoadedPolicies, load_policies


@pytest.fixture(scope="module")
def packs() -> LoadedPolicies:
    return load_policies([shipped_policies()])


def pack(packs: LoadedPolicies, name: str) -> ProviderPolicy:
    return next(policy for policy in packs.providers if policy.provider == name)


def route(packs: LoadedPolicies, method: str, url: str) -> tuple[str, Settings]:
    found = find_call(packs, method, url)
    assert found is not None
    assert found.route is not None
    return found.route.name, found.settings


def verdict(packs: LoadedPolicies, name: str, status: int, body: dict[str, object]) -> tuple[str, float | None] | None:
    """The first rule that asks for this status and these values of the body, headers aside."""
    for rule in pack(packs, name).classify or ():
        when = rule.when
        same_body = all(body.get(pointer) in values for pointer, values in when.body.items())
        if not when.header and (not when.status or status in when.status) and same_body:
            return rule.verdict.value, rule.wait
    return None


def test_every_pack_is_clean(packs: LoadedPolicies) -> None:
    assert packs.problems == ()
    assert {policy.provider for policy in packs.providers} == {"hubspot", "salesforce", "sendgrid", "stripe"}


def test_every_pack_says_what_it_is(packs: LoadedPolicies) -> None:
    for policy in packs.providers:
        assert policy.about.purpose
        assert policy.about.docs.startswith("https://")
        assert policy.about.updated is not None


@pytest.mark.parametrize(
    ("name", "status", "body", "expected"),
    [
        ("stripe", 409, {"/error/code": "lock_timeout"}, ("transient", None)),
        ("stripe", 429, {"/error/code": "lock_timeout"}, ("transient", None)),
        ("stripe", 409, {"/error/code": "idempotency_key_in_use"}, ("transient", None)),
        ("stripe", 400, {"/error/code": "rate_limit"}, ("throttled", None)),
        ("stripe", 400, {"/error/code": "parameter_missing"}, None),
        ("stripe", 429, {}, None),
        (
            "salesforce",
            403,
            {"/0/errorCode": "REQUEST_LIMIT_EXCEEDED", "/0/message": "TotalRequests Limit exceeded."},
            ("exhausted", 900.0),
        ),
        ("salesforce", 403, {"/0/errorCode": "REQUEST_LIMIT_EXCEEDED", "/0/message": "x"}, ("throttled", 5.0)),
        ("salesforce", 403, {"/0/errorCode": "INSUFFICIENT_ACCESS"}, None),
        ("salesforce", 400, {"/0/errorCode": "UNABLE_TO_LOCK_ROW"}, ("transient", None)),
        ("hubspot", 429, {"/policyName": "DAILY"}, ("exhausted", 900.0)),
        ("hubspot", 429, {"/policyName": "TEN_SECONDLY_ROLLING"}, ("throttled", 10.0)),
        ("hubspot", 423, {}, ("throttled", 2.0)),
        ("hubspot", 477, {}, ("exhausted", None)),
    ],
)
def test_verdicts(
    packs: LoadedPolicies, name: str, status: int, body: dict[str, object], expected: tuple[str, float | None] | None
) -> None:
    assert verdict(packs, name, status, body) == expected


def test_stripe_has_its_own_word_on_retries_first(packs: LoadedPolicies) -> None:
    first, *_, last = pack(packs, "stripe").classify or ()
    assert (first.when.header, first.verdict) == ({"Stripe-Should-Retry": "false"}, "rejected")
    assert (last.when.header, last.verdict) == ({"Stripe-Should-Retry": "true"}, "transient")
    assert 429 not in last.when.status
    assert {409, 500, 503} <= last.when.status


def test_mail_that_was_sent_is_not_sent_again(packs: LoadedPolicies) -> None:
    name, settings = route(packs, "POST", "https://api.sendgrid.com/v3/mail/send")
    assert name == "send-mail"
    assert settings.retry is not None
    assert settings.retry.methods == ()
    assert settings.retry.hint is not None
    assert [(one.header, one.unit) for one in settings.retry.hint.headers] == [
        ("Retry-After", HintUnit.RETRY_AFTER),
        ("X-RateLimit-Reset", HintUnit.EPOCH_S),
    ]


@pytest.mark.parametrize(
    ("method", "url", "name"),
    [
        ("GET", "https://api.stripe.com/v1/customers/search?query=x", "search"),
        ("GET", "https://api.stripe.com/v1/customers/cus_1", "get-customer"),
        ("POST", "https://api.stripe.com/v1/charges", "create-charge"),
        ("POST", "/hubspot/crm/v3/objects/contacts/search", "search"),
        ("GET", "/hubspot/crm/v3/objects/contacts/7", "get-object"),
        ("PATCH", "https://acme.my.salesforce.com/services/data/v60.0/sobjects/Account/Ext__c/7", "upsert-record"),
        ("PATCH", "https://acme.my.salesforce.com/services/data/v60.0/sobjects/Account/7", "update-record"),
    ],
)
def test_routes(packs: LoadedPolicies, method: str, url: str, name: str) -> None:
    assert route(packs, method, url)[0] == name


def test_published_limits(packs: LoadedPolicies) -> None:
    stripe, hubspot, salesforce = (pack(packs, name).limit for name in ("stripe", "hubspot", "salesforce"))
    assert stripe is not None
    assert hubspot is not None
    assert salesforce is not None
    assert (stripe.rate, stripe.burst) == (100.0, 100)
    assert (hubspot.rate, hubspot.burst) == (10.0, 100)
    assert (salesforce.rate, salesforce.concurrency) == (None, 25)
    search = route(packs, "GET", "/stripe/v1/charges/search")[1].limit
    assert search is not None
    assert search.rate == 20.0
