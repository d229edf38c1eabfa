"""Data as YAML: whatever it is, a reader gets it back."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sidecar.kube.nodes import Reader, read_nodes
from sidecar.kube.render import Style, block, inline
from tests.kube.pods import patiently

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    [
        "yes",
        "No",
        "~",
        "1e3",
        "0x1",
        "12:30",
        "=",
        "<<",
        "- a",
        "a: b",
        "a #b",
        "{",
        "%",
        "\ufeff",
        "2026-11-22",
        "-",
        "--x",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 99) | TEXTS,
    lambda below: (
        st.lists(below, max_size=3) | st.dictionaries(TEXTS.filter(lambda key: key != "<<"), below, max_size=3)
    ),
    max_leaves=10,
)
STYLES = st.builds(
    Style, step=st.sampled_from([2, 4]), dash=st.sampled_from([0, 2]), newline=st.sampled_from(["\n", "\r\n"])
)


def read(text: str) -> Any:
    root = read_nodes(text)
    assert root is not None
    return Reader().data(root)


@patiently
@given(VALUES)
def test_a_line_reads_back(value: Any) -> None:
    text = inline(value)
    assert "\n" not in text
    assert read(f"a: {text}")["a"] == value
    assert yaml.safe_load(f"a: {text}")["a"] == value


@patiently
@given(st.dictionaries(st.sampled_from("abc"), VALUES, min_size=1), STYLES)
def test_a_block_reads_back(value: Any, style: Style) -> None:
    text = style.newline.join(block(value, 0, style))
    assert read(text) == value
    assert yaml.safe_load(text) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("96Mi", "96Mi"),
        ("0s", "0s"),
        ("/run/sidecar/ca", "/run/sidecar/ca"),
        ("http://127.0.0.1:7600", "http://127.0.0.1:7600"),
        ("--uid", "--uid"),
        ("65532", '"65532"'),
        ("on", '"on"'),
        (":7603", '":7603"'),
        ('{"a":1}', "'{\"a\":1}'"),
        ('it\'s "x"', '"it\'s \\"x\\""'),
        (["a", 1, True, None], "[a, 1, true, null]"),
    ],
)
def test_it_is_written_as_people_would(value: object, text: str) -> None:
    assert inline(value) == text
