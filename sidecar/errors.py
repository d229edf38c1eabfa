"""How things go, in one closed vocabulary: verdicts on attempts, reasons for refusals, exceptions for bad input.

What may live here: words. No behaviour, no I/O. Everything else imports this file; it imports nothing of ours.
"""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """What one attempt's outcome means to every step. Given once, by the classify step."""

    OK = "ok"
    REJECTED = "rejected"
    """Our request is at fault: never retried, never trips."""
    CREDENTIAL = "credential"
    """Our credential is at fault (401, 403): never trips the provider's breaker."""
    THROTTLED = "throttled"
    """The provider asks us to slow down: wait for its hint."""
    EXHAUSTED = "exhausted"
    """A quota or budget is spent: hold until the stated time."""
    TRANSIENT = "transient"
    """The provider stumbled (5xx, reset, timeout): retried if safe, trips."""
    UNREACHABLE = "unreachable"
    """Never sent: always safe to retry, trips."""
    LOCAL = "local"
    """Our own limit or fault: never trips."""


class Reason(StrEnum):
    """Why the sidecar itself answered. Closed: `intercept/problem.py` has a row for each, and so have the docs."""

    BREAKER_OPEN = "breaker-open"
    RATE_LIMITED = "rate-limited"
    CONCURRENCY_LIMITED = "concurrency-limited"
    POOL_EXHAUSTED = "pool-exhausted"
    CONNECT_FAILED = "connect-failed"
    CONNECT_TIMEOUT = "connect-timeout"
    DNS_FAILED = "dns-failed"
    TLS_FAILED = "tls-failed"
    PROXY_FAILED = "proxy-failed"
    PROXY_DENIED = "proxy-denied"
    ATTEMPT_TIMEOUT = "attempt-timeout"
    TOTAL_TIMEOUT = "total-timeout"
    CONNECTION_LOST = "connection-lost"
    REPLY_MALFORMED = "reply-malformed"
    REPLY_INCOMPLETE = "reply-incomplete"
    REPLY_TOO_LARGE = "reply-too-large"
    NOT_CACHED = "not-cached"
    EGRESS_DENIED = "egress-denied"
    MISDIRECTED = "misdirected"
    PROXY_AUTHENTICATION = "proxy-authentication"
    ADDRESS_DENIED = "address-denied"
    UNKNOWN_PROVIDER = "unknown-provider"
    BAD_REQUEST = "bad-request"
    BODY_TOO_LARGE = "body-too-large"
    HEAD_TOO_LARGE = "head-too-large"
    TARGET_TOO_LONG = "target-too-long"
    REQUEST_TIMEOUT = "request-timeout"
    EXPECTATION_FAILED = "expectation-failed"
    NOT_IMPLEMENTED = "not-implemented"
    TOO_MANY_CONNECTIONS = "too-many-connections"
    LOOP = "loop"
    STARTING = "starting"
    DRAINING = "draining"
    INTERNAL = "internal"


class WireError(Exception):
    """A provider's connection failed this exchange. Caught once, by the transport, and made a `Failure`."""

    def __init__(self, reason: Reason, detail: str, *, sent: bool = True) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.sent = sent
        """False when no byte of the request can have reached the provider."""


class ClientError(Exception):
    """The application's side of the exchange failed: it hung up, or its request cannot be understood."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class SettingsError(Exception):
    """A process setting is unusable. The text is one line for the user; the process exits with 2."""
