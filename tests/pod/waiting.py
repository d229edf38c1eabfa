"""Waiting for what other processes do."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T], within_s: float = 20.0, *, every_s: float = 0.02, what: str = "") -> T:
    """What `condition` says once it is true. What it raises before counts as false."""
    ends, pause, trouble = time.monotonic() + within_s, threading.Event(), None
    while True:
        try:
            if found := condition():
                return found
        except (AssertionError, OSError, http.client.HTTPException, KeyError, IndexError, ValueError) as error:
            trouble = error
        if time.monotonic() > ends:
            raise AssertionError(f"not within {within_s} s: {what or condition}") from trouble
        pause.wait(every_s)
