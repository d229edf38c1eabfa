import pytest

from sidecar.rules.credential import ANONYMOUS, credential_id, may_be_credential
from tests.fakes import make_headers

KEY = b"k" * 16


def test_tells_credentials_apart_without_showing_them() -> None:
    one = credential_id(make_headers({"Authorization": "Bearer sk_live_1"}), KEY)
    other = credential_id(make_headers({"Authorization": "Bearer sk_live_2"}), KEY)
    assert one != other
    assert one == credential_id(make_headers({"authorization": "Bearer sk_live_1"}), KEY)
    assert len(one) == 12
    assert "sk_live" not in one


def test_is_of_no_use_without_the_key_or_under_another_field() -> None:
    token = {"Authorization": "secret"}
    assert credential_id(make_headers(token), KEY) != credential_id(make_headers(token), b"other")
    assert credential_id(make_headers(token), KEY) != credential_id(make_headers({"X-Api-Key": "secret"}), KEY)
    assert credential_id(make_headers(), KEY) == ANONYMOUS


@pytest.mark.parametrize(
    "name",
    [
        "authorization",
        "cookie",
        "x-api-key",
        "apikey",
        "x-goog-api-key",
        "private-token",
        "x-session-id",
        "x-password",
        "ocp-apim-subscription-key",
        "x-amz-security-token",
        "x-signature",
        "x-client-secret",
    ],
)
def test_a_field_that_may_say_who_calls_is_known_by_its_name(name: str) -> None:
    assert may_be_credential(name.encode())


@pytest.mark.parametrize("name", ["accept", "host", "user-agent", "idempotency-key", "stripe-version", "x-key-id"])
def test_others_are_not(name: str) -> None:
    assert not may_be_credential(name.encode())
