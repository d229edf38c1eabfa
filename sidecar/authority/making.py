"""The authority made, widened or renewed by a child process, so that this one stays as lean as it started.

What goes there are paths and names, what comes back are words; the key stays in the child and in its file.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Final

from sidecar.authority.names import Hosts
from sidecar.authority.record import Places

LONGEST_S: Final = 20.0
"""A child that takes longer hangs, on a disk most likely."""


@dataclass(frozen=True, slots=True)
class Report:
    """How it went. `error` is empty if well; `lines` are for the log."""

    error: str
    lines: Sequence[Mapping[str, Any]]

    def relay(self) -> None:
        for line in self.lines:
            logging.getLogger(line["logger"]).log(line["level"], line["message"], extra=line["extra"])


class Making:
    """A child that brings the authority up to date: what it makes is in the files once `is_over`."""

    def __init__(self, places: Places, hosts: Hosts, now_s: float) -> None:
        # Files without a name: unlike a pipe, neither end ever waits for the other.
        with os.fdopen(os.memfd_create("order", os.MFD_CLOEXEC), "w+b") as order:
            order.write(_order(places, hosts, now_s))
            order.seek(0)
            self._report = os.fdopen(os.memfd_create("report", os.MFD_CLOEXEC), "w+b")
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "sidecar.authority"],
                stdin=order,
                stdout=self._report,
                stderr=subprocess.DEVNULL,
                # Just the modules that this process runs, whatever lies in the directory that it was started in.
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )

    @property
    def is_over(self) -> bool:
        return self._process.poll() is not None

    def report(self) -> Report:
        """Wait for the child, and hear of it."""
        with self._report:
            try:
                self._process.wait(LONGEST_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
                return Report(f"the authority could not be made within {LONGEST_S:g} s; is the disk in order?", ())
            self._report.seek(0)
            with suppress(ValueError, TypeError):
                return Report(**json.loads(self._report.read()))
        return Report(f"the authority could not be made (exit code {self._process.returncode})", ())


def _order(places: Places, hosts: Hosts, now_s: float) -> bytes:
    paths = {name: None if path is None else str(path) for name, path in asdict(places).items()}
    return json.dumps({**paths, "hosts": hosts.as_policies(), "now_s": now_s}).encode()
