"""Merging: mappings by key, the rest replaced, places kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.policy.merge import merge, merge_all, without
from sidecar.policy.tree import Node, Place, Plain, plain

KEYS = st.sampled_from("abc")
VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(0, 3), st.sampled_from(["x", "y"])),
    lambda below: st.one_of(st.lists(below, max_size=2), st.dictionaries(KEYS, below, max_size=3)),
    max_leaves=8,
)
MAPPINGS = st.dictionaries(KEYS, VALUES, max_size=3)


def node(value: Plain, file: str = "f") -> Node:
    place = Place(file, 1, 1)
    if isinstance(value, dict):
        return Node({key: node(below, file) for key, below in value.items()}, place, place)
    if isinstance(value, list):
        return Node([node(below, file) for below in value], place, place)
    return Node(value, place, place)


def naive(base: Plain, over: Plain) -> Plain:
    if isinstance(base, dict) and isinstance(over, dict):
        return {
            key: naive(base[key], over[key]) if key in base and key in over else over.get(key, base.get(key))
            for key in base | over
        }
    return over


@given(MAPPINGS, MAPPINGS)
def test_merging_is_by_key_and_leaves_its_arguments_alone(base: dict[str, Plain], over: dict[str, Plain]) -> None:
    below, above = node(base), node(over)
    assert plain(merge(below, above)) == naive(base, over)
    assert (plain(below), plain(above)) == (base, over)


@given(MAPPINGS)
def test_nothing_over_or_below_changes_nothing(value: dict[str, Plain]) -> None:
    assert plain(merge(node(value), node({}))) == value
    assert plain(merge(node({}), node(value))) == value
    assert plain(merge(node(value), node(value))) == value


@given(MAPPINGS, MAPPINGS)
def test_every_leaf_knows_who_wrote_it(base: dict[str, Plain], over: dict[str, Plain]) -> None:
    def check(merged: Node, path: tuple[str, ...]) -> None:
        if isinstance(merged.value, dict) and merged.value:
            for key, below in merged.value.items():
                check(below, (*path, key))
        elif path:
            expected = "over" if node(over).at(*path) is not None else "base"
            assert merged.place.file == expected

    check(merge(node(base, "base"), node(over, "over")), ())


def test_a_step_goes_off_and_on() -> None:
    on, off, again = node({"retry": {"attempts": 3}}), node({"retry": False}), node({"retry": {"methods": "all"}})
    assert plain(merge_all([on, off])) == {"retry": False}
    assert plain(merge_all([on, off, again])) == {"retry": {"methods": "all"}}


@pytest.mark.parametrize(
    ("below", "above", "together"),
    [
        ({"store": "shared"}, {"ttl": "60s"}, {"ttl": "60s"}),
        ({"ttl": "5m"}, {"store": "shared"}, {"store": "shared"}),
        ({"store": {"ttl": "5m"}}, {"store": {"ttl": "60s"}}, {"store": {"ttl": "60s"}}),
        ({"store": "shared", "ttl": "5m"}, {"stale": "1h"}, {"store": "shared", "ttl": "5m", "stale": "1h"}),
    ],
)
def test_store_and_ttl_are_one_statement(
    below: dict[str, Plain], above: dict[str, Plain], together: dict[str, Plain]
) -> None:
    assert plain(merge(node({"cache": below}), node({"cache": above}))) == {"cache": together}


def test_lists_are_replaced() -> None:
    assert plain(merge(node({"hosts": ["a", "b"]}), node({"hosts": ["c"]}))) == {"hosts": ["c"]}


def test_keys_can_be_left_out() -> None:
    assert plain(without(node({"a": 1, "b": 2}), ("a", "z"))) == {"b": 2}
    assert plain(without(node("text"), ("a",))) == "text"
