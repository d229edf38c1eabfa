"""What breakers and limiters take along into the next process, and its form in a file.

Times are monotonic here, and in the file what is left of them when it was written. So a wall clock that is set back
meanwhile makes nothing last longer than it would have lasted then; one that is set forward only ends it early.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from math import inf, isfinite
from typing import Any, Final, TypeAlias

import orjson

from sidecar.rules.breaker import CircuitMemory, CircuitState, Transition
from sidecar.rules.limiter import LimiterMemory

VERSION: Final = 1
STALE_AFTER_S: Final = 600.0
"""What was over so long ago says nothing of the provider any more: a breaker starts closed, a limit at full rate."""
CAUSE_MAX_CHARS: Final = 200
_STATES: Final = frozenset(CircuitState)

Key: TypeAlias = tuple[str, str]
"""Provider and scope."""


class NotMemories(Exception):  # noqa: N818 - the file's fault, and no error of ours
    """These bytes cannot be used; the text is one word that says why."""


@dataclass(slots=True)
class Memories:
    """By provider and scope."""

    circuits: dict[Key, dict[str, CircuitMemory]] = field(default_factory=dict)
    """Then by the credential's digest; empty for the circuit that all credentials share."""
    limiters: dict[Key, LimiterMemory] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(map(len, self.circuits.values())) + len(self.limiters)


def encode(memories: Memories, now_s: float, wall_s: float) -> bytes:
    """What is stale is left out."""
    content = {
        "wall_s": wall_s,
        "breakers": list(_breaker_rows(memories, now_s)),
        "limits": list(_limit_rows(memories, now_s)),
    }
    return orjson.dumps({"version": VERSION, "sha256": _digest(content), "memory": content}, option=_PRETTY)


def decode(data: bytes, now_s: float, wall_s: float) -> Memories:
    """Raises `NotMemories`."""
    try:
        document = orjson.loads(data)
        if not isinstance(document, dict) or not isinstance(version := document.get("version"), int):
            raise NotMemories("foreign")
        if version != VERSION:
            raise NotMemories("older" if version < VERSION else "newer")
        content = document["memory"]
        if document["sha256"] != _digest(content):
            raise NotMemories("corrupt")
        passed_s = max(0.0, wall_s - _number(content["wall_s"]))
        return _memories(content, now_s - passed_s, now_s)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise NotMemories("corrupt") from None


def _breaker_rows(memories: Memories, now_s: float) -> Iterator[dict[str, Any]]:
    for (provider, scope), circuits in memories.circuits.items():
        for credential, memory in circuits.items():
            left_s = memory.until_s - now_s
            if left_s >= -STALE_AFTER_S:
                last = memory.last
                yield {
                    "provider": provider,
                    "scope": scope,
                    "credential": credential,
                    "state": last.after,
                    "before": last.before,
                    "cause": last.cause,
                    "at_wall_s": last.at_wall_s,
                    "left_s": None if left_s == inf else left_s,
                    "failed_trials": memory.failed_trials,
                }


def _limit_rows(memories: Memories, now_s: float) -> Iterator[dict[str, Any]]:
    for (provider, scope), memory in memories.limiters.items():
        left_s = memory.hold_until_s - now_s
        if left_s >= -STALE_AFTER_S:
            yield {"provider": provider, "scope": scope, "left_s": left_s, "rate_ratio": memory.rate_ratio}


def _memories(content: Mapping[str, Any], then_s: float, now_s: float) -> Memories:
    """`then_s` is when it was written, on this process's scale. Raises the errors that `decode` knows."""
    memories = Memories()
    for row in content["breakers"]:
        until_s = inf if row["left_s"] is None else then_s + _number(row["left_s"])
        if until_s >= now_s - STALE_AFTER_S:
            circuits = memories.circuits.setdefault((_text(row["provider"]), _text(row["scope"])), {})
            circuits[_text(row["credential"])] = CircuitMemory(_transition(row), until_s, _count(row["failed_trials"]))
    for row in content["limits"]:
        until_s = then_s + _number(row["left_s"])
        if until_s >= now_s - STALE_AFTER_S:
            ratio = _number(row["rate_ratio"])
            memories.limiters[_text(row["provider"]), _text(row["scope"])] = LimiterMemory(until_s, ratio)
    return memories


def _transition(row: Mapping[str, Any]) -> Transition:
    before, after = row["before"], row["state"]
    if before not in _STATES or after not in _STATES or after == CircuitState.CLOSED:
        raise ValueError
    return Transition(_number(row["at_wall_s"]), before, after, _text(row["cause"])[:CAUSE_MAX_CHARS])


def _number(value: object) -> float:
    if isinstance(value, (int, float)) and isfinite(value):
        return float(value)
    raise ValueError


def _count(value: object) -> int:
    if isinstance(value, int) and value >= 0:
        return value
    raise ValueError


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise ValueError


def _digest(content: object) -> str:
    return sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


_PRETTY: Final = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
