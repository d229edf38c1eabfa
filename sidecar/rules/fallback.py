"""What to answer when nothing better is left: a ladder of replies made of the policy alone.

What may live here: which rung holds, and what its reply consists of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sidecar.call import Failure, Outcome, Reply
from sidecar.errors import Reason, Verdict
from sidecar.http1.message import Headers
from sidecar.rules.cache.stale import stands_in_for
from sidecar.rules.placeholder import Template

READS: Final = frozenset({"GET", "HEAD"})
"""What a fallback answers unless it was asked for more: a made-up success of anything else would be a lie."""
WITHOUT_BODY: Final = frozenset({204, 205, 304})
WITHOUT_LENGTH: Final = frozenset({204, 304})
"""RFC 9110 8.6."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Everything named must hold. Without reason, verdict and status: whatever a kept reply may stand in for."""

    reasons: frozenset[Reason] = frozenset()
    verdicts: frozenset[Verdict] = frozenset()
    statuses: frozenset[int] = frozenset()
    """The provider's own."""
    methods: frozenset[str] = frozenset()
    """Empty for any."""

    def holds(self, outcome: Outcome, method: str) -> bool:
        if self.methods and method not in self.methods:
            return False
        if not (self.reasons or self.verdicts or self.statuses):
            return stands_in_for(outcome.verdict, outcome.reason if isinstance(outcome, Failure) else None)
        if self.verdicts and outcome.verdict not in self.verdicts:
            return False
        if isinstance(outcome, Reply):
            return not self.reasons and (not self.statuses or outcome.status in self.statuses)
        return not self.statuses and (not self.reasons or outcome.reason in self.reasons)


@dataclass(frozen=True, slots=True)
class Rung:
    """One reply of the ladder."""

    when: Condition
    status: int
    phrase: bytes
    fields: tuple[tuple[bytes, Template], ...]
    """Without `Content-Length`."""
    body: Template | None

    def compose(self, values: Mapping[str, str]) -> tuple[Headers, bytes]:
        """Fields and body for a call with these path values."""
        body = b"" if self.body is None else self.body.fill(values)
        headers = Headers((name, value.fill(values)) for name, value in self.fields)
        if self.status not in WITHOUT_LENGTH:
            headers.add(b"Content-Length", b"%d" % len(body))
        return headers, body


def choose(ladder: Sequence[Rung], outcome: Outcome, method: str) -> int | None:
    """The place of the first rung that holds."""
    for place, rung in enumerate(ladder):
        if rung.when.holds(outcome, method):
            return place
    return None


def reason_of(outcome: Outcome) -> str:
    """What a reply stands in for: a reason, or `status-503` for the provider's own reply."""
    return outcome.reason.value if isinstance(outcome, Failure) else f"status-{outcome.status}"
