"""Which traces are kept, decided from the trace id alone, before any span exists.

What may live here: the standard samplers (OpenTelemetry's trace SDK specification) as plain functions.
"""

from __future__ import annotations

from typing import Final

from sidecar.steps.trace import Sampler

SAMPLERS: Final = (
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
)


def make_sampler(name: str, ratio: float) -> Sampler:
    """One of `SAMPLERS`. `ratio` in [0, 1] counts for those that end in `traceidratio`."""
    if name.startswith("parentbased_"):
        return _parent_based(make_sampler(name.removeprefix("parentbased_"), ratio))
    if name == "traceidratio":
        return _by_ratio(ratio)
    keep = name == "always_on"
    return lambda trace_id, parent: keep


def follow_parent(trace_id: str, parent: bool | None) -> bool:
    """For a daemon that makes no spans: the application's decision goes on, and nobody else's trace is started."""
    return parent is True


def _by_ratio(ratio: float) -> Sampler:
    # The same bits and the same bound as the SDKs use, so that every service keeps the same traces. Of equal length and
    # in lower case, digits compare as the numbers that they write; all of them come before `g`.
    bound = "g" if ratio >= 1 else f"{round(ratio * 2**64):016x}"
    return lambda trace_id, parent: trace_id[16:] < bound


def _parent_based(root: Sampler) -> Sampler:
    return lambda trace_id, parent: root(trace_id, None) if parent is None else parent
