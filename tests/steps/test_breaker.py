import asyncio

import pytest

from sidecar.call import Call, Failure
from sidecar.errors import Reason, Verdict, WireError
from sidecar.http1.message import Body
from sidecar.rules.breaker import BreakerSettings, Circuit, CircuitState
from sidecar.steps.breaker import Breaker
from tests.fakes import HANG, FakeClock, FakeProvider, as_attempts, make_call, make_failure, make_reply, turn_loop

BUSY = make_reply(503, verdict=Verdict.TRANSIENT)
REFUSED = make_failure(Verdict.UNREACHABLE)


def make_circuit(clock: FakeClock, consecutive: int = 2) -> Circuit:
    settings = BreakerSettings(consecutive=consecutive, failure_ratio=None, lease_s=5.0)
    return Circuit(settings, draw=lambda: 0.0, wall=clock.wall)


def bind(circuit: Circuit, clock: FakeClock, provider: FakeProvider, *, dry_run: bool = False):
    return as_attempts(Breaker(lambda call: circuit, clock, dry_run=dry_run).bind(provider), clock)


async def test_refuses_while_the_provider_keeps_failing() -> None:
    clock, provider = FakeClock(), FakeProvider(BUSY, REFUSED)
    circuit = make_circuit(clock)
    handle = bind(circuit, clock, provider)
    assert await handle(make_call()) is BUSY
    assert await handle(make_call()) is REFUSED
    call = make_call()
    outcome = await handle(call)
    assert isinstance(outcome, Failure)
    assert (outcome.reason, outcome.verdict, outcome.wait_s) == (Reason.BREAKER_OPEN, Verdict.LOCAL, 1.0)
    assert "stripe" in outcome.detail
    assert call.decisions == [("breaker", "refused for 1.0 s", 1000.0)]
    assert provider.attempts == 2


async def test_tries_again_when_the_time_is_over() -> None:
    clock, provider = FakeClock(), FakeProvider(BUSY, BUSY, 200)
    circuit = make_circuit(clock)
    handle = bind(circuit, clock, provider)
    for _ in range(3):
        await handle(make_call())
    clock.advance(1.0)
    await handle(make_call())
    assert circuit.state is CircuitState.CLOSED
    assert provider.attempts == 3


async def test_a_hint_prolongs_the_refusal() -> None:
    clock = FakeClock()
    circuit = make_circuit(clock)
    handle = bind(circuit, clock, FakeProvider(make_reply(503, verdict=Verdict.TRANSIENT, wait_s=20.0)))
    await handle(make_call())
    await handle(make_call())
    outcome = await handle(make_call())
    assert outcome.wait_s == 20.0


async def test_one_trial_at_a_time_and_a_cancelled_one_gives_its_place_back() -> None:
    clock, provider = FakeClock(), FakeProvider(BUSY, BUSY, HANG)
    circuit = make_circuit(clock)
    handle = bind(circuit, clock, provider)
    await handle(make_call())
    await handle(make_call())
    clock.advance(1.0)
    trial = asyncio.create_task(handle(make_call()))
    await turn_loop()
    assert isinstance(await handle(make_call()), Failure)
    trial.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trial
    assert circuit.state is CircuitState.HALF_OPEN
    second = asyncio.create_task(handle(make_call()))
    await turn_loop()
    provider.release()
    await second
    assert circuit.state is CircuitState.CLOSED


async def test_cancellation_never_trips() -> None:
    clock, provider = FakeClock(), FakeProvider(HANG)
    circuit = make_circuit(clock, consecutive=1)
    for _ in range(5):
        task = asyncio.create_task(bind(circuit, clock, provider)(make_call()))
        await turn_loop()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert circuit.state is CircuitState.CLOSED


async def test_held_open_by_hand_names_no_time() -> None:
    clock = FakeClock()
    circuit = make_circuit(clock)
    circuit.force(CircuitState.FORCED_OPEN)
    outcome = await bind(circuit, clock, FakeProvider())(make_call())
    assert isinstance(outcome, Failure)
    assert outcome.wait_s is None
    assert "until somebody lets it go" in outcome.detail


