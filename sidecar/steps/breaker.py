"""Refuses calls to a provider that keeps failing, so that it can recover and the application need not wait for it."""

from __future__ import annotations

from collections.abc import Callable

from sidecar.call import Call, Failure, Handler, Outcome, Reply
from sidecar.clock import Clock
from sidecar.errors import Reason, Verdict
from sidecar.http1.message import Body
from sidecar.rules.breaker import TRIPS, Circuit, Permit, Refusal


class Breaker:
    """Asks the call's circuit before an attempt and tells it how the attempt went, its body included."""

    name = "breaker"

    def __init__(self, circuit_of: Callable[[Call], Circuit], clock: Clock, *, dry_run: bool = False) -> None:
        self._circuit_of = circuit_of
        self._clock = clock
        self._dry_run = dry_run

    def bind(self, inner: Handler) -> Handler:
        circuit_of, now, dry_run = self._circuit_of, self._clock.now, self._dry_run

        async def breaker(call: Call) -> Outcome:
            circuit = circuit_of(call)
            now_s = call.now_s
            permit = circuit.admit(now_s)
            if isinstance(permit, Refusal):
                if not dry_run:
                    return _refused(call, permit, now_s)
                call.note("breaker", f"would refuse: {circuit.state}", now_s)
                return await inner(call)
            try:
                outcome = await inner(call)
            except BaseException:  # cancelled, which says nothing about the provider
                circuit.settle(permit, None, now())
                raise
            if isinstance(outcome, Reply) and not outcome.body.done and _depends_on_body(outcome):
                _settle_with_body(circuit, permit, outcome, now)
            else:
                circuit.settle(permit, outcome.verdict, now(), outcome.wait_s)
            return outcome

        return breaker


def _depends_on_body(reply: Reply) -> bool:
    """A head that is a failure already stays one; an upgraded connection has kept its promise with the 101."""
    return reply.verdict not in TRIPS and reply.tunnel is None


def always(circuit: Circuit) -> Callable[[Call], Circuit]:
    """One circuit for every call."""

    def circuit_of(_call: Call) -> Circuit:
        return circuit

    return circuit_of


def _settle_with_body(circuit: Circuit, permit: Permit, reply: Reply, now: Callable[[], float]) -> None:
    """A body that breaks off is a failure, however good its head was; one that is not wanted any more says nothing."""
    body: Body = reply.body
    verdict, wait_s = reply.verdict, reply.wait_s
    if permit.is_trial:
        # A long body would hold up the recovery until the lease expires, so the head is believed for now.
        circuit.settle(permit, verdict, now(), wait_s)

    def arrived(complete: bool) -> None:
        if body.error is not None:
            circuit.settle(permit, Verdict.TRANSIENT, now())
        elif complete and not permit.is_trial:
            circuit.settle(permit, verdict, now(), wait_s)

    body.when_done(arrived)


def _refused(call: Call, refusal: Refusal, now_s: float) -> Failure:
    wait_s = refusal.wait_s
    when = "until somebody lets it go" if wait_s is None else f"for {wait_s:.1f} s"
    call.attempt -= 1  # It was not begun.
    call.note("breaker", f"refused {when}", now_s)
    detail = f"Calls to {call.provider} (route {call.route}) are held back {when}, because it keeps failing."
    return Failure(Reason.BREAKER_OPEN, detail, Verdict.LOCAL, wait_s)
