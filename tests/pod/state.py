"""What is known of a Pod's containers while they live."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from tests.pod.volumes import Document

Role: TypeAlias = Literal["init", "sidecar", "app"]


@dataclass(frozen=True)
class Event:
    """What happened to a container."""

    at_s: float
    container: str
    what: str
    """started, startup passed, poststart passed, exited CODE, term, kill; for the Pod itself ready or failed."""


@dataclass
class Container:
    """One container over all its restarts."""

    document: Document
    role: Role
    pid: int = 0
    exit_codes: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    """podman's, the last one's is there."""
    exited: threading.Event = field(default_factory=threading.Event)

    @property
    def name(self) -> str:
        return str(self.document["name"])

    @property
    def restarts(self) -> int:
        return max(0, len(self.names) - 1)


@dataclass(frozen=True)
class Node:
    """Where a Pod runs: podman's name of the network, and a process on it, from where probes come."""

    network: str
    pid: int
