"""The bench's own arithmetic: figures that mislead would be worse than none."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.machine import BenchError
from tests.bench.open_load import OpenLoad, arrivals, percentile
from tests.bench.sheet import Measure, Sheet
from tests.bench.site import SIZES, fill, reply

STALL_S = 0.2


@pytest.fixture
def stalling_port() -> Iterator[int]:
    """A server for one connection, which answers at once, but for one pause."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def serve() -> None:
        sock, _ = listener.accept()
        with sock:
            answered = 0
            while data := sock.recv(65536):
                for _ in range(data.count(b"\r\n\r\n")):
                    answered += 1
                    if answered == 150:
                        ended.wait(STALL_S)
                    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    thread = threading.Thread(target=serve)
    thread.start()
    yield int(listener.getsockname()[1])
    ended.set()
    thread.join(5)
    listener.close()


def test_a_stall_is_charged_to_every_call_that_it_delays(stalling_port: int) -> None:
    load = OpenLoad(stalling_port, "/", connections=1)
    load.run(arrivals(200, 1.5, seed=1))
    load.close()
    delayed = [latency_s for latency_s in load.latencies_s if latency_s > STALL_S / 4]
    assert len(delayed) > 15, "calls due during the stall waited, though they could not be sent"


def test_arrivals_are_a_poisson_process_that_repeats_itself() -> None:
    instants = arrivals(1000, 10, seed=7)
    assert instants == arrivals(1000, 10, seed=7)
    assert instants == sorted(instants)
    assert instants[0] > 0
    assert instants[-1] < 10
    assert len(instants) == pytest.approx(10_000, rel=0.05)


@pytest.mark.parametrize(("share", "value"), [(0.5, 50.0), (0.99, 99.0), (0.999, 100.0), (0.001, 1.0)])
def test_percentile_is_a_value_that_was_seen(share: float, value: float) -> None:
    assert percentile([float(number) for number in range(1, 101)], share) == value


def test_ratio_is_the_median_of_what_was_measured_side_by_side() -> None:
    sheet, measure = Sheet(), Measure("CPU", "µs", most_ratio=0.75)
    for ours, theirs in ((50.0, 100.0), (140.0, 200.0), (30.0, 50.0)):
        sheet.add(measure, "sidecar", ours)
        sheet.add(measure, "envoy", theirs)
    assert sheet.ratio(measure) == pytest.approx(0.6)
    assert sheet.held(measure) is True
    assert "0.60 ×" in sheet.table(["sidecar", "envoy"])


def test_what_fails_is_noted_and_the_rest_goes_on() -> None:
    sheet = Sheet()
    with sheet.measuring("nginx: start"):
        raise BenchError("it did not get ready")
    assert sheet.missing == ["nginx: start: it did not get ready"]
    assert sheet.held(Measure("start to ready", "ms", most=800)) is None


@pytest.mark.parametrize("size", SIZES.values())
def test_replies_are_json_of_their_exact_size(size: int) -> None:
    data = reply(size)
    assert len(data) == size
    assert data.startswith(b'{"object"')


def test_templates_are_filled_whole(tmp_path: Path) -> None:
    file = fill("policy.yaml", tmp_path / "policy.yaml", name="bench", provider_port=1, ca_file="/ca.pem", cache="off")
    assert "{{" not in file.read_text()
