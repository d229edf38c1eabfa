"""Field names as peers write them: few, over and over, and in the same order.

Each is lowered and hashed once, and messages share it. Which one follows which is remembered, so that most are found
without even looking them up.
"""

from __future__ import annotations

from typing import Final, final

from sidecar.http1.message import NOTABLE

MOST_KNOWN: Final = 1024
LONGEST_KNOWN: Final = 64
_SOUGHT: Final = {
    key: key
    for key in (
        b"accept", b"accept-encoding", b"age", b"authorization", b"cache-control", b"connection", b"content-encoding",
        b"content-length", b"content-type", b"date", b"etag", b"expires", b"host", b"idempotency-key",
        b"if-none-match", b"last-modified", b"retry-after", b"traceparent", b"tracestate", b"transfer-encoding",
        b"vary",
    )
}  # fmt: skip
"""Names that are looked for in most messages. In a compiled build these are the very objects that are looked for, so a
dictionary tells them by their addresses and compares no bytes."""


@final
class FieldName:
    """What is known of a field by its name, as a peer writes it."""

    __slots__ = ("hop", "key", "name", "next", "notable")

    def __init__(self, name: bytes, key: bytes, hop: bool) -> None:
        self.name = name
        self.key = key
        """The name in lower case."""
        self.hop = hop
        """Whether it concerns one connection only."""
        self.notable = key in NOTABLE
        self.next: FieldName | None = None
        """The field that followed it last time."""


@final
class FieldNames:
    """The names of one kind of message, bounded, so that a peer that makes names up gains nothing."""

    __slots__ = ("_hop", "known", "start")

    def __init__(self, hop: frozenset[bytes]) -> None:
        self._hop = hop
        self.known: dict[bytes, FieldName] = {}
        self.start = FieldName(b"", b"", hop=False)
        """Stands before the first field of a message."""

    def follow(self, last: FieldName, name: bytes) -> FieldName:
        """`name`, which follows `last`, as it will be expected to the next time."""
        known = self.known.get(name)
        if known is None:
            return self._learn(name)
        # Only what is kept anyway: made-up names must not hold each other.
        last.next = known
        return known

    def _learn(self, name: bytes) -> FieldName:
        key = name.lower()
        key = _SOUGHT.get(key, key)
        known = FieldName(name, key, key in self._hop)
        if len(self.known) < MOST_KNOWN and len(name) <= LONGEST_KNOWN:
            self.known[name] = known
        return known
