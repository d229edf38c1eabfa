"""The words a pipeline speaks: a call goes in, a reply or a failure comes out.

What may live here: the data that steps pass to each other. No decisions, no sockets. A constructor is written out where
every call makes one of these, since a dataclass's own stays interpreted in a compiled build.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING, TypeAlias, final

from sidecar.errors import Reason, Verdict
from sidecar.http1.message import Body, Headers, ReplayBody

if TYPE_CHECKING:
    from sidecar.http1.message import Tunnel


class Mode(StrEnum):
    """How a call got in (`sidecar.mode` in telemetry)."""

    REVERSE = "reverse"
    HOST = "host"
    FORWARD = "forward"
    CONNECT = "connect"
    TRANSPARENT = "transparent"


@final
class Trace:
    """The trace that a call belongs to (W3C Trace Context). Ids are lower-case hex."""

    __slots__ = ("parent_id", "sampled", "state", "trace_id")

    def __init__(self, trace_id: str, parent_id: str | None, sampled: bool, state: str = "") -> None:
        self.trace_id = trace_id
        self.parent_id = parent_id
        """The application's span, if it sent one."""
        self.sampled = sampled
        self.state = state
        """`tracestate` as it goes on, at most 512 characters; empty when there is none."""


@final
@dataclass(slots=True)
class Served:
    """That a reply is not the provider's fresh word, and what it is instead."""

    source: str
    """`cache`, `stale` or `fallback`."""
    age_s: float | None = None
    """How old it is, seconds; None if nobody can say."""
    reason: str = ""
    """Why nothing fresher was to be had: a `Reason`, `status-503` for a reply of the provider's; empty if fresh."""


@final
class Call:
    """One call of the application on its way to a provider. Owned by one task; steps may alter it."""

    __slots__ = (
        "attempt",
        "attempt_deadline_s",
        "attempt_fields",
        "base",
        "body",
        "deadline_s",
        "decisions",
        "expects_continue",
        "final",
        "headers",
        "id",
        "method",
        "mode",
        "now_s",
        "on_interim",
        "provider",
        "route",
        "standby",
        "started_s",
        "target",
        "trace",
        "upgrade",
        "waited_s",
    )

    def __init__(  # noqa: PLR0917
        self,
        id: str,  # noqa: A002 - the word of the `Sidecar` field
        mode: Mode,
        method: str,
        target: bytes,
        headers: Headers,
        body: ReplayBody,
        provider: str,
        route: str,
        started_s: float,
        deadline_s: float = inf,
        attempt: int = 0,
        attempt_deadline_s: float = inf,
        attempt_fields: list[tuple[bytes, bytes]] | None = None,
        expects_continue: bool = False,
        upgrade: bytes | None = None,
        trace: Trace | None = None,
        waited_s: float = 0.0,
        final: bool = False,
        standby: bool = False,
        decisions: list[tuple[str, str, float]] | None = None,
        on_interim: Callable[[int, bytes, Headers], None] | None = None,
        base: bytes | None = None,
    ) -> None:
        self.id = id
        """16 hex digits: the call span's id, and the `id` of the `Sidecar` header, problem bodies and log lines."""
        self.mode = mode
        self.method = method
        self.target = target
        """Origin form as it goes to the provider, query included."""
        self.headers = headers
        """End-to-end fields; `traceparent` and `tracestate` are taken out by the trace step."""
        self.body = body
        self.provider = provider
        self.route = route
        """The route's name, or `-` when none matched."""
        self.started_s = started_s
        """When the head was complete, on the monotonic clock."""
        self.now_s = started_s
        """When the present attempt began to be made, on the monotonic clock: the time for what is done at once and in
        passing. Whoever has waited before handing the call on reads the clock anew."""
        self.deadline_s = deadline_s
        """When the application must have its answer, on the monotonic clock."""
        self.attempt = attempt
        """Attempts begun, so 1 during the first."""
        self.attempt_deadline_s = attempt_deadline_s
        self.attempt_fields = [] if attempt_fields is None else attempt_fields
        """Fields that go upstream with this attempt only, in place of nothing: `traceparent`, credentials, versions."""
        self.expects_continue = expects_continue
        """The application waits for a 100 before it sends its body."""
        self.upgrade = upgrade
        """The protocol that the application asks to change to."""
        self.trace = trace
        self.waited_s = waited_s
        """Time spent waiting on purpose: backoff and limiter."""
        self.final = final
        """True when the sidecar has done what it can, so that the application's own retry would only add load."""
        self.standby = standby
        """A kept reply can stand in if this fails, so another attempt is not worth waiting for."""
        self.decisions = decisions
        """What steps decided beyond letting the call pass: (step, decision, monotonic seconds)."""
        self.on_interim = on_interim
        """Where a 1xx reply goes (status, phrase, fields); None when the client cannot take any (HTTP/1.0)."""
        self.base = base
        """The provider's base URL as the client used it, such as `http://127.0.0.1:7600/stripe`; None in other modes
        than reverse, and where the client named no host."""

    def note(self, step: str, decision: str, now_s: float) -> None:
        """Record a decision for `/calls` and the span. Never put a secret, a body or a query value in it."""
        if self.decisions is None:
            self.decisions = []
        self.decisions.append((step, decision, now_s))


@final
class Reply:
    """A provider's answer. The body may still be arriving; whoever drops a reply calls `body.discard()`."""

    __slots__ = ("body", "extra", "headers", "phrase", "served", "status", "tunnel", "upgrade", "verdict", "wait_s")

    def __init__(  # noqa: PLR0917
        self,
        status: int,
        phrase: bytes,
        headers: Headers,
        body: Body,
        verdict: Verdict = Verdict.OK,
        wait_s: float | None = None,
        tunnel: Tunnel | None = None,
        upgrade: bytes | None = None,
        served: Served | None = None,
        extra: list[tuple[bytes, bytes]] | None = None,
    ) -> None:
        self.status = status
        self.phrase = phrase
        self.headers = headers
        self.body = body
        self.verdict = verdict
        self.wait_s = wait_s
        """How long the provider asked us to stay away, seconds; None when it did not say."""
        self.tunnel = tunnel
        """The way up after a 101; the way down is `body`."""
        self.upgrade = upgrade
        """The protocol that the provider changed to, or, with a 426, insists on."""
        self.served = served
        """None for what the provider just said."""
        self.extra = extra
        """Fields of the sidecar's own that go with it: `Age`, `Cache-Status`, `Proxy-Status`."""


@final
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
