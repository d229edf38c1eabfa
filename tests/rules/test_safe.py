import pytest

from sidecar.rules.safe import Repeat, is_sdk_retry, may_repeat
from tests.fakes import make_headers

KEYED = make_headers({"Idempotency-Key": "8e03978e"})
BARE = make_headers()


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"])
def test_idempotent_methods_are_safe(method: str) -> None:
    assert may_repeat(Repeat.SAFE, method, BARE)


@pytest.mark.parametrize("method", ["POST", "PATCH", "get", "CONNECT", "PURGE"])
def test_others_are_with_a_key_only(method: str) -> None:
    assert not may_repeat(Repeat.SAFE, method, BARE)
    assert may_repeat(Repeat.SAFE, method, KEYED)


def test_a_policy_may_say_all_or_which() -> None:
    assert may_repeat(Repeat.ALL, "POST", BARE)
    assert may_repeat(frozenset({"POST"}), "POST", BARE)
    assert not may_repeat(frozenset({"GET"}), "POST", KEYED)


@pytest.mark.parametrize(
    ("name", "value", "retried"),
    [
        ("X-Stainless-Retry-Count", "1", True),
        ("X-Stainless-Retry-Count", "0", False),
        ("X-Stainless-Retry-Count", "many", False),
        ("X-Slack-Retry-Num", "2", True),
        ("X-Retry-Count", "10", True),
        ("Retry-Attempt", " 3 ", True),
        ("amz-sdk-request", "attempt=2; max=3", True),
        ("amz-sdk-request", "ttl=20261122T120000Z; attempt=12; max=15", True),
        ("amz-sdk-request", "attempt=1; max=3", False),
        ("amz-sdk-request", "attempt=1; max=3; lastattempt=2", False),
        ("Idempotency-Key", "1", False),
    ],
)
def test_signs_of_an_sdks_own_retry(name: str, value: str, retried: bool) -> None:
    assert is_sdk_retry(make_headers({name: value})) is retried
