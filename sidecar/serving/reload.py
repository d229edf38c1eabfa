"""The policies in force, and how the last attempt to replace them went.

Everything is parsed and compiled before one reference is swapped. What cannot be used is reported and left out; what
was in force before stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

from sidecar.clock import Clock
from sidecar.policy.problem import PolicyProblem
from sidecar.policy.sources import LoadedPolicies, load_policies
from sidecar.telemetry.meters import Family, Tally

log = logging.getLogger(__name__)

T = TypeVar("T")

PROBLEMS_LOGGED = 10
"""More than a person reads in a log; `/policies` has them all."""


class UnfitPolicies(Exception):  # noqa: N818 - not a fault of ours: the policies are what is unfit
    """The policies cannot be served, and there are none in force to fall back on."""

    def __init__(self, problems: Sequence[PolicyProblem]) -> None:
        super().__init__(f"{len(problems)} problems")
        self.problems = problems


class PoliciesInForce(Generic[T]):
    """What is served, from which files, since when, and what is wrong with what is on disk.

    `compile` makes what calls are answered from, on any thread; `swap` puts it in force, on the loop's.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        compile: Callable[[LoadedPolicies], T],  # noqa: A002 - the field's word
        swap: Callable[[LoadedPolicies, T], None],
        clock: Clock,
        results: Family[Tally],
    ) -> None:
        self._paths = tuple(paths)
        self._compile = compile
        self._swap = swap
        self._clock = clock
        self._results = results
        self._one_at_a_time = asyncio.Lock()
        self.loaded: LoadedPolicies | None = None
        """None until the first set is in force."""
        self.problems: Sequence[PolicyProblem] = ()
        """What is wrong with the files as they were last read."""
        self.reloads = 0
        """Since the first load."""
        self.failures = 0
        self._loaded_wall_s = 0.0
        self._failed_wall_s: float | None = None

    def load(self) -> None:
        """Put the first set in force. Raises `UnfitPolicies`, whatever the number of problems."""
        loaded = load_policies(self._paths)
        if loaded.problems:
            raise UnfitPolicies(loaded.problems)
        self._put_in_force(loaded, self._compile(loaded))
        self._results.child("ok").add()

    async def reload(self) -> bool:
        """Take up what has changed. False if something on disk is not fit; its last good version stays."""
        async with self._one_at_a_time:
            self.reloads += 1
            try:
                # In a thread, so that calls go on while many files are parsed.
                loaded, compiled = await asyncio.to_thread(self._read)
            except Exception:
                self._fail()
                log.exception("the new policies could not be compiled; those in force stay")
                return False
            self._put_in_force(loaded, compiled)
            return self._report(loaded)

    def _read(self) -> tuple[LoadedPolicies, T]:
        loaded = load_policies(self._paths, self.loaded)
        return loaded, self._compile(loaded)

    def _put_in_force(self, loaded: LoadedPolicies, compiled: T) -> None:
        self._swap(loaded, compiled)
        if self.loaded is None or loaded.digest != self.loaded.digest:
            self._loaded_wall_s = self._clock.wall()
        self.loaded = loaded
        self.problems = loaded.problems

    def _fail(self) -> None:
        self._results.child("failed").add()
        self.failures += 1
        self._failed_wall_s = self._clock.wall()

    def _report(self, loaded: LoadedPolicies) -> bool:
        if not loaded.problems:
            self._failed_wall_s = None
            self._results.child("ok").add()
            log.info("policies are in force", extra={"files": len(loaded.files), "digest": loaded.digest})
            return True
        self._fail()
        shown = [problem.text() for problem in loaded.problems[:PROBLEMS_LOGGED]]
        extra = {"count": len(loaded.problems), "problems": shown, "digest": loaded.digest}
        log.error("some policies are not fit, and their last good versions stay in force", extra=extra)
        return False

    @property
    def age_s(self) -> float:
        """Seconds since what is in force last changed."""
        return max(0.0, self._clock.wall() - self._loaded_wall_s)

    def as_json(self) -> dict[str, Any]:
        loaded = self.loaded or LoadedPolicies()
        return {
            "digest": loaded.digest,
            "loaded_at": _instant(self._loaded_wall_s),
            "age_s": round(self.age_s, 3),
            "files": [{"path": str(one.path), "digest": one.digest, "stale": one.stale} for one in loaded.files],
            "providers": sorted(policy.provider for policy in loaded.providers),
            "reloads": {"total": self.reloads, "failed": self.failures},
            "failed_at": None if self._failed_wall_s is None else _instant(self._failed_wall_s),
            "errors": [problem.json() for problem in self.problems],
        }


def _instant(wall_s: float) -> str:
    return datetime.fromtimestamp(wall_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
