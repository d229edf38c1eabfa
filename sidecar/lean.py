"""Importing a library without a companion that it looks for and that is not needed from it.

Redis's client is one: pybreaker and aiocache import it wherever it is installed, which takes a daemon that has no Redis
about 80 ms and 10 MiB. The extension of aiohttp's frozenlist is another: for lists that a daemon makes once, it brings
C++'s runtime, 1.4 MiB.
"""

from __future__ import annotations

import sys
from importlib import import_module


def import_without(name: str, companion: str) -> None:
    """Import `name` as if `companion` were not installed, unless either is imported already."""
    if name in sys.modules or companion in sys.modules:
        return
    # None is how the import system is told that there is no such module.
    sys.modules[companion] = None  # type: ignore[assignment]
    try:
        import_module(name)
    finally:
        del sys.modules[companion]
