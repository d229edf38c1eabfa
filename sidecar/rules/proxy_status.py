"""`Proxy-Status`: why the sidecar made a response itself (RFC 9209).

What may live here: the error type of each reason, and the field's text.
"""

from __future__ import annotations

from typing import Final

from sidecar.errors import Reason

ERRORS: Final[dict[Reason, str]] = {
    Reason.BREAKER_OPEN: "destination_unavailable",
    Reason.RATE_LIMITED: "http_request_error",
    Reason.CONCURRENCY_LIMITED: "http_request_error",
    Reason.POOL_EXHAUSTED: "connection_limit_reached",
    Reason.CONNECT_FAILED: "connection_refused",
    Reason.CONNECT_TIMEOUT: "connection_timeout",
    Reason.DNS_FAILED: "dns_error",
    Reason.TLS_FAILED: "tls_certificate_error",
    Reason.PROXY_FAILED: "destination_unavailable",
    Reason.PROXY_DENIED: "http_request_denied",
    Reason.ATTEMPT_TIMEOUT: "http_response_timeout",
    Reason.TOTAL_TIMEOUT: "http_response_timeout",
    Reason.CONNECTION_LOST: "connection_terminated",
    Reason.REPLY_MALFORMED: "http_protocol_error",
    Reason.REPLY_INCOMPLETE: "http_response_incomplete",
    Reason.REPLY_TOO_LARGE: "http_response_header_section_size",
    Reason.NOT_CACHED: "proxy_internal_response",
    Reason.MISDIRECTED: "http_request_error",
    Reason.PROXY_AUTHENTICATION: "http_request_denied",
    Reason.EGRESS_DENIED: "http_request_denied",
    Reason.ADDRESS_DENIED: "destination_ip_prohibited",
    Reason.UNKNOWN_PROVIDER: "destination_not_found",
    Reason.BAD_REQUEST: "http_request_error",
    Reason.BODY_TOO_LARGE: "http_request_error",
    Reason.HEAD_TOO_LARGE: "http_request_error",
    Reason.TARGET_TOO_LONG: "http_request_error",
    Reason.REQUEST_TIMEOUT: "http_request_error",
    Reason.EXPECTATION_FAILED: "http_request_error",
    Reason.NOT_IMPLEMENTED: "http_request_error",
    Reason.TOO_MANY_CONNECTIONS: "connection_limit_reached",
    Reason.LOOP: "proxy_loop_detected",
    Reason.STARTING: "proxy_internal_response",
    Reason.DRAINING: "proxy_internal_response",
    Reason.INTERNAL: "proxy_internal_error",
}
"""Error types (RFC 9209 2.3)."""


def failed(reason: Reason, detail: str, next_hop: str | None = None) -> bytes:
    """For what went wrong before there was a reply."""
    return _field(f"error={ERRORS[reason]}", next_hop, f"; details={_quoted(detail)}")


def received(status: int, next_hop: str | None = None) -> bytes:
    """For a reply of the provider's that is not passed on (2.1.4)."""
    return _field(f"received-status={status}", next_hop)


def _field(first: str, next_hop: str | None, rest: str = "") -> bytes:
    hop = "" if next_hop is None else f"; next-hop={_quoted(next_hop)}"
    return f"sidecar; {first}{hop}{rest}".encode("ascii")


def _quoted(text: str) -> str:
    """A structured field string (RFC 9651 3.3.3): printable ASCII, quotes and backslashes escaped."""
    plain = "".join(char if " " <= char <= "~" else "?" for char in text)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
