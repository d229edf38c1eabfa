"""Changes in place: the result's data is what was asked for, and every other byte is the author's."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from sidecar.kube.edits import Unwritable, edited, style_of
from sidecar.kube.nodes import Reader, read_nodes
from sidecar.kube.render import Style
from tests.kube.pods import patiently

Change = Callable[[Any], object]


def edit(text: str, change: Change) -> str:
    """The changed text, whose data is known to be right."""
    root = read_nodes(text)
    assert root is not None
    reader = Reader()
    before, after = Reader().data(root), reader.data(root)
    change(after)
    found = edited(text, root, before, after, reader.origins)
    again = read_nodes(found)
    assert again is not None
    assert Reader().data(again) == after, found
    return found


def put(key: str, value: Any) -> Change:
    return lambda data: data.__setitem__(key, value)


@pytest.mark.parametrize(
    ("before", "change", "after"),
    [
        ("a: 1\n", put("b", 2), "a: 1\nb: 2\n"),
        ("a: 1", put("b", [{"c": 1}]), "a: 1\nb:\n- c: 1"),
        ("a: 1 # one\n# end\n", put("b", "x"), "a: 1 # one\nb: x\n# end\n"),
        ("a: |\n  text\n\n# end\n", put("b", "x"), "a: |\n  text\nb: x\n\n# end\n"),
        ("a: |+\n  text\n\n", put("b", "x"), "a: |+\n  text\n\nb: x\n"),
        ("a:\n# end\n", put("b", "x"), "a:\nb: x\n# end\n"),
        ("a: &x [1]\nb: *x # same\n", put("c", 1), "a: &x [1]\nb: *x # same\nc: 1\n"),
        ("a: {b: 1}\n", lambda data: data["a"].update(c=[1]), "a: {b: 1, c: [1]}\n"),
        ("a: {}\n", lambda data: data["a"].update(c=1), "a: {c: 1}\n"),
        ("a: { } # none\n", lambda data: data["a"].update(c=1), "a: {c: 1 } # none\n"),
        ("a: # none\nb: 1\n", put("a", [1]), "a: [1] # none\nb: 1\n"),
        ("a: ~\nb: 1\n", put("a", {"c": 1}), "a:\n  c: 1\nb: 1\n"),
        ("a: 30 # s\n", put("a", 45), "a: 45 # s\n"),
        ("a: 30\nb: 1\n", lambda data: data.pop("a"), "b: 1\n"),
        ("a: 30\nb: 1\nc: 2", lambda data: (data.pop("b"), data.pop("c")), "a: 30"),
        ("a:\n  b: 1", lambda data: (data["a"].update(c=2), data.update(d=3)), "a:\n  b: 1\n  c: 2\nd: 3"),
        ("a: 30\nb:\n  c: 1\n", put("b", None), "a: 30\nb:\n"),
        ("a:\n- b: 1\n", lambda data: data["a"].insert(0, {"c": [1, "x"]}), "a:\n- c: [1, x]\n- b: 1\n"),
        ("a:\n  # b\n  - b: 1\n", lambda data: data["a"].insert(0, {"c": 1}), "a:\n  - c: 1\n  # b\n  - b: 1\n"),
        ("a:\n  - b: 1\n\n# z\nz: 1\n", lambda data: data["a"].append(2), "a:\n  - b: 1\n  - 2\n\n# z\nz: 1\n"),
        ("a:\n- 1\n# two\n- 2\n- 3\n", lambda data: data["a"].remove(2), "a:\n- 1\n# two\n- 3\n"),
        ("a: [1, 2, 3]\n", lambda data: data["a"].remove(2), "a: [1, 3]\n"),
        ("a: [1, 2, 3]\n", lambda data: data["a"].remove(1), "a: [2, 3]\n"),
        ("a: [1, 2, 3]\n", lambda data: data["a"].remove(3), "a: [1, 2]\n"),
        ("a: [1,\n  2]\n", lambda data: data["a"].insert(0, 0), "a: [0, 1,\n  2]\n"),
        ("a: [1, 2]\n", lambda data: data["a"].insert(1, {"b": "x, y"}), 'a: [1, {b: "x, y"}, 2]\n'),
        ("a: [1]\n", lambda data: data["a"].clear(), "a: []\n"),
        ("a: &l\n- 1\nb: *l\n", lambda data: [data[key].append(2) for key in "ab"], "a: &l\n- 1\n- 2\nb: *l\n"),
        (
            "x: &x {b: 1}\na:\n  <<: *x\n  c: 1\n",
            lambda d: d["a"].update(b=2),
            "x: &x {b: 1}\na:\n  <<: *x\n  c: 1\n  b: 2\n",
        ),
        ("a:\r\n  - 1\r\n", lambda data: data["a"].append(2), "a:\r\n  - 1\r\n  - 2\r\n"),
        (
            "a:\n  - b:\n      - 1\n",
            lambda d: (d["a"][0]["b"].append(2), d["a"].append(3)),
            "a:\n  - b:\n      - 1\n      - 2\n  - 3\n",
        ),
        ("-\n  - 1\n", lambda data: data[0].append(2), "-\n  - 1\n  - 2\n"),
        ("- - 1\n", lambda data: data[0].append(2), "- - 1\n  - 2\n"),
    ],
)
def test_only_what_changes_is_written(before: str, change: Change, after: str) -> None:
    assert edit(before, change) == after


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("- - 1\n", lambda data: data[0].insert(0, 0)),
        ("a: |\n  x\n", put("a", "y")),
        ("a:\n- b: 1\n", lambda data: data["a"][0].update(b=[1]) or data["a"].reverse() or data["a"][0].pop("b")),
        ("a: [1, 2]\n", lambda data: data["a"].reverse()),
    ],
)
def test_what_has_no_place_is_said(text: str, change: Change) -> None:
    with pytest.raises(Unwritable):
        edit(text, change)


@pytest.mark.parametrize(
    ("text", "style"),
    [
        ("a: 1\n", Style(2, 0)),
        ("a:\n    b: 1\nc:\n-   d\n", Style(4, 0)),
        ("a:\n  - b\n", Style(2, 2)),
        ("a: &x\n   b: &y\n     - 1\n", Style(3, 2)),
        ("a:\r\n  b: 1\r\n", Style(2, 0, "\r\n")),
        ("- a:\n     - b\n", Style(2, 3)),
    ],
)
def test_new_lines_are_indented_as_the_old_ones(text: str, style: Style) -> None:
    root = read_nodes(text)
    assert root is not None
    assert style_of(text, root) == style


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 99) | TEXTS | st.sampled_from(["no", "1e3", "- a", "#", "x: y", "~"]),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from("abcd"), below, max_size=3),
    max_leaves=12,
)
MAPPINGS = st.dictionaries(st.sampled_from("abcdef"), VALUES, min_size=1, max_size=4)


def written(data: Any, flow: bool | None, indent: int) -> str:
    return yaml.safe_dump(data, default_flow_style=flow, indent=indent, sort_keys=False, allow_unicode=True)


@patiently
@given(MAPPINGS, MAPPINGS, st.sampled_from([True, False, None]), st.sampled_from([2, 4]))
def test_members_that_come_and_go_leave_no_trace(data: Any, more: Any, flow: bool | None, indent: int) -> None:
    text = written({"root": data, "items": [deepcopy(data), 1], "last": "x"}, flow, indent)
    new = {f"new-{key}": value for key, value in more.items()}

    def come(document: Any) -> None:
        document["root"].update(new)
        document["items"][0:0] = [new]
        document["items"].append(new)

    def go(document: Any) -> None:
        for key in new:
            del document["root"][key]
        del document["items"][0], document["items"][-1]

    assume("? " not in text)
    assert edit(edit(text, come), go) == text


@patiently
@given(MAPPINGS, MAPPINGS, st.sampled_from([True, False]))
def test_any_change_is_right_or_is_not_made(data: Any, other: Any, flow: bool) -> None:
    try:
        edit(written({"a": data}, flow, 2), put("a", other))
    except Unwritable:
        assume(False)
