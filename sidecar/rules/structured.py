"""Structured fields, read strictly: one mistake and the whole field says nothing (RFC 9651 4.2).

What may live here: the syntax. What a field's members mean is for those who know the field.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final, TypeAlias, final


@final
class Other:
    """A token, decimal, date, byte sequence, display string or inner list: what no reader of ours has a use for."""


OTHER: Final = Other()
Value: TypeAlias = bool | int | str | Other
"""A boolean, an integer, a string, or `OTHER`."""

# Nothing is ever read in a second way, hence the possessive quantifiers: time is linear, whatever a provider sends.
_KEY: Final = r"[a-z*][a-z0-9_\-.*]*+"
_REST: Final = "%[89ab][0-9a-f]"
_PERCENT_UTF_8: Final = (  # RFC 3629 4
    f"%[0-7][0-9a-f]|%(?:c[2-9a-f]|d[0-9a-f]){_REST}|%e0%[ab][0-9a-f]{_REST}|%e[1-9abcef]{_REST}{_REST}"
    f"|%ed%[89][0-9a-f]{_REST}|%f0%[9ab][0-9a-f]{_REST}{_REST}|%f[1-3]{_REST}{_REST}{_REST}"
    f"|%f4%8[0-9a-f]{_REST}{_REST}"
)
_STRING: Final = r'"(?:[ !#-\[\]-~]|\\["\\])*+"'
_OTHER_ITEM: Final = (
    r"-?\d{1,12}\.\d{1,3}"
    r"|[A-Za-z*][!#$%&'*+\-.^_`|~:/0-9A-Za-z]*+"
    r"|:[A-Za-z0-9+/]*+=*+:"
    r"|@-?\d{1,15}+"
    rf'|%"(?:[ !#$&-~]|{_PERCENT_UTF_8})*+"'
)
_ITEM: Final = rf"(?>{_STRING}|{_OTHER_ITEM}|-?\d{{1,15}}+|\?[01])"
_PARAMETERS: Final = rf"(?:; *+{_KEY}(?:={_ITEM})?+)*+"
_INNER_LIST: Final = rf"\( *+(?:{_ITEM}{_PARAMETERS}(?: ++|(?=\))))*+\)"
_MEMBER: Final = (
    rf"(?P<key>{_KEY})(?:=(?>(?P<string>{_STRING})|(?P<other>{_OTHER_ITEM}|{_INNER_LIST})|(?P<integer>-?\d{{1,15}}+)"
    rf"|\?(?P<boolean>[01])))?+{_PARAMETERS}"
)
_SEPARATOR: Final = re.compile(r"[ \t]*+,[ \t]*+")


def parse_dictionary(value: bytes) -> dict[str, Value] | None:
    """From the field's value, lines joined by commas (3.2); None if it is malformed. Parameters are left out.

    Of a key that is there twice the last one counts.
    """
    # Bytes beyond ASCII become characters that no pattern has.
    text = value.decode("latin-1").strip(" ")
    members: dict[str, Value] = {}
    pattern = _compiled()
    at, end = 0, len(text)
    while at < end:
        member = pattern.match(text, at)
        if member is None:
            return None
        members[member["key"]] = _value(member)
        at = member.end()
        if at < end:
            separator = _SEPARATOR.match(text, at)
            if separator is None or separator.end() == end:
                return None
            at = separator.end()
    return members


@cache
def _compiled() -> re.Pattern[str]:
    """Not before the first field: it takes longer than all other patterns of the daemon."""
    return re.compile(_MEMBER)


def _value(member: re.Match[str]) -> Value:
    if (integer := member["integer"]) is not None:
        return int(integer)
    if (string := member["string"]) is not None:
        return re.sub(r"\\(.)", r"\1", string[1:-1])
    return OTHER if member["other"] is not None else member["boolean"] != "0"
