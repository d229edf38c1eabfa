from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from itertools import chain

from sidecar.telemetry.meters import Tally
from sidecar.telemetry.pump import Pump, PumpSettings

HOUR_S = 3600.0


class Sender:
    def __init__(self, *answers: bool) -> None:
        self.answers = list(answers)
        self.batches: list[list[int]] = []
        self.sent = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self.stopped = False

    def send(self, batch: Sequence[int]) -> bool:
        self.batches.append(list(batch))
        self.sent.set()
        self.gate.wait(10)
        return self.answers.pop(0) if self.answers else True

    def stop(self) -> None:
        self.stopped = True
        self.gate.set()


def make_pump(
    connect: Callable[[], Sender], *, queue: int = 10, batch: int = 3, delay_s: float = HOUR_S
) -> tuple[Pump[int], Tally, Tally]:
    overflowed, undelivered = Tally(), Tally()
    return (
        Pump(PumpSettings("traces", queue, batch, delay_s), connect, overflowed, undelivered),
        overflowed,
        undelivered,
    )


def test_closing_sends_what_is_left_in_batches() -> None:
    sender = Sender()
    pump, _, _ = make_pump(lambda: sender)
    pump.start()
    for item in range(7):
        pump.offer(item)
    pump.close(5.0)
    assert list(chain(*sender.batches)) == list(range(7))
    assert max(map(len, sender.batches)) == 3
    assert sender.stopped


def test_a_full_batch_goes_without_waiting() -> None:
    sender = Sender()
    pump, _, _ = make_pump(lambda: sender)
    pump.start()
    for item in range(3):
        pump.offer(item)
    assert sender.sent.wait(5)
    pump.close(5.0)


def test_a_lone_item_goes_when_its_time_is_up() -> None:
    sender = Sender()
    pump, _, _ = make_pump(lambda: sender, delay_s=0.01)
    pump.start()
    pump.offer(1)
    assert sender.sent.wait(5)
    pump.close(5.0)


def test_a_full_queue_drops_the_newest() -> None:
    sender = Sender()
    pump, overflowed, _ = make_pump(lambda: sender, queue=4)
    for item in range(6):
        pump.offer(item)
    assert overflowed.value == 2
    pump.start()
    pump.close(5.0)
    assert list(chain(*sender.batches)) == [0, 1, 2, 3]


def test_what_is_not_delivered_is_counted_and_the_rest_goes_on() -> None:
    sender = Sender(False, True)
    pump, _, undelivered = make_pump(lambda: sender, batch=1, delay_s=0.01)
    pump.start()
    pump.offer(1)
    pump.offer(2)
    end_s = time.monotonic() + 5
    while len(sender.batches) < 2 and time.monotonic() < end_s:
        sender.sent.wait(0.01)
    pump.close(5.0)
    assert sender.batches == [[1], [2]]
    assert undelivered.value == 1


def test_closing_gives_up_after_the_first_batch_that_fails() -> None:
    sender = Sender(*[False] * 9)
    pump, _, undelivered = make_pump(lambda: sender, queue=9, batch=2)
    for item in range(5):
        pump.offer(item)
    pump._stopping = True
    pump.start()
    pump.close(5.0)
    assert len(sender.batches) == 1
    assert undelivered.value == 5


def test_closing_waits_no_longer_than_told() -> None:
    sender = Sender()
    sender.gate.clear()
    pump, _, _ = make_pump(lambda: sender)
    pump.start()
    for item in range(3):
        pump.offer(item)
    assert sender.sent.wait(5)
    began_s = time.monotonic()
    pump.close(0.05)
    assert time.monotonic() - began_s < 3
    assert sender.stopped


def test_a_sender_that_raises_has_not_delivered() -> None:
    class Broken(Sender):
        def send(self, batch: Sequence[int]) -> bool:
            raise OSError("no")

    pump, _, undelivered = make_pump(Broken)
    pump.start()
    pump.offer(1)
    pump.close(5.0)
    assert undelivered.value == 1


def test_a_pump_that_cannot_connect_only_drops() -> None:
    def connect() -> Sender:
        raise ImportError("no SDK")

    pump, overflowed, _ = make_pump(connect, queue=2)
    pump.start()
    for item in range(5):
        pump.offer(item)
    pump.close(5.0)
    assert overflowed.value == 3


def test_a_pump_that_never_started_closes() -> None:
    sender = Sender()
    pump, _, _ = make_pump(lambda: sender)
    pump.close(0.1)
    assert sender.batches == []
