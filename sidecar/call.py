"""The words a pipeline speaks: a call goes in, a reply or a failure comes out.

What may live here: the data that steps pass to each other. No decisions, no sockets.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING, TypeAlias

from sidecar.errors import Reason, Verdict
from sidecar.http1.message import Body, Headers, ReplayBody

if TYPE_CHECKING:
    from sidecar.http1.message import Tunnel


class Mode(StrEnum):
    """How a call got in (`sidecar.mode` in telemetry)."""

    REVERSE = "reverse"
    HOST = "host"
    FORWARD = "forward"


@dataclass(slots=True)
class Trace:
    """The trace that a call belongs to (W3C Trace Context). Ids are lower-case hex."""

    trace_id: str
    parent_id: str | None
    """The application's span, if it sent one."""
    sampled: bool
    state: str = ""
    """`tracestate` as it goes on, at most 512 characters; empty when there is none."""


@dataclass(slots=True)
class Served:
    """That a reply is not the provider's fresh word, and what it is instead."""

    source: str
    """`cache`, `stale` or `fallback`."""
    age_s: float | None = None
    """How old it is, seconds; None if nobody can say."""
    reason: str = ""
    """Why nothing fresher was to be had: a `Reason`, `status-503` for a reply of the provider's; empty if fresh."""


@dataclass(slots=True)
class Call:
    """One call of the application on its way to a provider. Owned by one task; steps may alter it."""

    id: str
    """16 hex digits: the call span's id, and the `id` of the `Sidecar` header, problem bodies and log lines."""
    mode: Mode
    method: str
    target: bytes = field(repr=False)
    """Origin form as it goes to the provider, query included."""
    headers: Headers
    """End-to-end fields; `traceparent` and `tracestate` are taken out by the trace step."""
    body: ReplayBody
    provider: str
    route: str
    """The route's name, or `-` when none matched."""
    started_s: float
    """When the head was complete, on the monotonic clock."""
    deadline_s: float = inf
    """When the application must have its answer, on the monotonic clock."""
    attempt: int = 0
    """Attempts begun, so 1 during the first."""
    attempt_deadline_s: float = inf
    attempt_fields: list[tuple[bytes, bytes]] = field(default_factory=list, repr=False)
    """Fields that go upstream with this attempt only, in place of nothing: `traceparent`, credentials, versions."""
    expects_continue: bool = False
    """The application waits for a 100 before it sends its body."""
    upgrade: bytes | None = None
    """The protocol that the application asks to change to."""
    trace: Trace | None = None
    waited_s: float = 0.0
    """Time spent waiting on purpose: backoff and limiter."""
    final: bool = False
    """True when the sidecar has done what it can, so that the application's own retry would only add load."""
    standby: bool = False
    """A kept reply can stand in if this fails, so another attempt is not worth waiting for."""
    decisions: list[tuple[str, str, float]] | None = None
    """What steps decided beyond letting the call pass: (step, decision, monotonic seconds)."""
    on_interim: Callable[[int, bytes, Headers], None] | None = None
    """Where a 1xx reply goes (status, phrase, fields); None when the client cannot take any (HTTP/1.0)."""

    def note(self, step: str, decision: str, now_s: float) -> None:
        """Record a decision for `/calls` and the span. Never put a secret, a body or a query value in it."""
        if self.decisions is None:
            self.decisions = []
        self.decisions.append((step, decision, now_s))


@dataclass(slots=True)
class Reply:
    """A provider's answer. The body may still be arriving; whoever drops a reply calls `body.discard()`."""

    status: int
    phrase: bytes
    headers: Headers
    body: Body
    verdict: Verdict = Verdict.OK
    wait_s: float | None = None
    """How long the provider asked us to stay away, seconds; None when it did not say."""
    tunnel: Tunnel | None = None
    """The way up after a 101; the way down is `body`."""
    upgrade: bytes | None = None
    """The protocol that the provider changed to, or, with a 426, insists on."""
    served: Served | None = None
    """None for what the provider just said."""
    extra: list[tuple[bytes, bytes]] | None = field(default=None, repr=False)
    """Fields of the sidecar's own that go with it: `Age`, `Cache-Status`, `Proxy-Status`."""


@dataclass(slots=True)
class Failure:
    """No reply of the provider's to show: the sidecar must answer itself."""

    reason: Reason
    detail: str
    """One sentence for the application's developer: what happened and what to do next. No secrets."""
    verdict: Verdict
    wait_s: float | None = None
    """When it makes sense to try again, seconds from now; becomes `Retry-After`."""


Outcome: TypeAlias = Reply | Failure
Handler: TypeAlias = Callable[[Call], Awaitable[Outcome]]
