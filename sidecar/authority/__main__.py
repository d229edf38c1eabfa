"""`python -m sidecar.authority`: the child of `making.py`. An order on standard input, a report on standard output."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any, Final

from sidecar.authority.authority import Authority
from sidecar.authority.hardening import no_core_dumps
from sidecar.errors import SettingsError

USUAL: Final = frozenset(vars(logging.makeLogRecord({})))


class Instant:
    """A clock that stands at the time of who gave the order."""

    def __init__(self, wall_s: float) -> None:
        self._wall_s = wall_s

    def wall(self) -> float:
        return self._wall_s


class Lines(logging.Handler):
    """Keeps what is logged, for the parent's log."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        extra = {name: value for name, value in vars(record).items() if name not in USUAL}
        line = {"logger": record.name, "level": record.levelno, "message": record.getMessage(), "extra": extra}
        self.lines.append(line)


def main() -> None:
    kept = Lines()
    logging.basicConfig(level=logging.INFO, handlers=[kept])
    no_core_dumps()
    order = json.load(sys.stdin)
    error = ""
    try:
        Authority.open(
            Path(order["state"]),
            Path(order["ca_dir"]),
            order["hosts"],
            Instant(order["now_s"]),
            cert_file=_path(order["cert_file"]),
            key_file=_path(order["key_file"]),
        )
    except SettingsError as unfit:
        error = str(unfit)
    json.dump({"error": error, "lines": kept.lines}, sys.stdout)


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


main()
