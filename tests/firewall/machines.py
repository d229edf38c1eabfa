"""A machine of the test's own making: which programs it has, what they answer, what was asked of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from sidecar.firewall.machine import Done

ROOT = "Name:\tsidecar\nCapEff:\t000001ffffffffff\n"
NOBODY = "Name:\tsidecar\nCapEff:\t0000000000000000\n"
ADMIN_ONLY = "Name:\tsidecar\nCapEff:\t0000000000001000\n"

Answer = Callable[[Sequence[str], str], Done]
FINE = Done(0, "", "")


class FakeMachine:
    """Answers by `answers[program]`, else with success and no output."""

    def __init__(self, *programs: str, status: str | None = ROOT) -> None:
        self.programs = programs
        self.answers: dict[str, Answer] = {}
        self.files = {} if status is None else {"/proc/self/status": status}
        self.asked: list[tuple[list[str], str]] = []

    def find(self, program: str) -> str | None:
        return f"/usr/sbin/{program}" if program in self.programs else None

    def run(self, command: Sequence[str], stdin: str = "") -> Done:
        name = os.path.basename(command[0])
        self.asked.append(([name, *command[1:]], stdin))
        return self.answers[name](command, stdin) if name in self.answers else FINE

    def read(self, path: str) -> str | None:
        return self.files.get(path)

    def told(self, program: str) -> list[str]:
        """What a program read on its standard input, each time that it got something."""
        return [stdin for command, stdin in self.asked if command[0] == program and stdin]


def always(code: int, out: str = "", err: str = "") -> Answer:
    return lambda command, stdin: Done(code, out, err)


def iptables_programs(flavour: str) -> list[str]:
    return [f"{name}{flavour}-{what}" for name in ("iptables", "ip6tables") for what in ("save", "restore")]
