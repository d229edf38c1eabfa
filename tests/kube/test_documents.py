"""Streams of manifests: what is not changed keeps its bytes, and bad YAML is one line with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sidecar.kube.documents import BadDocument, Piece, change, load, split
from tests.kube.goldens import MANIFESTS
from tests.kube.pods import patiently


def nothing(_data: Any) -> None:
    """No change."""


def label(data: Any) -> None:
    data.setdefault("metadata", {}).setdefault("labels", {})["x"] = "y"


def changed(text: str) -> str:
    return "".join(change(piece, label)[0] for piece in split(text, "stdin"))


@patiently
@given(
    st.lists(
        st.sampled_from(
            ["---\n", "--- a\n", "...\n", "%YAML 1.2\n", "# c\n", "a: b\n", "\n", "  --- no\n", "---a: b\n"]
        )
    )
)
def test_the_pieces_are_the_stream(lines: list[str]) -> None:
    text = "".join(lines)
    pieces = list(split(text, "stdin"))
    assert "".join(piece.text for piece in pieces) == text
    assert all(text.split("\n")[piece.line] == piece.text.split("\n")[0] for piece in pieces)


@pytest.mark.parametrize(
    ("text", "documents"),
    [
        ("", []),
        ("a: 1", [{"a": 1}]),
        ("a: 1\n---\nb: 2\n", [{"a": 1}, {"b": 2}]),
        ("---\na: 1\n...\n---\nb: 2\n", [{"a": 1}, {"b": 2}]),
        ("%YAML 1.1\n# c\n---\na: 1\n...\n%YAML 1.1\n---\nb: 2\n", [{"a": 1}, {"b": 2}]),
        ("a: |\n  x\n  --- y\n---\nb: ---c\n", [{"a": "x\n--- y\n"}, {"b": "---c"}]),
        ("a: 1\r\n---\r\nb: 2\r\n", [{"a": 1}, {"b": 2}]),
        ("--- {a: 1}\n---\tb\n", [{"a": 1}, "b"]),
        ("---\n---\n# nothing\n---\na: 1", [None, None, {"a": 1}]),
    ],
)
def test_documents_are_told_apart(text: str, documents: list[object]) -> None:
    assert [load(piece) for piece in split(text, "stdin")] == documents


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.name)
def test_what_is_not_changed_keeps_its_bytes(manifest: Path) -> None:
    text = manifest.read_text()
    assert "".join(change(piece, nothing)[0] for piece in split(text, "stdin")) == text


def test_data_is_what_kubernetes_reads() -> None:
    text = """
kind: Pod
date: 2026-11-22
time: 12:30
no: no
octal: 0644
hexadecimal: 0x1F
float: 1.5e3
tagged: !secret x
"quoted": "1"
base: &base {a: 1, b: 2}
merged: {<<: *base, b: 3}
several: {<<: [*base, {a: 9, c: 4}], d: ~}
"""
    (piece,) = split(text, "stdin")
    assert load(piece) == {
        "kind": "Pod",
        "date": "2026-11-22",
        "time": "12:30",
        False: False,
        "octal": 0o644,
        "hexadecimal": 31,
        "float": 1500.0,
        "tagged": "x",
        "quoted": "1",
        "base": {"a": 1, "b": 2},
        "merged": {"a": 1, "b": 3},
        "several": {"a": 1, "b": 2, "c": 4, "d": None},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\n---\nkind: Pod\nb: [1\nc: 2\n", "stdin:5:2: no YAML: did not find expected ',' or ']'"),
        ("a: 1\n---\nkind: Service\nb: 'x\n", "stdin:5:1: no YAML: found unexpected end of stream"),
        ("kind: Pod\n\tb: 1\n", "stdin:2:1: no YAML: found a tab character"),
        ("kind: Pod\nb: \x01\n", "stdin:2:4: no YAML: a character that it forbids"),
        ("kind: Pod\nname: {{ .Values.name }}-x\n", "render the template first"),
        ("kind: Pod\nb: *nobody\n", "stdin:2:4: no YAML: the anchor nobody is nowhere"),
    ],
)
def test_bad_yaml_is_one_line_with_its_place(text: str, message: str) -> None:
    with pytest.raises(BadDocument) as error:
        [change(piece, nothing) for piece in split(text, "stdin")]
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_aliases_of_aliases_are_refused_before_they_fill_the_memory() -> None:
    lines = ["kind: Pod", "a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (piece,) = split("\n".join(lines), "stdin")
    with pytest.raises(BadDocument, match="its aliases stand for more"):
        change(piece, nothing)


def test_what_is_nested_without_end_is_refused() -> None:
    (piece,) = split("kind: Pod\na: " + "[" * 50_000, "stdin")
    with pytest.raises(BadDocument):
        change(piece, nothing)


def test_a_large_document_without_workloads_is_not_read() -> None:
    text = "kind: CustomResourceDefinition\nbroken: [\n" + "# filler\n" * 40_000
    (piece,) = split(text, "stdin")
    assert change(piece, label) == (text, True)


@pytest.mark.parametrize(
    "text",
    [
        '{"kind":"Pod","metadata":{"labels":{"z":"é"}}}',
        '{"kind": "Pod", "metadata": {}}\n',
        '\n{\n    "kind": "Pod",\n    "items": [\n        1\n    ]\n}\n\n',
        '{\n\t"kind": "Pod",\n\t"a": "\\u00e9"\n}',
    ],
)
def test_json_stays_json_in_its_own_style(text: str) -> None:
    before = json.loads(text)
    label(before)
    found = changed(text)
    assert json.loads(found) == before
    assert found.count("\t") == 0 or "\t" in text
    assert ("\\u" in found) == ("\\u" in text)
    assert (found.count("\n") > 2) == (text.count("\n") > 2)
    assert ('": ' in found) == ('": ' in text)


def test_json_behind_a_marker_is_yaml_and_stays_on_its_line() -> None:
    assert changed('---\n{"kind": "Pod", "metadata": {}}\n') == '---\n{"kind": "Pod", "metadata": {labels: {x: "y"}}}\n'


def test_what_looks_like_json_and_is_not_is_yaml() -> None:
    assert changed("{kind: Pod, metadata: {}}\n") == '{kind: Pod, metadata: {labels: {x: "y"}}}\n'


def test_what_looks_like_a_workload_and_is_a_comment_stays() -> None:
    assert changed("# kind: Pod\n") == "# kind: Pod\n"


def test_what_has_no_place_in_its_line_is_written_anew() -> None:
    (piece,) = split("kind: Pod\nlists:\n- - 1\n", "stdin")
    found, in_style = change(piece, lambda data: data["lists"][0].insert(0, 0))
    assert (yaml.safe_load(found)["lists"], in_style) == ([[0, 1]], False)


def test_what_cannot_be_changed_in_place_is_written_anew() -> None:
    text = "---\n# comment\nkind: Pod\nmetadata: &a\n  labels: {}\nother: *a\n"
    (piece,) = split(text, "stdin")
    found, in_style = change(piece, label)
    assert not in_style
    assert found.startswith("---\n")
    assert yaml.safe_load(found) == {"kind": "Pod", "metadata": {"labels": {"x": "y"}}, "other": {"labels": {}}}


def test_the_place_is_that_of_the_first_line_with_anything_on_it() -> None:
    assert Piece("f.yaml", 3, "---\n\n# comment\nkind: Pod\n").place == "f.yaml:7"
    assert Piece("f.yaml", 0, "---\n").place == "f.yaml:1"
