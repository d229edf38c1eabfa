"""A diagnosis as people read it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from sidecar.address import Address
from sidecar.cli.diagnosis import NO_PROVIDER, Around, Diagnosis, Row, Through

BLIND: Final = (
    "Not seen: connections that lived for less than {tick_ms} ms, UDP (HTTP/3), other network namespaces, processes"
    " that changed their user. Counted as well: calls that others made through the same sidecar meanwhile."
)


def lines(diagnosis: Diagnosis, command: Sequence[str], tick_s: float) -> Iterator[str]:
    """For people."""
    yield f"{command[0]} ended with {diagnosis.exit_code} after {diagnosis.duration_s:.1f} s."
    yield "Through the sidecar:"
    yield from _indented([*map(_through_cells, diagnosis.through), *map(_unknown_cells, diagnosis.unknown)])
    yield "Around it:"
    yield from _indented([_around_cells(row) for row in diagnosis.around])
    yield from (f"* {hint}" for hint in diagnosis.hints)
    yield BLIND.format(tick_ms=round(tick_s * 1000))


def _through_cells(row: Through) -> tuple[str, ...]:
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in row.outcomes.items())
    return row.provider, ", ".join(row.hosts), _count(row.calls, "call"), row.mode, outcomes


def _unknown_cells(row: Row) -> tuple[str, ...]:
    fate = "no policy, carried as it came" if row["allowed"] else "no policy, refused"
    return NO_PROVIDER, f"{row['host']}:{row['port']}", _count(row["calls"], "call"), "", fate


def _around_cells(row: Around) -> tuple[str, ...]:
    where = str(Address(row.address, row.port))
    note = row.host or ("a private address" if row.inside else "")
    return where, note, _count(row.connections, "connection"), row.program


def _indented(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    if not rows:
        yield "  nothing"
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
