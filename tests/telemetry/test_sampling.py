from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from sidecar.telemetry.sampling import SAMPLERS, follow_parent, make_sampler

TRACE = "0" * 31 + "1"
trace_ids = st.integers(1, 2**128 - 1)


@pytest.mark.parametrize(
    ("name", "root", "after_kept", "after_dropped"),
    [
        ("always_on", True, True, True),
        ("always_off", False, False, False),
        ("parentbased_always_on", True, True, False),
        ("parentbased_always_off", False, True, False),
    ],
)
def test_samplers(name: str, root: bool, after_kept: bool, after_dropped: bool) -> None:
    sample = make_sampler(name, 1.0)
    assert [sample(TRACE, parent) for parent in (None, True, False)] == [root, after_kept, after_dropped]


@given(trace_ids, st.floats(0, 1))
def test_a_ratio_keeps_the_traces_that_the_sdk_keeps(trace_id: int, ratio: float) -> None:
    expected = TraceIdRatioBased(ratio).should_sample(None, trace_id, "x").decision.is_sampled()
    assert make_sampler("traceidratio", ratio)(f"{trace_id:032x}", None) is expected


@given(trace_ids, st.floats(0, 1), st.booleans())
def test_a_parent_decides_before_the_ratio(trace_id: int, ratio: float, parent: bool) -> None:
    sample = make_sampler("parentbased_traceidratio", ratio)
    assert sample(f"{trace_id:032x}", parent) is parent


@given(trace_ids, st.sampled_from([name for name in SAMPLERS if name.endswith("ratio")]))
def test_the_ends_of_the_scale(trace_id: int, name: str) -> None:
    assert make_sampler(name, 1.0)(f"{trace_id:032x}", None) is True
    assert make_sampler(name, 0.0)(f"{trace_id:032x}", None) is False


def test_without_spans_the_application_decides() -> None:
    assert [follow_parent(TRACE, parent) for parent in (None, True, False)] == [False, True, False]
