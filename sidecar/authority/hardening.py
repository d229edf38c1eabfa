"""Keeping a private key within its process."""

from __future__ import annotations

import logging
import os
import resource
from typing import Final

log = logging.getLogger(__name__)

PR_SET_DUMPABLE: Final = 4
"""From <linux/prctl.h>."""


def no_core_files() -> None:
    """Let this process and its children leave no core file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def no_core_dumps() -> bool:
    """Let nothing of this process's memory reach a file or another process of the same user; False if Linux refuses.

    Not dumpable means: no core, not even to a collector that the kernel pipes it to, which heeds no limit; no ptrace
    and no reading of /proc/<pid>/mem or environ, save by who may debug everything. It ends with an exec.
    """
    import ctypes  # noqa: PLC0415 - a megabyte, needed once, and only where a key is read

    no_core_files()
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = (ctypes.c_int, *(ctypes.c_ulong,) * 4)
    if prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0:
        return True
    log.warning(
        "memory cannot be kept from being dumped: see that nothing collects cores here, since one would hold the key",
        extra={"reason": os.strerror(ctypes.get_errno())},
    )
    return False
