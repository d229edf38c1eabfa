"""The policies in force, and how the last attempt to replace them went.

Everything is parsed and compiled before one reference is swapped. What cannot be used is reported and left out; what
was in force before stays.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sidecar.clock import Clock
from sidecar.policy.mounts import MOUNTINFO, Fixed, fixed_files, parse_mounts
from sidecar.policy.problem import PolicyProblem
from sidecar.policy.sources import LoadedPolicies, load_policies
from sidecar.telemetry.meters import Family, Tally

if TYPE_CHECKING:
    from sidecar.serving.lastgood import LastGood

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
        *,
        last_good: LastGood | None = None,
        mountinfo: Path = Path(MOUNTINFO),
    ) -> None:
        self._paths = tuple(paths)
        self._compile = compile
        self._swap = swap
        self._clock = clock
        self._results = results
        self._last_good = last_good
        self._mountinfo = mountinfo
        self._one_at_a_time = asyncio.Lock()
        self._one_keeps = asyncio.Lock()
        self.loaded: LoadedPolicies | None = None
        """None until the first set is in force."""
        self.warnings: Sequence[Fixed] = ()
        """Of the files as they were last read, those that can never change."""
        self._read_last = LoadedPolicies()
        self.reloads = 0
        """Since the first load."""
        self.failures = 0
        self._loaded_wall_s = 0.0
        self._failed_wall_s: float | None = None

    @property
    def problems(self) -> Sequence[PolicyProblem]:
        """What is wrong with the files as they were last read."""
        return self._read_last.problems

    def load(self, *, wait: bool = False) -> None:
        """Put the first set in force, unless it has any problem: that raises `UnfitPolicies`, or with `wait` leaves it
        to a reload. What is known from before a restart is the last good version of what has a problem."""
        loaded = load_policies(self._paths)
        if loaded.problems and not wait:
            raise UnfitPolicies(loaded.problems)
        if loaded.problems and self._last_good is not None and (before := self._last_good.recall()) is not None:
            loaded = load_policies(self._paths, before)
        self._note(loaded, fixed_policies(loaded, self._mountinfo))
        if loaded.digest:
            self._put_in_force(loaded, self._compile(loaded))
        if loaded.problems:
            self._report(loaded)
        else:
            self._results.child("ok").add()

    async def keep(self) -> None:
        """Have a restart find what is in force."""
        if self._last_good is None:
            return
        async with self._one_keeps:
            if self.loaded is not None:
                await asyncio.to_thread(self._last_good.keep, self.loaded)

    @property
    def trouble(self) -> str:
        """Why a restart will not find what is in force; empty where it will."""
        return "" if self._last_good is None else self._last_good.trouble

    async def reload(self) -> bool:
        """Take up what has changed. False if something on disk is not fit; its last good version stays."""
        async with self._one_at_a_time:
            self.reloads += 1
            try:
                # In a thread, so that calls go on while many files are parsed.
                loaded, compiled, warnings = await asyncio.to_thread(self._read)
            except Exception:
                self.failures += 1
                self._fail()
                log.exception("the new policies could not be compiled; those in force stay")
                return False
            self._note(loaded, warnings)
            self.failures += bool(loaded.problems)
            if self.loaded is not None or not loaded.problems:
                self._put_in_force(loaded, compiled)
                await self.keep()
            return self._report(loaded)

    def _read(self) -> tuple[LoadedPolicies, T, Sequence[Fixed]]:
        loaded = load_policies(self._paths, self.loaded)
        return loaded, self._compile(loaded), fixed_policies(loaded, self._mountinfo)

    def _note(self, loaded: LoadedPolicies, warnings: Sequence[Fixed]) -> None:
        for one in warnings:
            if one not in self.warnings:
                log.warning(
                    "policies are mounted so that they never change", extra={"file": one.file, "reason": one.message}
                )
        self._read_last, self.warnings = loaded, warnings

    def _put_in_force(self, loaded: LoadedPolicies, compiled: T) -> None:
        self._swap(loaded, compiled)
        if self.loaded is None or loaded.digest != self.loaded.digest:
            self._loaded_wall_s = self._clock.wall()
        self.loaded = loaded

    def _fail(self) -> None:
        self._results.child("failed").add()
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
        if self.loaded is None:
            log.error("the policies are not fit, and nothing is served until they are", extra=extra)
        else:
            log.error("some policies are not fit, and their last good versions stay in force", extra=extra)
        return False

    @property
    def age_s(self) -> float:
        """Seconds since what is in force last changed; of no meaning before anything is."""
        return max(0.0, self._clock.wall() - self._loaded_wall_s)

    def as_json(self) -> dict[str, Any]:
        loaded = self.loaded or self._read_last
        return {
            "digest": loaded.digest,
            "loaded_at": None if self.loaded is None else _instant(self._loaded_wall_s),
            "age_s": None if self.loaded is None else round(self.age_s, 3),
            "files": [{"path": str(one.path), "digest": one.digest, "stale": one.stale} for one in loaded.files],
            "providers": sorted(policy.provider for policy in loaded.providers),
            "reloads": {"total": self.reloads, "failed": self.failures},
            "failed_at": None if self._failed_wall_s is None else _instant(self._failed_wall_s),
            "errors": [problem.json() for problem in self.problems],
            "warnings": [{"file": one.file, "message": one.message} for one in self.warnings],
        }


def fixed_policies(loaded: LoadedPolicies, mountinfo: Path = Path(MOUNTINFO)) -> tuple[Fixed, ...]:
    """The policy files that can never change; none where the kernel does not tell."""
    try:
        mounts = parse_mounts(mountinfo.read_text("utf-8", "surrogateescape"))
    except OSError:
        return ()
    real = {parent: os.path.realpath(parent) for parent in {file.path.parent for file in loaded.files}}
    # Resolving a thousand ordinary files one by one would be felt.
    files = [
        os.path.realpath(path) if path.is_symlink() else os.path.join(real[path.parent], path.name)
        for path in (file.path for file in loaded.files)
    ]
    return fixed_files(files, mounts)


def _instant(wall_s: float) -> str:
    return datetime.fromtimestamp(wall_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
