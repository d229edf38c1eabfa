"""The order of the steps: one table, a reason a row. Policies switch steps and tune them; they do not reorder.

What may live here: the table. `compile.py` builds by it, `sidecar explain` and the documentation print it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Runs(StrEnum):
    CALL = "call"
    """Once for each call of the application."""
    ATTEMPT = "attempt"
    """Once for each attempt at the provider."""


@dataclass(frozen=True, slots=True)
class Row:
    step: str
    runs: Runs
    reason: str
    """Why it stands here and neither further out nor further in."""


ORDER: Final = (
    Row("trace", Runs.CALL, "outermost, so that the call's span and duration cover whatever else happens"),
    Row("fallback", Runs.CALL, "outside all that can fail, so that it is the last resort, and marked in the span"),
    Row("rewrite", Runs.CALL, "outside cache, so that entries keep the provider's own URLs; a fallback's are ours"),
    Row("deadline", Runs.CALL, "outside cache and retry, so that waiting for another's reply counts as attempts do"),
    Row("cache", Runs.CALL, "outside retry, so that a hit costs no attempt, and equal calls share all attempts of one"),
    Row("retry", Runs.CALL, "outside all that judges a single attempt, so that each attempt is judged anew"),
    Row(
        "breaker", Runs.ATTEMPT, "inside retry, so that every attempt counts; outside limit, so that a refusal is free"
    ),
    Row("limit", Runs.ATTEMPT, "right before the wire, because the provider counts attempts, not calls"),
    Row("measure", Runs.ATTEMPT, "inside limit, so that waiting for our own turn is not the provider's latency"),
    Row("classify", Runs.ATTEMPT, "next to the wire, so that every step outside sees one and the same verdict"),
    Row("transport", Runs.ATTEMPT, "the wire itself"),
)
