"""Reading one file: what is YAML, what is refused, and where it stands."""

from __future__ import annotations

import hashlib
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.policy.load import Document, load_document, parse_document, scalar
from sidecar.policy.tree import Place, plain

FILE = Path("x.yaml")


def read(text: str | bytes) -> Document:
    return parse_document(FILE, text if isinstance(text, bytes) else text.encode())


def only_problem(text: str | bytes) -> str:
    document = read(text)
    assert document.root is None
    assert len(document.problems) == 1
    return document.problems[0].text()


def test_values_and_places() -> None:
    document = read("provider: stripe\nretry:\n  attempts: 3\n  hint: off\nhosts:\n- a\n- b: {c: 1.5}\n")
    root = document.root
    assert root is not None
    assert plain(root) == {
        "provider": "stripe",
        "retry": {"attempts": 3, "hint": False},
        "hosts": ["a", {"b": {"c": 1.5}}],
    }
    attempts, c = root.at("retry", "attempts"), root.at("hosts", 1, "b", "c")
    assert attempts is not None
    assert attempts.place == Place("x.yaml", 3, 13)
    assert attempts.key_place == Place("x.yaml", 3, 3)
    assert c is not None
    assert c.place == Place("x.yaml", 7, 10)
    assert root.at("hosts", 2) is None
    assert root.at("provider", "x") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("0.5", 0.5),
        ("1.0e3", 1000.0),
        ("off", False),
        ("No", False),
        ("yes", True),
        ("null", None),
        ("~", None),
        ("2026-11-22", date(2026, 11, 22)),
        ("010", "010"),
        ("0x1f", "0x1f"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        (".inf", ".inf"),
        ("2026-13-45", "2026-13-45"),
        ("2026-11-22 10:00:00", "2026-11-22 10:00:00"),
        ("y", "y"),
        ("9" * 30, "9" * 30),
    ],
)
def test_scalars_without_traps(text: str, value: object) -> None:
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)


def test_what_is_quoted_is_a_text() -> None:
    document = read("a: '3'\nb: \"off\"\nc: |\n  x\n")
    assert document.root is not None
    assert plain(document.root) == {"a": "3", "b": "off", "c": "x\n"}


def test_a_byte_order_mark_is_no_part_of_the_key() -> None:
    document = read("\ufeffa: 1\n")
    assert document.root is not None
    assert plain(document.root) == {"a": 1}


def test_keys_are_their_text() -> None:
    document = read("on: 1\n409: 2\nnull: 3\n")
    assert document.root is not None
    assert plain(document.root) == {"on": 1, "409": 2, "null": 3}


def test_aliases_stand_for_what_they_name() -> None:
    document = read("a: &x {k: 1}\nb: *x\n")
    assert document.root is not None
    assert plain(document.root) == {"a": {"k": 1}, "b": {"k": 1}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "x.yaml:1:1: expected a mapping of keys to values, got nothing"),
        ("# only a comment\n", "got nothing"),
        ("- a\n", "got a list"),
        ("text\n", 'got "text"'),
        ("a: 1\na: 2\n", "x.yaml:2:1: a: expected each key once, got it a second time, it stands in line 1 already"),
        ("x: {b: {c: 1, c: 2}}", "x.b.c: expected each key once"),
        ("a:\n", "x.yaml:1:3: a: expected a value, got nothing, leave the key out, or write off"),
        ("a: !!python/object:os.system x", "x.yaml:1:4: a: expected a plain value, got the tag"),
        ("a: !custom [1]", "expected a plain value"),
        ("? [a]\n: 1\n", "expected a word as the key"),
        ("---\na: 1\n---\nb: 1\n", "x.yaml:3:1: expected one document"),
        ("a: *x\n", "x.yaml:1:4: a: expected an anchor of that name"),
        ("a: &x [*x]\n", "expected an anchor of that name"),
        ("a: b: c\n", "x.yaml:1:5: expected YAML, got an error: mapping values are not allowed"),
        ("a:\n\tb: 1\n", "x.yaml:2:1: expected YAML"),
        ("a: [1\n", "expected YAML"),
        ("a: 'x\n", "is the file complete?"),
        ("a: \x1b\n", "control characters are not allowed"),
        (b"a: 1\nb: x\xff\n", "x.yaml:2:5: expected UTF-8, got the byte 0xff"),
        (b"a: \xc3", "expected UTF-8"),
    ],
)
def test_what_is_not_a_policy_file(text: str | bytes, said: str) -> None:
    assert said in only_problem(text)


def test_a_steering_sequence_is_shown_as_text() -> None:
    said = only_problem('"\\e[31m": 1\n"\\e[31m": 2\n')
    assert "\x1b" not in said
    assert "\\x1b[31m" in said


@pytest.mark.parametrize("text", ["[" * 200_000, "{a: " * 50_000, "- " * 200_000, "[a," * 200_000])
def test_nesting_has_an_end(text: str) -> None:
    assert "at most 20 levels" in only_problem(text)


def test_anchors_do_not_explode() -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
    for below, above in zip("abcdefgh", "bcdefghi", strict=True):
        bomb += f"{above}: &{above} [{','.join([f'*{below}'] * 10)}]\n"
    assert "at most 200000 values" in only_problem(bomb)


def test_anchors_do_not_nest_without_end() -> None:
    chain = "a0: &a0 [x]\n" + "".join(f"a{n + 1}: &a{n + 1} [*a{n}]\n" for n in range(300))
    assert "at most 20 levels" in only_problem(chain)


def test_a_file_of_values_has_an_end() -> None:
    assert "at most 200000 values" in only_problem("a: [" + "x," * 250_000 + "]")


def test_a_thousand_problems_are_all_reported() -> None:
    document = read("".join(f"key{n}:\n" for n in range(1000)))
    assert len(document.problems) == 1000
    assert [problem.line for problem in document.problems] == list(range(1, 1001))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    document = read(data)
    assert (document.root is None) == bool(document.problems)


@given(st.text(alphabet="ab:-[]{}&*!|>'\"#%@, \n\t?<", max_size=60))
def test_any_near_yaml_is_read_or_refused(text: str) -> None:
    document = read(text)
    assert (document.root is None) == bool(document.problems)


def test_a_file_is_read_from_disk(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("a: 1\n")
    document = load_document(file)
    assert document.root is not None
    assert document.digest == hashlib.sha256(b"a: 1\n").hexdigest()


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    document = load_document(tmp_path / "none.yaml")
    assert document.root is None
    assert "no such file" in document.problems[0].text()
