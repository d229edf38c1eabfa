"""Addresses as manifests write them, and where they are reached; what is refused is in `test_settings.py`."""

from __future__ import annotations

import pytest

from sidecar.address import Address, parse_address


def test_brackets_may_stand_around_either_kind_of_ip_address() -> None:
    assert parse_address("[10.0.0.5]:7601") == parse_address("10.0.0.5:7601") == Address("10.0.0.5", 7601)
    assert parse_address("[fd00::5]:7601") == Address("fd00::5", 7601)


@pytest.mark.parametrize(
    ("text", "near"),
    [
        (":1", "127.0.0.1"),
        ("0.0.0.0:1", "127.0.0.1"),
        ("[::]:1", "::1"),
        ("10.0.0.5:1", "10.0.0.5"),
        ("localhost:1", "localhost"),
    ],
)
def test_who_listens_everywhere_is_found_on_loopback(text: str, near: str) -> None:
    assert parse_address(text).near == near
