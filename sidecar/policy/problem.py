"""One thing that is wrong with a policy, where it is, and how it is shown.

What may live here: the record and its three renderings. Finding problems is `load.py`'s and `check.py`'s.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass

USER_INFO = re.compile(r"//[^/?#\s]*@")
"""User and password in a URL."""
SHOWN_CHARS = 60
"""What is shown of a value at most: enough to find it, too little to leak a key whole."""


@dataclass(frozen=True, slots=True, order=True)
class PolicyProblem:
    """What was expected where, and what stands there."""

    file: str
    line: int
    """From 1."""
    column: int
    """From 1."""
    key: str
    """The path of keys, such as `routes[2].retry.attempts`; empty when the file as a whole is meant."""
    expected: str
    got: str
    hint: str = ""

    @property
    def message(self) -> str:
        """Without the place: `key: expected …, got …, hint`."""
        text = f"expected {self.expected}, got {self.got}"
        text = f"{text}, {self.hint}" if self.hint else text
        return f"{self.key}: {text}" if self.key else text

    def text(self) -> str:
        """`file:line:col: key: expected …, got …, hint`, on one line whatever the names contain."""
        return printable(f"{self.file}:{self.line}:{self.column}: {self.message}")

    def json(self) -> dict[str, str | int]:
        """For scripts: every field by its name."""
        return asdict(self)

    def github(self) -> str:
        """A workflow command that annotates the line in a pull request."""
        place = f"file={_property(self.file)},line={self.line},col={self.column}"
        return f"::error {place},title=policy::{_data(printable(self.message))}"


def show(value: object) -> str:
    """A value as an error shows it: its kind if it is long by nature, else itself, cut to `SHOWN_CHARS`."""
    match value:
        case None:
            return "nothing"
        case dict():
            return "a mapping" if value else "an empty mapping"
        case list() | tuple():
            return "a list" if value else "an empty list"
        case str():
            return short(json.dumps(USER_INFO.sub("//…@", value), ensure_ascii=False))
        case bool():
            return "true" if value else "false"
    return short(str(value))


def short(text: str) -> str:
    """At most `SHOWN_CHARS`, on one line, without control characters."""
    text = printable(text)
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…"


def printable(text: str) -> str:
    """Control characters are written out, so that a file cannot steer the terminal that shows its errors."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
