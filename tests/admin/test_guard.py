"""Who may read and who may change, on loopback and beyond it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.admin.guard import Guard

TOKEN = "correct-horse"
LOOPBACK = Guard(loopback=True, token=None)
POD = Guard(loopback=False, token=TOKEN)
POD_WITHOUT_TOKEN = Guard(loopback=False, token=None)


def status(guard: Guard, method: str, headers: dict[str, str]) -> int | None:
    denial = guard.denial(method, headers)
    return denial.status if denial else None


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:7601", "127.0.0.1", "localhost:7601", "LOCALHOST.", "admin.localhost", "[::1]:7601", "10.1.2.3", ""],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
def test_loopback_is_open_to_whoever_names_it_as_such(host: str, method: str) -> None:
    assert status(LOOPBACK, method, {"Host": host}) is None


@pytest.mark.parametrize("host", ["evil.example:7601", "evil.example", "localhost.evil.example", "[evil]:7601"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_name_that_was_rebound_to_loopback_is_misdirected(host: str, method: str) -> None:
    assert status(LOOPBACK, method, {"Host": host}) == 421


def test_a_listener_for_the_pod_is_read_by_any_name() -> None:
    assert status(POD, "GET", {"Host": "sidecar.payments.svc:7601"}) is None


@pytest.mark.parametrize("guard", [LOOPBACK, POD])
@pytest.mark.parametrize(
    "fields",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:8080"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_another_sites_page_changes_nothing_even_with_the_token(guard: Guard, fields: dict[str, str]) -> None:
    headers = {"Host": "127.0.0.1:7601", "Authorization": f"Bearer {TOKEN}", **fields}

    assert status(guard, "POST", headers) == 403
    assert status(guard, "GET", headers) is None


def test_the_listeners_own_page_may_change() -> None:
    headers = {"Host": "127.0.0.1:7601", "Origin": "http://127.0.0.1:7601", "Sec-Fetch-Site": "same-origin"}

    assert status(LOOPBACK, "POST", headers) is None


def test_beyond_loopback_a_change_needs_the_token() -> None:
    missing = POD.denial("POST", {})
    wrong = POD.denial("POST", {"Authorization": "Bearer wrong-horse"})

    assert missing is not None
    assert (missing.status, missing.challenge) == (401, 'Bearer realm="admin"')
    assert wrong is not None
    assert (wrong.status, wrong.challenge) == (401, 'Bearer realm="admin", error="invalid_token"')
    assert status(POD, "POST", {"Authorization": f"bearer {TOKEN}"}) is None
    assert status(POD, "POST", {"Authorization": f"Basic {TOKEN}"}) == 401


def test_without_a_token_nothing_can_be_changed_beyond_loopback() -> None:
    assert status(POD_WITHOUT_TOKEN, "POST", {"Authorization": "Bearer None"}) == 403


@given(st.text())
def test_no_other_token_opens(text: str) -> None:
    expected = None if text.strip() == TOKEN else 401

    assert status(POD, "POST", {"Authorization": f"Bearer {text}"}) == expected


def test_the_token_is_not_in_the_repr() -> None:
    assert TOKEN not in repr(POD)
