from __future__ import annotations

import io
import logging
import threading
from collections.abc import Iterator

import orjson
import pytest

from sidecar.telemetry.logs import FIELDS, TEXT_MAX_CHARS, LineWriter, Repeats, start_logging, stop_logging

SECRET = "hunter2"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def untouched() -> Iterator[None]:
    """The process's logging as it was before."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:] = before
    root.setLevel(level)


def lines(stream: io.StringIO, writer: LineWriter) -> list[dict[str, object]]:
    stop_logging(writer)
    return [orjson.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.usefixtures("untouched")
class TestLines:
    def test_json_with_fields(self) -> None:
        writer = start_logging(stream := io.StringIO())
        extra = {"provider": "stripe", "status": 503, "trace_id": "ab", "files": ["a", "b"], "route": None}
        logging.getLogger("sidecar.calls").warning("a call failed", extra=extra)
        [line] = lines(stream, writer)
        ts = line.pop("ts")
        assert isinstance(ts, str)
        assert ts.endswith("Z")
        assert line == {
            "level": "warning",
            "message": "a call failed",
            "provider": "stripe",
            "status": 503,
            "trace_id": "ab",
            "files": ["a", "b"],
        }

    def test_readable_on_a_terminal(self) -> None:
        writer = start_logging(stream := Terminal())
        logging.getLogger("sidecar").info("listening\nforged", extra={"listener": "calls", "address": "127.0.0.1:7600"})
        stop_logging(writer)
        text = stream.getvalue()
        assert text.endswith("info    listening\\nforged  listener=calls  address=127.0.0.1:7600\n")

    def test_fields_that_nobody_allowed_stay_out(self) -> None:
        writer = start_logging(stream := io.StringIO())
        logging.getLogger("sidecar").info("x", extra={"authorization": SECRET, "body": SECRET})
        assert set(lines(stream, writer)[0]) == {"ts", "level", "message"}
        assert SECRET not in stream.getvalue()

    def test_a_librarys_values_stay_out(self) -> None:
        writer = start_logging(stream := io.StringIO())
        library = logging.getLogger("library.part")
        library.warning("asked %s for %r", SECRET, {"key": SECRET})
        library.error("Task failed\nfuture: <exception=ValueError('%s')>" % SECRET)  # noqa: UP031
        first, second = lines(stream, writer)
        assert (first["message"], first["logger"]) == ("asked %s for %r", "library.part")
        assert second["message"] == "Task failed"
        assert SECRET not in stream.getvalue()

    def test_an_exception_is_its_type_and_where(self) -> None:
        writer = start_logging(stream := io.StringIO())
        try:
            raise ValueError(SECRET)
        except ValueError:
            logging.getLogger("sidecar").exception("a fault")
        [line] = lines(stream, writer)
        assert line["exception"] == "ValueError"
        assert isinstance(line["at"], list)
        assert line["at"][0].startswith("test_logs.py:")
        assert SECRET not in stream.getvalue()

    def test_odd_values_are_written_all_the_same(self) -> None:
        writer = start_logging(stream := io.StringIO())
        extra = {
            "count": 2**80,
            "file": "caf\udce9",
            "state": object,
            "problem": "x" * 5000,
            "duration_s": float("nan"),
        }
        logging.getLogger("sidecar").info("\ud800", extra=extra)
        [line] = lines(stream, writer)
        assert line["count"] == str(2**80)
        assert line["file"] == "caf?"
        assert len(str(line["problem"])) == TEXT_MAX_CHARS

    def test_a_flood_of_one_thing_is_held_back(self) -> None:
        writer = start_logging(stream := io.StringIO())
        for _ in range(100):
            logging.getLogger("sidecar").warning("the same", extra={"provider": "a"})
        logging.getLogger("sidecar").warning("the same", extra={"provider": "b"})
        written = lines(stream, writer)
        assert [line["provider"] for line in written].count("b") == 1
        assert len(written) == 6

    def test_the_root_has_no_other_handler(self) -> None:
        writer = start_logging(io.StringIO())
        assert logging.getLogger().handlers == [writer]
        stop_logging(writer)
        assert logging.getLogger().handlers == []


def test_a_stalled_reader_costs_lines_and_no_time() -> None:
    gate, drops = threading.Event(), []

    class Stalled(io.StringIO):
        def write(self, text: str) -> int:
            gate.wait(10)
            return super().write(text)

    writer = LineWriter(Stalled())
    writer.on_drop = lambda: drops.append(1)
    for number in range(6000):
        writer.handle(logging.LogRecord("sidecar", logging.INFO, "", 0, f"line {number}", (), None))
    assert len(drops) >= 6000 - 4096 - 1
    gate.set()
    writer.close()


def test_a_stream_that_is_gone_ends_nothing() -> None:
    stream = io.StringIO()
    stream.close()
    writer = LineWriter(stream)
    writer.handle(logging.LogRecord("sidecar", logging.INFO, "", 0, "x", (), None))
    writer.close()
    assert not writer._thread.is_alive()


class TestRepeats:
    def test_a_burst_passes_and_then_one_each_interval(self) -> None:
        repeats = Repeats(burst=2, interval_s=10.0)
        assert [repeats.admit("a", now_s) for now_s in (0.0, 1.0, 2.0, 3.0)] == [0, 0, None, None]
        assert repeats.admit("b", 3.0) == 0
        assert repeats.admit("a", 10.0) == 2

    def test_keys_are_bounded(self) -> None:
        repeats = Repeats()
        for key in range(5000):
            repeats.admit(key, 0.0)
        assert len(repeats._seen) <= 1000


def test_fields_never_hide_what_logging_itself_keeps() -> None:
    record = logging.LogRecord("sidecar", logging.INFO, "", 0, "x", (), None)
    assert not set(FIELDS) & set(record.__dict__)
