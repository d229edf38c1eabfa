import asyncio
from typing import Any

import pytest

from sidecar.call import Failure, Outcome
from sidecar.errors import Reason, Verdict
from sidecar.http1.message import Body
from sidecar.rules.limiter import Limiter, LimitSettings
from sidecar.steps.limit import Limit
from tests.fakes import HANG, FakeClock, FakeProvider, as_attempts, make_call, make_failure, make_reply, turn_loop


class Bench:
    """A limit step in front of a provider, with everything in reach."""

    def __init__(self, *script: Any, park: bool = False, dry_run: bool = False, **settings: Any) -> None:
        self.clock = FakeClock(park=park)
        self.provider = FakeProvider(*script, clock=self.clock)
        self.limiter = Limiter(LimitSettings(**settings))
        self.send = as_attempts(Limit(self.limiter, self.clock, dry_run=dry_run).bind(self.provider), self.clock)

    async def start(self, **call: Any) -> asyncio.Task[Outcome]:
        task = asyncio.ensure_future(self.send(make_call(**call)))
        await turn_loop()
        return task

    @property
    def in_use(self) -> int:
        assert self.limiter.slots is not None
        return self.limiter.slots.in_use

    @property
    def waiting(self) -> int:
        assert self.limiter.slots is not None
        return self.limiter.slots.waiting


def is_refusal(outcome: Outcome, reason: Reason) -> bool:
    assert isinstance(outcome, Failure)
    assert outcome.verdict is Verdict.LOCAL
    return outcome.reason is reason


async def test_calls_within_the_rate_pass_at_once() -> None:
    bench = Bench(rate_per_s=10.0, burst=2)
    call = make_call()
    await bench.send(call)
    assert (bench.provider.attempts, bench.clock.slept, call.decisions) == (1, [], None)


async def test_a_call_above_the_rate_waits_its_turn() -> None:
    bench = Bench(rate_per_s=10.0, burst=1, max_wait_s=2.0)
    await bench.send(make_call())
    call = make_call()
    await bench.send(call)
    assert bench.clock.slept == [pytest.approx(0.1)]
    assert call.waited_s == pytest.approx(0.1)
    assert call.decisions == [("limit", "waited 0.1 s", pytest.approx(1000.1))]
    assert call.now_s == pytest.approx(1000.1)  # The attempt begins now.


async def test_a_wait_too_long_is_refused_at_once() -> None:
    bench = Bench(rate_per_s=1.0, burst=1, max_wait_s=0.5)
    await bench.send(make_call())
    call = make_call()
    outcome = await bench.send(call)
    assert is_refusal(outcome, Reason.RATE_LIMITED)
    assert outcome.wait_s == 1.0
    assert call.decisions == [("limit", "refused: too many calls a second", 1000.0)]
    assert (bench.clock.slept, bench.provider.attempts, bench.limiter.refused) == ([], 1, 1)


async def test_a_wait_past_the_deadline_is_refused_at_once() -> None:
    bench = Bench(rate_per_s=1.0, burst=1, max_wait_s=60.0)
    await bench.send(make_call())
    assert is_refusal(await bench.send(make_call(deadline_s=1000.9)), Reason.RATE_LIMITED)
    assert bench.clock.slept == []


async def test_a_call_cancelled_while_it_waits_gives_its_token_back() -> None:
    bench = Bench(rate_per_s=1.0, burst=1, max_wait_s=5.0, park=True)
    await bench.send(make_call())
    waiting = await bench.start()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert bench.limiter.bucket is not None
    assert bench.limiter.bucket.tokens(bench.clock.now()) == 0.0
    assert bench.clock.pending == 0


async def test_slots_are_held_until_the_body_is_done() -> None:
    body = Body()
    bench = Bench(make_reply(200, body=body), concurrency=1)
    await bench.send(make_call())
    assert bench.in_use == 1
    assert is_refusal(await bench.send(make_call()), Reason.CONCURRENCY_LIMITED)
    body.finish()
    assert bench.in_use == 0


@pytest.mark.parametrize("entry", [200, make_failure(), RuntimeError("a bug")])
async def test_slots_come_back_however_a_call_ends(entry: Any) -> None:
    bench = Bench(entry, concurrency=1)
    if isinstance(entry, Exception):
        with pytest.raises(RuntimeError):
            await bench.send(make_call())
    else:
        await bench.send(make_call())
    assert bench.in_use == 0


async def test_a_cancelled_call_gives_its_slot_to_the_next() -> None:
    bench = Bench(HANG, concurrency=1, max_wait_s=5.0)
    first, second = await bench.start(), await bench.start()
    assert (bench.provider.attempts, bench.waiting) == (1, 1)
    first.cancel()
    await turn_loop()
    assert (bench.provider.attempts, bench.waiting, bench.in_use) == (2, 0, 1)
    bench.provider.release()
    await second
    assert bench.in_use == 0
    assert bench.clock.pending == 0


