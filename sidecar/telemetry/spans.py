"""Finished spans as plain data, which is all that the call path ever makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Attributes: TypeAlias = Mapping[str, str | int | float | bool]


@dataclass(slots=True)
class SpanRecord:
    """Ids are lower-case hex, times Unix nanoseconds."""

    name: str
    client: bool
    """CLIENT, for an attempt; otherwise INTERNAL, for the call."""
    trace_id: str
    span_id: str
    parent_id: str | None
    parent_remote: bool
    state: str
    """`tracestate`, empty when there is none."""
    start_ns: int
    end_ns: int
    failed: bool
    attributes: Attributes
    events: Sequence[tuple[str, int, Attributes]] = ()
    """(name, time, attributes)."""
