"""`docs/telemetry.md` names everything that leaves by telemetry."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import sidecar.telemetry
from sidecar.telemetry.instruments import MAX_CHILDREN, Meters
from sidecar.telemetry.logs import FIELDS
from sidecar.telemetry.meters import Instrument, Kind
from tests.fakes import FakeProvider, make_call
from tests.telemetry.harness import make_telemetry, pipeline

SOURCES = Path(sidecar.telemetry.__file__).parent
PAGE = (SOURCES.parents[1] / "docs" / "telemetry.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ")]


def in_prometheus(instrument: Instrument) -> str:
    name = instrument.name.replace(".", "_") + {"s": "_seconds", "By": "_bytes"}.get(instrument.unit, "")
    return name + ("_total" if instrument.kind is Kind.COUNTER else "")


@pytest.mark.parametrize("instrument", Meters().instruments, ids=lambda instrument: instrument.name)
def test_every_metric_has_a_row_with_its_attributes(instrument: Instrument) -> None:
    [row] = [row for row in ROWS if row.startswith(f"| `{instrument.name}` | `{in_prometheus(instrument)}`")]
    _, _, _, attributes, *_ = row.split("|")
    assert re.findall("`([^`]+)`", attributes) == list(instrument.attributes)


def test_every_metric_of_the_page_exists() -> None:
    named = {match[1] for row in ROWS if (match := re.match(r"\| `((?:sidecar|http)\.[a-z_.]+)` \| `\w+`", row))}
    assert named == {instrument.name for instrument in Meters().instruments}


@pytest.mark.parametrize("name", ["route_book.py", "attempt_book.py"])
def test_every_attribute_of_a_span_is_named(name: str) -> None:
    found = set(re.findall(r'"((?:sidecar|http|url|server|network|error)\.[a-z_.]+)"', (SOURCES / name).read_text()))
    assert len(found) >= 10
    assert [attribute for attribute in sorted(found) if f"`{attribute}`" not in PAGE] == []


@pytest.mark.parametrize("field", [*FIELDS, "ts", "level", "message", "logger", "exception", "at"])
def test_every_field_of_lines_is_named(field: str) -> None:
    assert f"`{field}`" in PAGE


async def test_every_field_of_calls_is_named() -> None:
    telemetry = make_telemetry({})
    call = make_call()
    call.note("limit", "waited 0.5 s", call.started_s)
    await pipeline(telemetry, FakeProvider())(call)
    [shown] = telemetry.calls.as_json()
    assert [field for field in (*shown, *shown["decisions"][0]) if f"`{field}`" not in PAGE] == []


def test_every_variable_is_named() -> None:
    read = set(re.findall(r"OTEL_[A-Z_]+[A-Z]", (SOURCES / "settings.py").read_text()))
    assert [name for name in sorted(read) if f"`{name}" not in PAGE] == []


def test_the_cap_is_as_the_page_says() -> None:
    assert f"at most {MAX_CHILDREN:,} combinations" in PAGE


def test_what_the_code_logs_may_be_logged() -> None:
    given = {
        key
        for source in SOURCES.parent.rglob("*.py")
        for fields in re.findall(r"extra ?= ?\{([^}]*)\}", source.read_text(encoding="utf-8"))
        for key in re.findall(r'"(\w+)":', fields)
    }
    assert len(given) > 10
    assert given <= set(FIELDS)
