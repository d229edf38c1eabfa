"""What an HTTP cache may keep, reuse and must ask about: RFC 9111, and RFC 5861 with the policy's ceiling over it.

What may live here: decisions, in files that follow the RFC's sections. Times are Unix seconds and are arguments. No
storage, no clock, no loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr as mypyc_attr
else:

    def mypyc_attr(**_promises):
        """What a class promises the compiler of the hot path; nothing is made of it where none is compiled.

        `acyclic`: no instance refers to itself by whatever way, so the garbage collector need not know them. What is
        kept is plenty and lives long: the collector would visit all of it time and again, and each that leaves would
        touch two neighbours in the collector's lists, long gone from the processor's caches.
        """
        return lambda kind: kind
