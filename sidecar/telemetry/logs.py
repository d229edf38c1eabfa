"""The process's log: JSON lines for machines, readable ones for a terminal.

Nothing gets in but constant messages of ours and the fields in `FIELDS`. What a library logs is reduced to its first
line before any value was put into it, and an exception to its type and the lines of code it came through: both could
carry anything.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from queue import Full, Queue
from types import TracebackType
from typing import Any, Final, TextIO

import orjson

OUR_LOGGER: Final = "sidecar"
FIELDS: Final = (
    "provider",
    "route",
    "mode",
    "method",
    "status",
    "outcome",
    "reason",
    "served",
    "age_s",
    "step",
    "decision",
    "attempts",
    "duration_s",
    "waited_s",
    "trace_id",
    "span_id",
    "call_id",
    "scope",
    "breaker",
    "listener",
    "address",
    "host",
    "hosts",
    "issuer",
    "serial",
    "file",
    "files",
    "digest",
    "problem",
    "problems",
    "signal",
    "metric",
    "version",
    "state",
    "count",
    "drain_s",
    "kind",
    "namespace",
    "object",
    "review",
    "expires",
    "suppressed",
    "limit_bytes",
    "cache_bytes",
)
"""What a line may carry beyond `ts`, `level`, `message`, `logger`, `exception` and `at`, given by `extra=`."""

TEXT_MAX_CHARS: Final = 1000
_FRAMES: Final = 12
_ITEMS: Final = 20
_QUEUED_LINES: Final = 4096


def _event(record: logging.LogRecord) -> dict[str, Any]:
    """The record as what may be shown of it, in the order in which it is shown."""
    event: dict[str, Any] = {
        "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "message": _message(record),
    }
    if not _ours(record):
        event["logger"] = record.name
    given = record.__dict__
    for name in FIELDS:
        value = given.get(name)
        if value is not None:
            event[name] = _bounded(value)
    if record.exc_info and record.exc_info[0] is not None:
        event["exception"] = record.exc_info[0].__name__
        event["at"] = _frames(record.exc_info[2])
    return event


def _ours(record: logging.LogRecord) -> bool:
    return record.name == OUR_LOGGER or record.name.startswith(OUR_LOGGER + ".")


def _kind(record: logging.LogRecord) -> tuple[object, ...]:
    """What makes two lines the same line."""
    given = record.__dict__
    return record.name, record.msg, *(given.get(name) for name in ("provider", "route", "reason", "file", "step"))


def _message(record: logging.LogRecord) -> str:
    text = record.getMessage() if _ours(record) else str(record.msg).partition("\n")[0]
    return _text(text)


def _bounded(value: object) -> object:
    if isinstance(value, bool | float) or (isinstance(value, int) and value.bit_length() < 64):
        return value
    if isinstance(value, list | tuple):
        return [_bounded(each) for each in value[:_ITEMS]]
    return _text(str(value))


def _text(value: str) -> str:
    """Cut, and without the halves of characters that file names may have and JSON may not."""
    return value[:TEXT_MAX_CHARS].encode("utf-8", "replace").decode()


def _frames(trace: TracebackType | None) -> list[str]:
    """Innermost last; no source lines, no values."""
    frames = traceback.extract_tb(trace)[-_FRAMES:]
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        return orjson.dumps(_event(record)).decode()


class ReadableLines(logging.Formatter):
    """`12:00:00 warning  message  key=value …` in local time."""

    def format(self, record: logging.LogRecord) -> str:
        event = _event(record)
        when = time.strftime("%H:%M:%S", time.localtime(record.created))
        rest = [f"{name}={value}" for name, value in event.items() if name not in ("ts", "level", "message")]
        # A message may hold line breaks only if somebody put them there to forge a second line.
        return "  ".join([f"{when} {event['level']:<7} {event['message']}", *rest]).replace("\n", "\\n")


class Repeats:
    """Lets the first few of the same thing through, then one each interval, which says how many were held back."""

    _KEYS_MAX = 1000

    def __init__(self, burst: int = 5, interval_s: float = 10.0) -> None:
        self._burst = burst
        self._interval_s = interval_s
        self._seen: dict[object, list[float]] = {}

    def admit(self, key: object, now_s: float) -> int | None:
        """How many were held back since the last one that was let through; None to hold this one back."""
        seen = self._seen.get(key)
        if seen is None or now_s - seen[0] >= self._interval_s:
            held_back = 0 if seen is None else int(seen[2])
            if seen is None and len(self._seen) >= self._KEYS_MAX:
                self._seen.clear()
            self._seen[key] = [now_s, 1, 0]
            return held_back
        if seen[1] < self._burst:
            seen[1] += 1
            return 0
        seen[2] += 1
        return None


class LineWriter(logging.Handler):
    """Formats where the line is logged, writes on a thread of its own: a reader that stalls costs lines, not the loop.

    A line that finds the queue full is given up and told to `on_drop`.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._repeats = Repeats()
        self._lines: Queue[str | None] = Queue(_QUEUED_LINES)
        self.on_drop: Callable[[], object] = int
        self._thread = threading.Thread(target=self._write, name="sidecar-logs", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        given = record.__dict__
        # Who has counted repeats already says so, if only by None.
        if "suppressed" not in given:
            held_back = self._repeats.admit(_kind(record), record.created)
            if held_back is None:
                return
            given["suppressed"] = held_back or None
        try:
            self._lines.put_nowait(self.format(record) + "\n")
        except Full:
            self.on_drop()

    def close(self) -> None:
        """Write what is left, for at most a second."""
        if self._thread.is_alive():
            try:
                self._lines.put_nowait(None)
                self._thread.join(1.0)
            except Full:
                # Whoever reads has stalled: the rest would not be read either.
                self.on_drop()
        super().close()

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._stream.write(line)
                if self._lines.empty():
                    self._stream.flush()
            except (OSError, ValueError):
                # The stream is gone, and there is nowhere left to say so.
                continue


def start_logging(stream: TextIO | None = None, *, json: bool | None = None, level: int = logging.INFO) -> LineWriter:
    """Send the whole process's log to `stream` (standard output), as JSON unless it is a terminal."""
    stream = stream or sys.stdout
    writer = LineWriter(stream)
    writer.setFormatter(ReadableLines() if json is False or (json is None and stream.isatty()) else JsonLines())
    root = logging.getLogger()
    for handler in root.handlers[:]:
        root.removeHandler(handler)
    root.addHandler(writer)
    root.setLevel(level)
    logging.captureWarnings(True)
    return writer


def stop_logging(writer: LineWriter) -> None:
    """Leave logging as Python begins with it."""
    root = logging.getLogger()
    root.removeHandler(writer)
    root.setLevel(logging.WARNING)
    logging.captureWarnings(False)
    writer.close()
