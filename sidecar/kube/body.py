"""The body of a review's request, held to the bounds that the injector sets: who, what, how much, how long."""

from __future__ import annotations

import asyncio
import re
from typing import Final

from aiohttp import web

BODY_MAX_BYTES: Final = 3 * 1024 * 1024
"""As much as the API server takes of anybody itself."""
BODY_S: Final = 10.0
"""How long a body may take to arrive, if the caller names no shorter time."""
TIMEOUT: Final = re.compile(r"(?:([0-9]+)m)?(?:([0-9]+(?:\.[0-9]+)?)s)?")
"""As the API server writes it: `5s`, `1m0s`."""


class Refused(Exception):  # noqa: N818 - an answer, and no fault
    """A request that gets as far as a status and one sentence."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


async def read_body(request: web.Request, verify_clients: bool) -> bytes:
    """Raises `Refused`."""
    if verify_clients and not request.get_extra_info("peercert"):
        raise Refused(403, "this injector answers only who shows a certificate that --client-ca vouches for")
    if request.content_type != "application/json":
        raise Refused(415, "expected Content-Type: application/json")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refused(415, "expected a body without Content-Encoding")
    try:
        async with asyncio.timeout(min(BODY_S, timeout_s(request.query.get("timeout", "")))):
            return await request.read()
    except TimeoutError:
        raise Refused(408, "the body did not arrive in time") from None
    except web.HTTPRequestEntityTooLarge:
        raise Refused(413, f"expected a body of at most {BODY_MAX_BYTES} bytes") from None
    except (web.RequestPayloadError, ConnectionError):
        raise Refused(400, "the body ended before its time") from None


def timeout_s(text: str) -> float:
    """What the API server waits for us; infinite if it does not say."""
    match = TIMEOUT.fullmatch(text)
    minutes, seconds = match.groups() if match else (None, None)
    return 60 * float(minutes or 0) + float(seconds or 0) or float("inf")
