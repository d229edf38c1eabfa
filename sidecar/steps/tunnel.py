"""The innermost handler of what is not opened: it connects, and leaves the bytes alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from sidecar.call import Call, Failure, Handler, Outcome, Reply
from sidecar.clock import Clock
from sidecar.errors import Reason, Verdict, WireError
from sidecar.http1.message import Headers
from sidecar.http1.raw import RawConnection

Dial: TypeAlias = Callable[[], Awaitable[RawConnection]]
"""Connects to where the tunnel leads. Raises WireError."""
LOCAL: Final = frozenset((Reason.ADDRESS_DENIED, Reason.LOOP, Reason.PROXY_DENIED))
"""Failures to connect that say nothing about the provider."""


def tunnel(dial: Dial, connect_s: float, clock: Clock) -> Handler:
    """A handler whose reply is the connection: a 200 with a way up (`tunnel`) and a way down (`body`)."""

    async def tunnel(call: Call) -> Outcome:
        within_s = max(0.0, min(connect_s, call.deadline_s - clock.now()))
        # A task of its own, since a time-out asks for one.
        dialling = asyncio.get_running_loop().create_task(_in_time(dial, within_s))
        try:
            connection = await dialling
        except WireError as error:
            return Failure(error.reason, error.detail, Verdict.LOCAL if error.reason in LOCAL else Verdict.UNREACHABLE)
        return Reply(200, b"Connection established", Headers(), connection.body, tunnel=connection)

    return tunnel


async def _in_time(dial: Dial, within_s: float) -> RawConnection:
    try:
        async with asyncio.timeout(within_s):
            return await dial()
    except TimeoutError:
        raise WireError(Reason.CONNECT_TIMEOUT, f"no connection within {within_s:g} s", sent=False) from None
