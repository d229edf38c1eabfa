"""`Proxy-Status`: an error type for every reason, and nothing that could break out of its strings."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import Reason
from sidecar.rules.proxy_status import ERRORS, failed, received

STRING = rb'"(?:[ !#-\[\]-~]|\\["\\])*"'


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_an_error_type(reason: Reason) -> None:
    assert failed(reason, "why") == f'sidecar; error={ERRORS[reason]}; details="why"'.encode()


@given(st.sampled_from(Reason), st.text(), st.text())
def test_texts_stay_in_their_strings(reason: Reason, detail: str, next_hop: str) -> None:
    field = failed(reason, detail, next_hop)
    assert re.fullmatch(rb"sidecar; error=[a-z_]+; next-hop=" + STRING + rb"; details=" + STRING, field)


def test_a_reply_that_was_not_passed_on_has_its_status() -> None:
    assert received(503) == b"sidecar; received-status=503"
    assert received(503, "a.test:8443") == b'sidecar; received-status=503; next-hop="a.test:8443"'
