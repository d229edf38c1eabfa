from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.kube.admission import (
    MESSAGE_MAX_CHARS,
    WARNING_MAX_CHARS,
    WARNINGS_MAX,
    NotAReview,
    allow,
    read_review,
    refuse,
)
from tests.kube.recorded import NAMES, body_of, patch_of, recorded

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = ("uid", "kind", "operation", "namespace", "object", "subResource")


def changed(**members: Any) -> bytes:
    document = recorded("pod")
    document["request"].update(members)
    return body_of(document)


@pytest.mark.parametrize("name", NAMES)
def test_recorded_reviews_are_read(name: str) -> None:
    document = recorded(name)
    asked, request = document["request"], read_review(body_of(document))
    assert (request.uid, request.kind, request.operation) == (asked["uid"], asked["kind"]["kind"], asked["operation"])
    assert (request.group, request.namespace) == (asked["kind"]["group"], "shop")
    assert request.object == asked["object"]


def test_a_pod_of_a_controller_has_the_beginning_of_a_name() -> None:
    assert read_review(changed()).name == "shop-7d9c6bf5d8-*"
    assert read_review(changed(object={"metadata": {"name": "a"}})).name == "a"
    assert read_review(changed(object={"metadata": {"name": 3}})).name == ""
    assert read_review(changed(object={"metadata": []})).name == ""


def test_what_a_pod_holds_is_not_in_a_repr() -> None:
    assert "key-of-nobody" not in repr(read_review(changed()))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"a": NaN}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "of the kind AdmissionReview"),
        (b"{}", "of the kind AdmissionReview"),
        (b'{"kind": "Pod", "apiVersion": "v1"}', "of the kind AdmissionReview"),
        (b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1beta1"}', "admissionReviewVersions"),
        (b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"}', "`request`"),
        (b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": {}}', "`request`"),
        (changed(uid=None), "`request.uid`"),
        (changed(uid=""), "`request.uid`"),
        (changed(uid="x" * 10_000), "`request.uid`"),
        (changed(kind="Pod"), "`request.kind`"),
        (changed(operation=1), "`request.operation`"),
        (changed(object=[1]), "`request.object`"),
    ],
)
def test_what_is_no_review_is_told_what_was_expected(body: bytes, expected: str) -> None:
    with pytest.raises(NotAReview) as caught:
        read_review(body)
    assert expected in str(caught.value)
    assert len(str(caught.value)) < 200


@given(st.sampled_from(MEMBERS), JSON)
def test_any_member_may_be_anything(member: str, value: Any) -> None:
    try:
        request = read_review(changed(**{member: value}))
    except NotAReview:
        return
    assert request.uid
    assert isinstance(request.name, str)


@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with pytest.raises(NotAReview):
        read_review(body)


def test_an_answer_carries_the_uid_and_a_patch_only_if_there_is_one() -> None:
    assert allow("u") == {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {"uid": "u", "allowed": True},
    }
    operations = [{"op": "add", "path": "/é", "value": 1}]
    assert patch_of(allow("u", operations)) == operations


@given(st.lists(st.text(max_size=400), max_size=12))
def test_warnings_are_few_short_and_printable(texts: list[str]) -> None:
    warnings = allow("u", (), texts)["response"].get("warnings", [])
    assert len(warnings) == min(len(texts), WARNINGS_MAX)
    assert all(len(warning) <= WARNING_MAX_CHARS and warning.isprintable() for warning in warnings)
    assert all(warning.startswith("sidecar:") for warning in warnings)


def test_it_is_said_how_many_warnings_are_left_out() -> None:
    warnings = allow("u", (), [str(number) for number in range(9)])["response"]["warnings"]
    assert warnings[3:] == ["sidecar: 3", "sidecar: and 5 more: see the injector's log"]


def test_a_refusal_lists_every_problem() -> None:
    response = refuse("u", ["one\nline", "two"])["response"]
    assert (response["uid"], response["allowed"]) == ("u", False)
    status = response["status"]
    assert (status["code"], status["reason"]) == (422, "Invalid")
    assert status["message"] == "the sidecar cannot be injected: one line; two"
    assert [cause["message"] for cause in status["details"]["causes"]] == ["one line", "two"]
    assert "patch" not in response


def test_a_refusal_for_a_fault_of_ours_says_so_in_its_code() -> None:
    status = refuse("u", ["x"], HTTPStatus.INTERNAL_SERVER_ERROR)["response"]["status"]
    assert (status["code"], status["reason"]) == (500, "InternalError")


def test_a_refusal_is_bounded() -> None:
    answer = refuse("u", ["x" * 500] * 100)
    assert len(answer["response"]["status"]["message"]) == MESSAGE_MAX_CHARS
    assert json.dumps(answer)
