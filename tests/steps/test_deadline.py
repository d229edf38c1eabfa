from math import inf

import pytest

from sidecar.steps.deadline import Deadline, DeadlineSettings
from tests.fakes import FakeClock, FakeProvider, make_call, make_reply


def bind(clock: FakeClock, provider: FakeProvider, *, total_s: float = 30.0, dry_run: bool = False):
    return Deadline(DeadlineSettings(total_s), clock, dry_run=dry_run).bind(provider)


async def test_counts_from_the_calls_start() -> None:
    call = make_call(started_s=990.0)
    await bind(FakeClock(1000.0), FakeProvider())(call)
    assert call.deadline_s == 1020.0
    assert call.decisions is None


@pytest.mark.parametrize(
    ("headers", "deadline_s"),
    [
        ({"Sidecar-Timeout": "2"}, 1002.0),
        ({"Request-Timeout": "500ms"}, 1000.5),
        ({"Sidecar-Timeout": "9", "Request-Timeout": "3"}, 1003.0),
        ({"Sidecar-Timeout": "31"}, 1030.0),
        ({"Sidecar-Timeout": "soon"}, 1030.0),
        ({"Sidecar-Timeout": "0"}, 1030.0),
    ],
)
async def test_the_application_may_only_shorten_it(headers: dict[str, str], deadline_s: float) -> None:
    provider, call = FakeProvider(), make_call(headers={**headers, "Accept": "*/*"})
    await bind(FakeClock(), provider)(call)
    assert call.deadline_s == deadline_s
    assert provider.calls[0].headers.fields == [(b"Accept", b"*/*")], "the wish is for us, not for the provider"


async def test_a_shorter_deadline_stands() -> None:
    call = make_call(deadline_s=1001.0)
    await bind(FakeClock(), FakeProvider())(call)
    assert call.deadline_s == 1001.0


async def test_dry_run_reports_but_sets_no_deadline() -> None:
    clock = FakeClock()
    provider = FakeProvider(lambda call: clock.advance(3.0) or make_reply(200))
    call = make_call(headers={"Sidecar-Timeout": "2"})
    await bind(clock, provider, dry_run=True)(call)
    assert call.deadline_s == inf
    assert call.decisions == [
        ("deadline", "the application allows 2 s", 1000.0),
        ("deadline", "would time out: took 3 s", 1003.0),
    ]


async def test_dry_run_says_nothing_of_calls_in_time() -> None:
    call = make_call()
    await bind(FakeClock(), FakeProvider(), dry_run=True)(call)
    assert call.decisions is None
