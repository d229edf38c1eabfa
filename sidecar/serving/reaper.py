"""What the first process of a container owes to the others: it collects those that nobody waits for any more.

`kubectl exec` and probes start processes in the container; when one dies before its children, those become the first
process's. Dead and not collected, each holds one of the pod's process ids. Where the daemon is not the first process,
none of this happens, and nothing here runs.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress

INIT_PID = 1


def attend_orphans() -> None:
    """Collect the container's orphans from now on, if this is its first process."""
    if os.getpid() != INIT_PID:
        return
    # Not by the loop: uvloop keeps this one signal for itself, and uses it only for processes that it has started.
    signal.signal(signal.SIGCHLD, lambda *_: reap_orphans())
    reap_orphans()


def reap_orphans() -> int:
    """Collect each child that is dead and was not started by this process; how many they were.

    Those that it has started are in its process group, since it moves none out, and are left to who waits for their
    exit status. Orphans are not: whatever enters a container from outside does so in a session of its own.
    """
    reaped = 0
    for pid in _dead_children():
        with suppress(ChildProcessError):
            reaped += os.waitpid(pid, os.WNOHANG)[0] == pid
    return reaped


def _dead_children() -> Iterator[int]:
    own, group = str(os.getpid()), str(os.getpgrp())
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with suppress(OSError):
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                # The name, in parentheses, may hold anything: proc_pid_stat(5).
                state, parent, its_group = file.read().rpartition(")")[2].split()[:3]
            if state == "Z" and parent == own and its_group != group:
                yield int(name)
