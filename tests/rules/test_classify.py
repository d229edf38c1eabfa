import gzip
import zlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import Verdict
from sidecar.rules.classify import (
    BUILT_IN,
    PEEK_BYTES,
    BodyTest,
    HeaderTest,
    Rule,
    body_bytes,
    decide,
    glob,
    is_json,
    parse_body,
    pointer_tokens,
    rules_for,
    suspects,
)
from tests.fakes import make_headers

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        ((100, 101, 200, 202, 204, 206, 299, 301, 304, 399), Verdict.OK),
        ((400, 402, 404, 405, 409, 410, 412, 421, 422, 423, 451, 499, 501, 505), Verdict.REJECTED),
        ((401, 403), Verdict.CREDENTIAL),
        ((408, 425, 500, 502, 503, 504, 507, 521, 529, 599, 999), Verdict.TRANSIENT),
        ((429,), Verdict.THROTTLED),
    ],
)
def test_built_in_verdicts(statuses: tuple[int, ...], verdict: Verdict) -> None:
    assert {BUILT_IN[status] for status in statuses} == {verdict}


def test_every_status_has_a_verdict() -> None:
    assert len(BUILT_IN) == 1000


LOCKED = Rule(Verdict.TRANSIENT, frozenset({409}), body=(BodyTest(("error", "code"), ("lock_timeout",)),))
NO_RETRY = Rule(Verdict.REJECTED, headers=(HeaderTest(b"stripe-should-retry", glob("false")),))
CONFLICT = Rule(Verdict.REJECTED, frozenset({409}))
RULES = (LOCKED, NO_RETRY, CONFLICT)


def claim(rules: tuple[Rule, ...], status: int, headers: dict[str, str], document: object) -> Rule | None:
    return decide(suspects(rules_for(rules, status), make_headers(headers)), document)


def test_the_first_rule_that_holds_wins() -> None:
    locked = {"error": {"code": "lock_timeout"}}
    assert claim(RULES, 409, {}, locked) is LOCKED
    assert claim(RULES, 409, {"Stripe-Should-Retry": "false"}, locked) is LOCKED
    assert claim(RULES, 409, {"Stripe-Should-Retry": "false"}, {}) is NO_RETRY
    assert claim(RULES, 409, {"Stripe-Should-Retry": "true"}, None) is CONFLICT
    assert claim(RULES, 500, {"Stripe-Should-Retry": "false"}, None) is NO_RETRY
    assert claim(RULES, 500, {}, locked) is None


def test_no_rule_behind_one_that_needs_no_body_is_a_suspect() -> None:
    headers = make_headers({"Stripe-Should-Retry": "false"})
    assert suspects(RULES, headers) == (LOCKED, NO_RETRY)
    assert suspects(rules_for(RULES, 200), make_headers()) == ()


@pytest.mark.parametrize(
    ("pattern", "value", "matches"),
    [
        ("false", "false", True),
        ("false", "False", False),
        ("false", "falsehood", False),
        ("api-*", "api-usage=25/5000", True),
        ("api-*", "my-api-", False),
        ("?", "ab", False),
        ("a.c", "abc", False),
        ("é*", "école", True),
    ],
)
def test_header_globs_match_the_whole_value(pattern: str, value: str, matches: bool) -> None:
    assert HeaderTest(b"x", glob(pattern)).holds(make_headers({"X": value})) is matches


def test_headers_may_be_asked_to_be_there_or_not() -> None:
    there, absent = HeaderTest(b"x", None), HeaderTest(b"x", None, present=False)
    assert there.holds(make_headers({"X": ""}))
    assert not there.holds(make_headers())
    assert absent.holds(make_headers())
    assert not absent.holds(make_headers({"X": "1"}))
    assert not HeaderTest(b"x", glob("*")).holds(make_headers())


@pytest.mark.parametrize(
    ("pointer", "values", "holds"),
    [
        ("/ok", (False,), True),
        ("/ok", (0,), False),
        ("/count", (1,), True),
        ("/count", (1.0,), True),
        ("/count", (True,), False),
        ("/errors/0/code", ("A", "B"), True),
        ("/errors/1/code", ("B",), False),
        ("/errors/00/code", ("B",), False),
        ("/errors/x/code", ("B",), False),
        ("/a~1b/~0", ("deep",), True),
        ("/ok/further", (False,), False),
        ("/nothing", ("x",), False),
        ("/", ("empty",), True),
        ("", ("x",), False),
    ],
)
def test_body_tests(pointer: str, values: tuple[str | bool | int | float, ...], holds: bool) -> None:
    document = {"ok": False, "count": 1, "errors": [{"code": "B"}], "a/b": {"~": "deep"}, "": "empty"}
    assert BodyTest(pointer_tokens(pointer), values).holds(document) is holds


@pytest.mark.parametrize(
    ("content_type", "json"),
    [
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        ("application/problem+json", True),
        ("text/event-stream", False),
        ("application/x-ndjson", False),
        ("text/json-ish", False),
    ],
)
def test_only_whole_json_documents_are_waited_for(content_type: str, json: bool) -> None:
    assert is_json(make_headers({"Content-Type": content_type})) is json
    assert not is_json(make_headers())


def test_bodies_are_read_as_sent() -> None:
    plain = orjson.dumps({"ok": False})
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    for encoding, data in {
        "identity": plain,
        "gzip": gzip.compress(plain),
        "X-Gzip": gzip.compress(plain),
        "deflate": zlib.compress(plain),
        " Deflate": deflater.compress(plain) + deflater.flush(),
    }.items():
        assert parse_body(data, make_headers({"Content-Encoding": encoding})) == {"ok": False}
    assert parse_body(plain, make_headers()) == {"ok": False}


def test_bodies_that_cannot_be_read_say_nothing() -> None:
    assert parse_body(b"", make_headers()) is None
    assert parse_body(b"<html>", make_headers()) is None
    assert parse_body(b"{}", make_headers({"Content-Encoding": "br"})) is None
    assert parse_body(b"{}", make_headers({"Content-Encoding": "gzip"})) is None
    assert parse_body(b" " * PEEK_BYTES + b"{}", make_headers()) is None
    bomb = gzip.compress(b" " * (50 * PEEK_BYTES) + b"{}")
    assert parse_body(bomb, make_headers({"Content-Encoding": "gzip"})) is None


@given(st.binary(max_size=200), st.sampled_from(["", "gzip", "deflate", "br", "identity"]))
def test_no_body_raises(data: bytes, encoding: str) -> None:
    headers = make_headers({"Content-Encoding": encoding})
    document = parse_body(data, headers)
    BodyTest(("a", "0"), ("x",)).holds(document)
    assert encoding != "br" or document is None


def test_announced_lengths() -> None:
    assert body_bytes(make_headers({"Content-Length": "70000"})) == 70000
    assert body_bytes(make_headers({"Content-Length": "5, 5"})) == 0
    assert body_bytes(make_headers()) == 0
