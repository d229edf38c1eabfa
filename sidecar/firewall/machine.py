"""The machine that the rules are for: its programs, and what this process may do on it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

NET_ADMIN: Final = 12
NET_RAW: Final = 13
CAPABILITY_NAMES: Final = {NET_ADMIN: "NET_ADMIN", NET_RAW: "NET_RAW"}
"""Numbers as in `linux/capability.h`, names as manifests write them."""

SYSTEM_PATH: Final = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where firewall tools are, though an ordinary user's PATH leaves it out."""
RUN_S: Final = 30.0
DENIED: Final = ("operation not permitted", "permission denied", "must be root")
LOCK: Final = "lock file"
"""Of iptables-legacy, in /run. That it cannot be written is a matter of files and not of capabilities."""
KERNEL_LACKS: Final = (
    "not supported", "no such file or directory", "does not exist", "unable to initialize table",
    "can't initialize", "no chain/target/match", "couldn't load",
)  # fmt: skip


class FirewallError(Exception):
    """The rules could not be read or changed. The text is one line for the user."""


class NotPermitted(FirewallError):  # noqa: N818 - named for what happened, as the message reads
    """This process lacks a capability, so no other tool can do better."""


@dataclass(frozen=True, slots=True)
class Done:
    """A program's end."""

    code: int
    out: str
    err: str


class Machine(Protocol):
    """What the tools ask of the machine."""

    def find(self, program: str) -> str | None: ...
    def run(self, command: Sequence[str], stdin: str = "") -> Done: ...
    def read(self, path: str) -> str | None: ...


class ThisMachine:
    """The real one, in the network namespace of this process."""

    def __init__(self) -> None:
        self._path = os.pathsep.join([os.environ.get("PATH", os.defpath), *SYSTEM_PATH])

    def find(self, program: str) -> str | None:
        return shutil.which(program, path=self._path)

    def run(self, command: Sequence[str], stdin: str = "") -> Done:
        """Raises FirewallError when it does not run to its end."""
        # The messages are read by programs, this one among them: in English, please.
        environ = {**os.environ, "PATH": self._path, "LC_ALL": "C"}
        try:
            done = subprocess.run(
                command,
                input=stdin,
                capture_output=True,
                text=True,
                errors="replace",
                env=environ,
                timeout=RUN_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise FirewallError(f"{command[0]} gave no answer within {RUN_S:g} s") from None
        except OSError as error:
            raise FirewallError(f"{command[0]} cannot be run ({error.strerror})") from None
        return Done(done.returncode, done.stdout, done.stderr)

    def read(self, path: str) -> str | None:
        """A file's text; None where there is none or it may not be read."""
        try:
            return Path(path).read_text()
        except OSError:
            return None


def run_checked(machine: Machine, command: Sequence[str], stdin: str = "") -> str:
    """What a program wrote. Raises FirewallError, with the reason that it gave."""
    done = machine.run(command, stdin)
    if done.code == 0:
        return done.out
    program, reason = os.path.basename(command[0]), _reason(done)
    said = done.err.lower()
    if any(word in said for word in DENIED) and LOCK not in said:
        raise NotPermitted(_not_permitted(program, "NET_ADMIN", reason))
    if any(word in said for word in KERNEL_LACKS):
        raise FirewallError(f"the kernel lacks what {program} needs, such as NAT's module ({reason})")
    raise FirewallError(f"{program} failed ({reason})")


def require(machine: Machine, program: str, *capabilities: int) -> None:
    """Raises NotPermitted. Asked before a tool is, since some tell a missing capability from nothing else."""
    status = machine.read("/proc/self/status") or ""
    held = next((int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:")), -1)
    missing = [CAPABILITY_NAMES[one] for one in capabilities if not held >> one & 1]
    if missing:
        names = " and ".join(missing)
        raise NotPermitted(_not_permitted(program, names, f"this process lacks {names}"))


def has_ipv6(machine: Machine) -> bool:
    """Whether an interface other than loopback has an IPv6 address."""
    rows = (machine.read("/proc/net/if_inet6") or "").splitlines()
    return any(row.split()[-1] != "lo" for row in rows if row.strip())


def _not_permitted(program: str, capabilities: str, reason: str) -> str:
    return f"{program} may not change the firewall ({reason}): run it with {capabilities}, as the init container does"


def _reason(done: Done) -> str:
    """The first line that is no warning."""
    lines = (line.strip() for line in done.err.splitlines())
    return next((line for line in lines if line and not line.startswith("#")), f"exit code {done.code}")
