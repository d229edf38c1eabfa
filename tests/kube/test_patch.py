from __future__ import annotations

from contextlib import suppress
from copy import deepcopy
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.kube import patch
from sidecar.kube.annotations import Defaults
from sidecar.kube.inject import NotInjectable, inject
from sidecar.kube.patch import leads, make_patch, replace_members
from tests.kube.recorded import NAMES, recorded

KEYS = st.sampled_from(["a", "b/c", "d~e", "~1", "/", "sidecar/inject", "name", ""])
LEAVES = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "x", "y"])
NAMED = st.lists(st.fixed_dictionaries({"name": st.sampled_from("pqrs")}, optional={"env": LEAVES}), max_size=4)
VALUES = st.recursive(
    LEAVES | NAMED, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)
DOCUMENTS = st.dictionaries(KEYS, VALUES, max_size=5)


@given(DOCUMENTS, DOCUMENTS)
def test_a_patch_leads_from_one_document_to_the_other_and_changes_neither(before: Any, after: Any) -> None:
    kept = deepcopy((before, after))
    operations = make_patch(before, after)
    assert jsonpatch.apply_patch(before, operations) == after
    assert (before, after) == kept


@given(DOCUMENTS)
def test_nothing_changed_is_an_empty_patch(document: Any) -> None:
    assert make_patch(document, deepcopy(document)) == []


@given(DOCUMENTS, DOCUMENTS)
def test_whole_members_lead_there_too(before: Any, after: Any) -> None:
    assert jsonpatch.apply_patch(before, replace_members(before, after)) == after


def test_keys_with_slashes_and_tildes_are_escaped() -> None:
    operations = make_patch({"annotations": {}}, {"annotations": {"sidecar/status": "1", "a~b": "2"}})
    assert [operation["path"] for operation in operations] == ["/annotations/sidecar~1status", "/annotations/a~0b"]
    assert [operation["path"] for operation in replace_members({}, {"a/~b": 1})] == ["/a~1~0b"]


def test_a_library_that_errs_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patch, "_difference", lambda before, after: [{"op": "remove", "path": "/nowhere"}])
    assert make_patch({"a": [1], "b": 2}, {"a": [2], "b": 2}) == [{"op": "replace", "path": "/a", "value": [2]}]
    assert not leads({"a": 1}, [{"op": "add", "path": "/a", "value": 3}], {"a": 2})


@pytest.mark.parametrize("name", [name for name in NAMES if name != "pod-delete"])
def test_injection_is_only_added_to_and_repeats_nothing_of_the_application(name: str) -> None:
    before = recorded(name)["request"]["object"]
    after = deepcopy(before)
    with suppress(NotInjectable):
        inject(after, Defaults(), asked=True)
    operations = make_patch(before, after)
    assert jsonpatch.apply_patch(before, operations) == after
    assert {operation["op"] for operation in operations} <= {"add"}
    assert "key-of-nobody" not in str(operations)
    assert "battery" not in str(operations)
