"""How much a peer may ask of us before it is refused."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """What one message's head may weigh."""

    line_bytes: int = 8 * 1024
    """The request target; a provider's status line is bound by `bytes`."""
    fields: int = 100
    bytes: int = 64 * 1024


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What the listener takes from applications."""

    head: HeadLimits = HeadLimits()
    body_bytes: int | None = None
    """None: bodies stream, and so may be of any size."""
    connections: int = 20_000
    idle_s: float = 300.0
    """A connection without a request, and a reply that its reader does not take."""
    head_s: float = 10.0
    """From a head's first byte to its last."""
    body_rate_bytes_per_s: int = 64
    """A body slower than this after `body_grace_s` is given up."""
    body_grace_s: float = 10.0


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """What one provider's connections may amount to."""

    connections: int = 256
    idle_s: float = 30.0
    """Shorter than what providers allow (60 s and more), so that we close first. A provider's own
    `Keep-Alive: timeout=` shortens it further."""
    head: HeadLimits = HeadLimits(line_bytes=64 * 1024, fields=256, bytes=256 * 1024)
