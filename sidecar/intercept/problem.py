"""What the sidecar says when it answers itself: RFC 9457 problem details, RFC 9209 `Proxy-Status`.

One row a reason. `docs/errors.md` explains each to the application's developer.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import orjson

from sidecar.errors import Reason, Verdict
from sidecar.http1.message import Body, Headers
from sidecar.http1.server import Answer


@dataclass(frozen=True, slots=True)
class Row:
    status: int
    title: str
    proxy_error: str
    """The error type of RFC 9209 2.3."""


ROWS: dict[Reason, Row] = {
    Reason.BREAKER_OPEN: Row(503, "The provider's circuit breaker is open", "destination_unavailable"),
    Reason.RATE_LIMITED: Row(429, "The policy's rate limit is reached", "http_request_error"),
    Reason.CONCURRENCY_LIMITED: Row(429, "The policy's concurrency limit is reached", "http_request_error"),
    Reason.POOL_EXHAUSTED: Row(503, "All connections to the provider are busy", "connection_limit_reached"),
    Reason.CONNECT_FAILED: Row(502, "The provider could not be connected to", "connection_refused"),
    Reason.CONNECT_TIMEOUT: Row(504, "Connecting to the provider took too long", "connection_timeout"),
    Reason.DNS_FAILED: Row(502, "The provider's name could not be resolved", "dns_error"),
    Reason.TLS_FAILED: Row(502, "No trusted TLS connection to the provider", "tls_certificate_error"),
    Reason.ATTEMPT_TIMEOUT: Row(504, "The provider did not reply in time", "http_response_timeout"),
    Reason.TOTAL_TIMEOUT: Row(504, "The call's deadline passed", "http_response_timeout"),
    Reason.CONNECTION_LOST: Row(502, "The provider closed the connection without a reply", "connection_terminated"),
    Reason.REPLY_MALFORMED: Row(502, "The provider's reply is not valid HTTP", "http_protocol_error"),
    Reason.REPLY_INCOMPLETE: Row(502, "The provider's reply broke off", "http_response_incomplete"),
    Reason.REPLY_TOO_LARGE: Row(502, "The provider's reply head is too large", "http_response_header_section_size"),
    Reason.EGRESS_DENIED: Row(403, "No policy allows this host", "http_request_denied"),
    Reason.ADDRESS_DENIED: Row(403, "The address may not be called", "destination_ip_prohibited"),
    Reason.UNKNOWN_PROVIDER: Row(404, "No such provider", "destination_not_found"),
    Reason.BAD_REQUEST: Row(400, "The request is not valid HTTP/1.1", "http_request_error"),
    Reason.BODY_TOO_LARGE: Row(413, "The request's body is too large", "http_request_error"),
    Reason.HEAD_TOO_LARGE: Row(431, "The request's header fields are too large", "http_request_error"),
    Reason.TARGET_TOO_LONG: Row(414, "The request's target is too long", "http_request_error"),
    Reason.REQUEST_TIMEOUT: Row(408, "The request came too slowly", "http_request_error"),
    Reason.EXPECTATION_FAILED: Row(417, "The request expects what no server offers", "http_request_error"),
    Reason.NOT_IMPLEMENTED: Row(501, "Not supported", "http_request_error"),
    Reason.TOO_MANY_CONNECTIONS: Row(503, "The sidecar holds too many connections", "connection_limit_reached"),
    Reason.LOOP: Row(502, "The call came back to the sidecar that sent it", "proxy_loop_detected"),
    Reason.DRAINING: Row(503, "The sidecar is stopping", "proxy_internal_response"),
    Reason.INTERNAL: Row(500, "The sidecar failed", "proxy_internal_error"),
}

NO_SDK_RETRY = [(b"X-Should-Retry", b"false"), (b"Stripe-Should-Retry", b"false")]
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
    extra = [(b"Sidecar", sidecar), (b"Proxy-Status", _proxy_status(refusal, row))]
    if row.status in (429, 503):
        extra.append((b"Retry-After", b"%d" % max(1, ceil(refusal.wait_s or 1.0))))
    extra += NO_SDK_RETRY
    return Answer(row.status, PHRASES[row.status], headers, extra, Body.of(body))


def _proxy_status(refusal: Refusal, row: Row) -> bytes:
    parts = [f"sidecar; error={row.proxy_error}"]
    if refusal.next_hop is not None:
        parts.append(f"next-hop={_quoted(refusal.next_hop)}")
    parts.append(f"details={_quoted(refusal.detail)}")
    return "; ".join(parts).encode("ascii")


def _quoted(text: str) -> str:
    """A structured field string (RFC 9651 3.3.3): printable ASCII, quotes and backslashes escaped."""
    plain = "".join(char if " " <= char <= "~" else "?" for char in text)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'


PHRASES = {
    400: b"Bad Request",
    403: b"Forbidden",
    404: b"Not Found",
    408: b"Request Timeout",
    413: b"Content Too Large",
    414: b"URI Too Long",
    417: b"Expectation Failed",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
}
