"""Which calls may be sent twice, and which have been already, by the application's own SDK."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

from sidecar.http1.message import Headers

IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""RFC 9110 9.2.2: sent twice, the effect is that of once."""
IDEMPOTENCY_KEY: Final = b"idempotency-key"

_COUNTED: Final = re.compile(rb"\s*0*[1-9]\d*\s*")
_SDK_COUNTS: Final[tuple[bytes, ...]] = (
    b"x-stainless-retry-count",
    b"x-retry-count",
    b"retry-attempt",
    b"x-slack-retry-num",
)
"""0 or absent on the first attempt."""
_AWS_ATTEMPT: Final = re.compile(rb"(?:^|[;\s])attempt=0*(?:[2-9]|[1-9]\d+)(?=$|[;\s])")


class Repeat(StrEnum):
    """Which calls a policy lets the sidecar repeat after they may have reached the provider."""

    SAFE = "safe"
    """Idempotent methods, and any call that carries an idempotency key."""
    ALL = "all"


def may_repeat(methods: Repeat | frozenset[str], method: str, headers: Headers) -> bool:
    """Whether a call may be sent again though the provider may have acted on it. A set is of methods, in capitals."""
    if methods is Repeat.SAFE:
        return method in IDEMPOTENT or IDEMPOTENCY_KEY in headers
    return methods is Repeat.ALL or method in methods


def is_sdk_retry(headers: Headers) -> bool:
    """Whether the application's SDK says that it has sent this call before."""
    for name in _SDK_COUNTS:
        value = headers.get(name)
        if value is not None and _COUNTED.fullmatch(value):
            return True
    value = headers.get(b"amz-sdk-request")
    return value is not None and _AWS_ATTEMPT.search(value) is not None