async def test_first_come_first_served() -> None:
    bench = Bench(HANG, concurrency=1, max_wait_s=5.0)
    tasks = [await bench.start(target=f"/{number}") for number in range(4)]
    tasks[2].cancel()
    await turn_loop()
    for _ in range(3):
        bench.clock.advance(0.5)
        bench.provider.release()
        await turn_loop()
    assert [call.target for call in bench.provider.calls] == [b"/0", b"/1", b"/3"]
    assert [call.waited_s for call in bench.provider.calls] == pytest.approx([0.0, 0.5, 1.0])


async def test_who_finds_no_slot_in_time_is_refused() -> None:
    bench = Bench(HANG, concurrency=1, rate_per_s=10.0, burst=2, max_wait_s=2.0)
    await bench.start()
    second = await bench.start()
    bench.clock.advance(2.0)
    await turn_loop()
    assert is_refusal(second.result(), Reason.CONCURRENCY_LIMITED)
    assert second.result().wait_s == 1.0
    assert (bench.waiting, bench.in_use, bench.limiter.refused) == (0, 1, 1)
    assert bench.limiter.bucket is not None
    assert bench.limiter.bucket.tokens(bench.clock.now()) == 2.0
    bench.provider.release()


async def test_a_slot_granted_to_a_call_that_is_cancelled_at_once_is_not_lost() -> None:
    bench = Bench(HANG, concurrency=1, max_wait_s=5.0)
    first, second = await bench.start(), await bench.start()
    bench.provider.release()
    await asyncio.sleep(0)
    second.cancel()
    await turn_loop()
    assert first.done()
    assert bench.in_use == 0


async def test_a_slot_that_comes_with_the_end_of_the_wait_is_taken() -> None:
    body = Body()
    bench = Bench(make_reply(200, body=body), HANG, concurrency=1, max_wait_s=2.0)
    await bench.start()
    second = await bench.start()
    bench.clock.advance(2.0)
    body.finish()
    await turn_loop()
    assert (bench.provider.attempts, bench.waiting, bench.in_use) == (2, 0, 1)
    bench.provider.release()
    await second


async def test_a_token_first_and_then_a_slot_within_the_same_wait() -> None:
    bench = Bench(HANG, rate_per_s=1.0, burst=1, concurrency=1, max_wait_s=1.0, park=True)
    await bench.start()
    second = await bench.start()
    bench.clock.advance(1.0)
    await turn_loop()
    assert is_refusal(second.result(), Reason.CONCURRENCY_LIMITED)
    bench.provider.release()


async def test_learning_holds_calls_for_the_time_named_and_halves_the_rate() -> None:
    slow_down = make_reply(429, verdict=Verdict.THROTTLED, wait_s=3.0)
    bench = Bench(slow_down, 200, rate_per_s=10.0, burst=5, max_wait_s=2.0, learn=True)
    assert await bench.send(make_call()) is slow_down
    outcome = await bench.send(make_call())
    assert is_refusal(outcome, Reason.RATE_LIMITED)
    assert outcome.wait_s == 3.0
    assert bench.limiter.bucket is not None
    assert bench.limiter.bucket.rate_per_s == 5.0
    bench.clock.advance(3.0)
    await bench.send(make_call())
    assert bench.provider.attempts == 2


async def test_without_learning_the_rate_stays() -> None:
    bench = Bench(make_reply(429, verdict=Verdict.THROTTLED, wait_s=3.0), rate_per_s=10.0, burst=5)
    await bench.send(make_call())
    await bench.send(make_call())
    assert bench.limiter.bucket is not None
    assert bench.limiter.bucket.rate_per_s == 10.0


async def test_dry_run_holds_nobody_back_and_keeps_counting() -> None:
    bench = Bench(HANG, rate_per_s=1.0, burst=1, concurrency=1, max_wait_s=1.5, dry_run=True)
    for _ in range(4):
        await bench.start()
    assert (bench.provider.attempts, bench.clock.slept, bench.in_use) == (4, [], 4)
    notes = [[decision for _, decision, _ in call.decisions or ()] for call in bench.provider.calls]
    assert notes == [
        [],
        ["would wait 1 s", "would wait for a slot: 1 calls are under way"],
        ["would refuse: too many calls a second", "would wait for a slot: 2 calls are under way"],
        ["would refuse: too many calls a second", "would wait for a slot: 3 calls are under way"],
    ]
    assert bench.limiter.refused == 2
    for _ in range(4):
        bench.provider.release()
    await turn_loop()
    assert bench.in_use == 0


async def test_dry_run_of_a_rate_alone() -> None:
    bench = Bench(rate_per_s=1.0, burst=1, max_wait_s=1.5, dry_run=True)
    for _ in range(2):
        await bench.send(make_call())
    assert bench.provider.attempts == 2


async def test_dry_run_of_slots_alone() -> None:
    bench = Bench(HANG, concurrency=1, dry_run=True)
    for _ in range(2):
        await bench.start()
    assert bench.in_use == 2
    for _ in range(2):
        bench.provider.release()
