"""What the sidecar says when it answers itself: RFC 9457 problem details.

One row a reason. `docs/errors.md` explains each to the application's developer.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Final

import orjson

from sidecar.errors import Reason, Verdict
from sidecar.http1.answer import Answer
from sidecar.http1.message import Body, Headers
from sidecar.rules.proxy_status import failed


@dataclass(frozen=True, slots=True)
class Row:
    status: int
    title: str


ROWS: Final[dict[Reason, Row]] = {
    Reason.BREAKER_OPEN: Row(503, "The provider's circuit breaker is open"),
    Reason.RATE_LIMITED: Row(429, "The policy's rate limit is reached"),
    Reason.CONCURRENCY_LIMITED: Row(429, "The policy's concurrency limit is reached"),
    Reason.POOL_EXHAUSTED: Row(503, "All connections to the provider are busy"),
    Reason.CONNECT_FAILED: Row(502, "The provider could not be connected to"),
    Reason.CONNECT_TIMEOUT: Row(504, "Connecting to the provider took too long"),
    Reason.DNS_FAILED: Row(502, "The provider's name could not be resolved"),
    Reason.TLS_FAILED: Row(502, "No trusted TLS connection to the provider"),
    Reason.PROXY_FAILED: Row(502, "The outgoing proxy made no connection"),
    Reason.PROXY_DENIED: Row(502, "The outgoing proxy refused the connection"),
    Reason.ATTEMPT_TIMEOUT: Row(504, "The provider did not reply in time"),
    Reason.TOTAL_TIMEOUT: Row(504, "The call's deadline passed"),
    Reason.CONNECTION_LOST: Row(502, "The provider closed the connection without a reply"),
    Reason.REPLY_MALFORMED: Row(502, "The provider's reply is not valid HTTP"),
    Reason.REPLY_INCOMPLETE: Row(502, "The provider's reply broke off"),
    Reason.REPLY_TOO_LARGE: Row(502, "The provider's reply head is too large"),
    Reason.NOT_CACHED: Row(504, "Nothing that is kept may be used"),
    Reason.EGRESS_DENIED: Row(403, "No policy allows this host"),
    Reason.MISDIRECTED: Row(421, "The request is for another host than its connection"),
    Reason.PROXY_AUTHENTICATION: Row(407, "The proxy wants its password"),
    Reason.ADDRESS_DENIED: Row(403, "The address may not be called"),
    Reason.UNKNOWN_PROVIDER: Row(404, "No such provider"),
    Reason.BAD_REQUEST: Row(400, "The request is not valid HTTP/1.1"),
    Reason.BODY_TOO_LARGE: Row(413, "The request's body is too large"),
    Reason.HEAD_TOO_LARGE: Row(431, "The request's header fields are too large"),
    Reason.TARGET_TOO_LONG: Row(414, "The request's target is too long"),
    Reason.REQUEST_TIMEOUT: Row(408, "The request came too slowly"),
    Reason.EXPECTATION_FAILED: Row(417, "The request expects what no server offers"),
    Reason.NOT_IMPLEMENTED: Row(501, "Not supported"),
    Reason.TOO_MANY_CONNECTIONS: Row(503, "The sidecar holds too many connections"),
    Reason.LOOP: Row(502, "The call came back to the sidecar that sent it"),
    Reason.STARTING: Row(503, "The sidecar has no policies yet"),
    Reason.DRAINING: Row(503, "The sidecar is stopping"),
    Reason.INTERNAL: Row(500, "The sidecar failed"),
}

NO_SDK_RETRY: Final = [(b"X-Should-Retry", b"false"), (b"Stripe-Should-Retry", b"false")]
"""What the SDKs of OpenAI, Anthropic and Stripe read before they look at the status. Without it an answer that took all
of the sidecar's attempts would be multiplied by theirs."""


@dataclass(slots=True)
class Refusal:
    """All that an answer made here says."""

    reason: Reason
    detail: str
    id: str
    verdict: Verdict = Verdict.LOCAL
    provider: str | None = None
    route: str | None = None
    attempts: int = 0
    wait_s: float | None = None
    next_hop: str | None = None


def problem(refusal: Refusal, sidecar: bytes) -> Answer:
    """The answer to a call that has no reply to pass on; `sidecar` is the value of the `Sidecar` field."""
    row = ROWS[refusal.reason]
    body = orjson.dumps(
        {
            "type": f"urn:sidecar:problem:{refusal.reason}",
            "title": row.title,
            "status": row.status,
            "detail": refusal.detail,
            "provider": refusal.provider,
            "route": refusal.route,
            "reason": refusal.reason,
            "attempts": refusal.attempts,
            "id": refusal.id,
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )
    headers = Headers(((b"Content-Type", b"application/problem+json"), (b"Content-Length", b"%d" % len(body))))
    extra = [(b"Sidecar", sidecar), (b"Proxy-Status", failed(refusal.reason, refusal.detail, refusal.next_hop))]
    if row.status in (429, 503):
        extra.append((b"Retry-After", b"%d" % max(1, ceil(refusal.wait_s or 1.0))))
    if row.status == 407:
        extra.append((b"Proxy-Authenticate", b'Basic realm="sidecar"'))
    extra += NO_SDK_RETRY
    return Answer(row.status, PHRASES[row.status], headers, extra, Body.of(body))


PHRASES: Final = {
    400: b"Bad Request",
    403: b"Forbidden",
    404: b"Not Found",
    407: b"Proxy Authentication Required",
    408: b"Request Timeout",
    413: b"Content Too Large",
    414: b"URI Too Long",
    417: b"Expectation Failed",
    421: b"Misdirected Request",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
}
