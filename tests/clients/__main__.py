"""Runs the matrix by hand: prints what contradicts the cells, and with `--write` writes the page if nothing does."""

from __future__ import annotations

import sys

from tests.clients.page import PAGE, page
from tests.clients.run import doubts, run_all


def main() -> int:
    found = doubts(run_all())
    for doubt in found:
        print(doubt, file=sys.stderr)
    if found:
        return 1
    if "--write" in sys.argv[1:]:
        PAGE.write_text(page())
    return 0


sys.exit(main())
