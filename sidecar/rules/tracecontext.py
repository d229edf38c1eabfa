"""W3C Trace Context, Level 1 (https://www.w3.org/TR/trace-context-1/): reading and writing its two fields.

What may live here: pure functions from bytes to values and back. A field that is not exactly right is as good as
absent; nothing is ever repaired.
"""

from __future__ import annotations

import re
from typing import Final

STATE_MAX_CHARS: Final = 512
"""What everyone must carry (3.3.1.5); more is cut down to whole members that fit."""
STATE_MAX_MEMBERS: Final = 32
_LONG_MEMBER_CHARS: Final = 128

_IDS: Final = r"-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]([0-9a-f])"
_version_00 = re.compile("00" + _IDS).fullmatch
# A later version may go on after the flags with a dash and what we do not know; a comma can only be a second field.
_version_later = re.compile(r"(?!00|ff)[0-9a-f]{2}" + _IDS + r"(?:-[^,]*)?").fullmatch

# Keys that start with a digit come from Level 2 and are taken, too: refusing one would cost its neighbours.
_KEY: Final = r"[a-z0-9][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13}"
_member = re.compile(rf"({_KEY})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{{0,255}}[\x21-\x2b\x2d-\x3c\x3e-\x7e]").fullmatch


def parse_traceparent(value: bytes) -> tuple[str, str, bool] | None:
    """(trace id, parent's span id, sampled) of a field; None if it is to be ignored (3.2).

    A repeated field comes joined by commas, which no version allows.
    """
    text = value.decode("latin-1")
    match = _version_00(text)
    if match is None:
        text = text.strip(" \t")
        match = _version_00(text) or _version_later(text)
        if match is None:
            return None
    trace_id, span_id, flags = match.groups()
    return trace_id, span_id, flags in "13579bdf"


def format_traceparent(trace_id: str, span_id: str, sampled: bool) -> bytes:
    """The field for version 00; ids are lower-case hex of 32 and 16 digits."""
    return f"00-{trace_id}-{span_id}-{'01' if sampled else '00'}".encode()


def parse_tracestate(value: bytes) -> str:
    """The field as it goes on, at most `STATE_MAX_CHARS`; empty if there is none or it breaks a rule (3.3).

    `value` is every field of that name, in order, joined by commas. Of a repeated key the first is kept: it is the
    most recent.
    """
    members: dict[str, str] = {}
    count = 0
    for piece in value.decode("latin-1").split(","):
        text = piece.strip(" \t")
        if not text:
            continue
        count += 1
        match = _member(text)
        if match is None or count > STATE_MAX_MEMBERS:
            return ""
        members.setdefault(match[1], text)
    state = ",".join(members.values())
    return state if len(state) <= STATE_MAX_CHARS else _shortened(list(members.values()))


def _shortened(members: list[str]) -> str:
    """Without long members, then without the last ones, until the rest fits (3.3.1.5)."""
    size = sum(map(len, members)) + len(members) - 1
    for long_first in (True, False):
        for index in range(len(members) - 1, -1, -1):
            if size <= STATE_MAX_CHARS:
                return ",".join(members)
            if not long_first or len(members[index]) > _LONG_MEMBER_CHARS:
                size -= len(members.pop(index)) + 1
    return ",".join(members)