async def test_a_reply_counts_when_its_body_has_come() -> None:
    clock = FakeClock()
    circuit = make_circuit(clock)
    bodies = [Body(), Body()]
    handle = bind(circuit, clock, FakeProvider(*[make_reply(200, body=body) for body in bodies]))
    for body in bodies:
        await handle(make_call())
        body.feed(b"half")
        body.fail(WireError(Reason.REPLY_INCOMPLETE, "cut"))
    assert circuit.state is CircuitState.OPEN


async def test_a_whole_body_is_a_success_and_an_unwanted_one_says_nothing() -> None:
    clock = FakeClock()
    circuit = make_circuit(clock)
    whole, unwanted = Body(), Body()
    script = [BUSY, make_reply(200, body=whole), BUSY, make_reply(200, body=unwanted), BUSY]
    handle = bind(circuit, clock, FakeProvider(*script))
    await handle(make_call())
    await handle(make_call())
    whole.finish()
    await handle(make_call())
    assert circuit.state is CircuitState.CLOSED
    await handle(make_call())
    unwanted.discard()
    await handle(make_call())
    assert circuit.state is CircuitState.OPEN


async def test_the_head_of_a_failure_is_enough() -> None:
    clock = FakeClock()
    circuit = make_circuit(clock, consecutive=1)
    await bind(circuit, clock, FakeProvider(make_reply(503, body=Body(), verdict=Verdict.TRANSIENT)))(make_call())
    assert circuit.state is CircuitState.OPEN


async def test_a_trials_head_closes_it_and_its_broken_body_counts_again() -> None:
    clock, body = FakeClock(), Body()
    circuit = make_circuit(clock)
    handle = bind(circuit, clock, FakeProvider(BUSY, BUSY, make_reply(200, body=body), BUSY))
    await handle(make_call())
    await handle(make_call())
    clock.advance(1.0)
    await handle(make_call())
    assert circuit.state is CircuitState.CLOSED
    body.fail(WireError(Reason.REPLY_INCOMPLETE, "cut"))
    await handle(make_call())
    assert circuit.state is CircuitState.OPEN


async def test_a_trials_whole_body_is_not_counted_twice() -> None:
    clock, body = FakeClock(), Body()
    circuit = make_circuit(clock)
    handle = bind(circuit, clock, FakeProvider(BUSY, BUSY, make_reply(200, body=body)))
    await handle(make_call())
    await handle(make_call())
    clock.advance(1.0)
    await handle(make_call())
    body.finish()
    assert circuit.snapshot(clock.now())["calls"] == 0


async def test_an_upgraded_connection_has_kept_its_promise() -> None:
    class Idle:
        async def send(self, data: bytes) -> None: ...
        def finish(self) -> None: ...
        def abort(self) -> None: ...

    clock, body = FakeClock(), Body()
    circuit = make_circuit(clock, consecutive=1)
    reply = make_reply(101, body=body)
    reply.tunnel = Idle()
    await bind(circuit, clock, FakeProvider(reply))(make_call())
    body.fail(WireError(Reason.CONNECTION_LOST, "reset"))
    assert circuit.state is CircuitState.CLOSED


async def test_dry_run_lets_calls_pass_and_says_so() -> None:
    clock, provider = FakeClock(), FakeProvider(BUSY)
    circuit = make_circuit(clock)
    handle = bind(circuit, clock, provider, dry_run=True)
    await handle(make_call())
    await handle(make_call())
    call = make_call()
    assert await handle(call) is BUSY
    assert call.decisions == [("breaker", "would refuse: open", 1000.0)]
    assert circuit.refused == 1


async def test_each_call_may_have_a_circuit_of_its_own() -> None:
    clock = FakeClock()
    circuits = {"a": make_circuit(clock, 1), "b": make_circuit(clock, 1)}

    def circuit_of(call: Call) -> Circuit:
        return circuits[call.route]

    handle = Breaker(circuit_of, clock).bind(FakeProvider(BUSY, 200))
    await handle(make_call(route="a"))
    await handle(make_call(route="b"))
    assert circuits["a"].state is CircuitState.OPEN
    assert circuits["b"].state is CircuitState.CLOSED
