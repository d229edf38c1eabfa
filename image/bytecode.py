"""Compiles those modules of the standard library that have no bytecode: the official images of Python leave all of it
out, and where nothing may be written, every start would compile a hundred modules again.
"""

from __future__ import annotations

import py_compile
import sysconfig
from importlib.util import cache_from_source
from pathlib import Path

LIBRARY = Path(sysconfig.get_path("stdlib"))
NEVER_USED = frozenset(
    ("dist-packages", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "site-packages", "test", "tkinter", "turtledemo")
)

count = 0
for source in sorted(LIBRARY.rglob("*.py")):
    if NEVER_USED.isdisjoint(source.relative_to(LIBRARY).parts) and not Path(cache_from_source(str(source))).exists():
        py_compile.compile(str(source), doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
        count += 1
print(f"{LIBRARY}: {count} modules compiled")
