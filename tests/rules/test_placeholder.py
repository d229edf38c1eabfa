"""Values of paths stay values, wherever they are put."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, unquote

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.policy.match import RouteIndex
from sidecar.rules.placeholder import (
    Hole,
    PathValues,
    Template,
    UnbalancedBrace,
    for_field,
    for_json,
    for_text,
    json_template,
    names_of,
    parse_parts,
)

ANY_TEXT = st.text(st.characters(exclude_categories=("Cs",)))
NASTY = st.one_of(
    ANY_TEXT, st.sampled_from(['"', "\\", '","admin":true,"x":"', "\r\nSet-Cookie: a=b", "\x00", "\u2028"])
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.just("{id}"), st.just("a{id}b{id}"), ANY_TEXT),
    lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(ANY_TEXT, below, max_size=3)),
    max_leaves=8,
)


def escaped(value: Any) -> Any:
    """A document whose texts stand for themselves, but for `{id}`."""
    match value:
        case str():
            return value if "{id}" in value else value.replace("{", "{{").replace("}", "}}")
        case list():
            return [escaped(one) for one in value]
        case dict():
            return {key: escaped(below) for key, below in value.items()}
    return value


def filled(value: Any, with_: str) -> Any:
    match value:
        case str():
            return value.replace("{id}", with_)
        case list():
            return [filled(one, with_) for one in value]
        case dict():
            return {key: filled(below, with_) for key, below in value.items()}
    return value


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ()),
        ("plain", ("plain",)),
        ("{id}", (Hole("id"),)),
        ("a{id}{x_1}b", ("a", Hole("id"), Hole("x_1"), "b")),
        ("{{id}} {{{id}}}", ("{id} {", Hole("id"), "}")),
    ],
)
def test_a_text_is_read_into_parts(text: str, parts: tuple[object, ...]) -> None:
    assert parse_parts(text) == parts
    assert names_of(parts) == {part.name for part in parts if isinstance(part, Hole)}


@pytest.mark.parametrize("text", ["{", "}", "{}", "{ id }", "{id", "id}", "{1d}", "{rest...}", "{{id}", "{a-b}"])
def test_a_lone_brace_is_none(text: str) -> None:
    with pytest.raises(UnbalancedBrace):
        parse_parts(text)


@given(ANY_TEXT)
def test_doubled_braces_stand_for_themselves(text: str) -> None:
    assert "".join(map(str, parse_parts(text.replace("{", "{{").replace("}", "}}")))) == text


@given(JSON, NASTY)
def test_a_value_can_only_be_part_of_a_json_string(document: Any, value: str) -> None:
    body = json_template(escaped(document)).fill({"id": value})
    assert orjson.loads(body) == filled(document, value)


def test_json_keys_are_taken_as_they_stand() -> None:
    assert json_template({"{id}": "{id}", "{": None}).fill({"id": "7"}) == b'{"{id}":"7","{":null}'


@given(NASTY)
def test_a_value_is_no_control_character_in_a_text(value: str) -> None:
    shown = Template.of_text("<{id}>", for_text).fill({"id": value}).decode()
    assert re.fullmatch(r"<[^\x00-\x1f\x7f-\x9f\u2028\u2029]*>", shown)
    assert shown[1:-1] == re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", "", value)


@given(NASTY)
def test_a_value_in_a_field_is_a_token_that_can_be_read_back(value: str) -> None:
    shown = Template.of_text('"{id}", x', for_field).fill({"id": value})
    assert re.fullmatch(rb'"[A-Za-z0-9._~%-]*", x', shown)
    assert unquote(shown[1:-4].decode()) == value


@given(ANY_TEXT)
def test_json_escaping_is_that_of_json(value: str) -> None:
    assert orjson.loads(b'"' + for_json(value) + b'"') == value


@given(st.lists(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="/\\\0"), min_size=1), min_size=3))
def test_values_are_what_the_route_matched(segments: list[str]) -> None:
    template = "/v1/{first}/x/{rest...}"
    target = "/v1/{}/x/{}?first=no".format(
        quote(segments[0], safe=""), "/".join(quote(s, safe="") for s in segments[1:])
    )
    index = RouteIndex([((), template, "hit")], "miss")
    if index.find("GET", target.encode()) == "hit":
        values = PathValues(template).of(target.encode())
        assert values == {"first": segments[0], "rest": "/".join(segments[1:])}


def test_names_and_odd_paths() -> None:
    values = PathValues("/v1/{id}/{rest...}")
    assert values.names == {"id", "rest"}
    assert values.of(b"/v1/%ff%20") == {"id": "\ufffd ", "rest": ""}
    assert values.of(b"/v1") == {"rest": ""}
    assert PathValues("").names == frozenset()
    assert PathValues("").of(b"/v1/7") == {}


def test_a_name_without_a_value_counts_as_empty() -> None:
    assert Template.of_text("<{id}>", for_text).fill({}) == b"<>"


def test_without_holes_the_bytes_are_handed_out_themselves() -> None:
    data = b"x" * 10
    assert Template([data]).fill({"id": "7"}) is data
