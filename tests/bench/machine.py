"""This machine: its cores, its ports, its programs, and what a process on it costs."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from time import monotonic

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class BenchError(Exception):
    """Something could not be measured. The text says what, and why."""


@dataclass(frozen=True)
class Cores:
    """The one that the measured proxy has to itself, and the one for all else. The same if there is only one."""

    proxy: int
    load: int


def choose_cores() -> Cores:
    usable = sorted(os.sched_getaffinity(0))
    return Cores(proxy=usable[-1], load=usable[0])


def describe() -> dict[str, object]:
    """What a reader must know to judge the figures."""
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
        models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def require(program: str, package: str) -> str:
    """The path of a program, installed from Debian's packages if it is missing and that is allowed."""
    places = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    found = shutil.which(program, path=places)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for arguments in (["update"], ["install", "-y", "--no-install-recommends", package]):
            subprocess.run(["apt-get", "-qq", *arguments], env=environ, check=False, capture_output=True)
        found = shutil.which(program, path=places)
    if found is None:
        raise BenchError(f"{program} is not installed: apt-get install {package}")
    return found


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def raise_file_limit() -> None:
    """As many descriptors as the machine allows, for this process and all it starts."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def until(condition: Callable[[], bool], within_s: float, step_s: float = 0.002) -> bool:
    """Poll until `condition` holds; False when the time is over."""
    never = Event()
    ends_s = monotonic() + within_s
    while not condition():
        if monotonic() > ends_s:
            return False
        never.wait(step_s)
    return True


def answers(port: int, path: str | None) -> bool:
    """Whether something listens at `port` and, where a path is given, says 200 to it."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as sock:
            if path is None:
                return True
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
            return sock.recv(64).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False


class Process:
    """A program pinned to one core, its output in a file."""

    def __init__(self, argv: Sequence[str], core: int, log: Path, environ: Mapping[str, str] | None = None) -> None:
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                ["taskset", "-c", str(core), *argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **(environ or {})},
            )
        self.pid = self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    def cpu_s(self) -> float:
        """User and system time of all its threads so far."""
        return (self._stat(14) + self._stat(15)) / TICKS_PER_S

    def began_s(self) -> float:
        """On the clock that counts from the machine's start."""
        return self._stat(22) / TICKS_PER_S

    def _stat(self, number: int) -> int:
        """A field by its number in proc(5)."""
        return int(Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[number - 3])

    def resident_bytes(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE_BYTES

    def last_words(self) -> str:
        """The end of its output, on one line."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return " | ".join(lines[-3:])[-400:] or "it printed nothing"

    def stop(self) -> None:
        if self.running:
            self._popen.terminate()
        try:
            self._popen.wait(1)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
