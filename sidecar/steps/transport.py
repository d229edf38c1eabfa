"""The innermost handler: one attempt on the wire. Where `http1`'s errors become failures with a verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sidecar.call import Call, Failure, Handler, Outcome, Reply
from sidecar.clock import Alarm, Clock
from sidecar.errors import Reason, Verdict, WireError
from sidecar.http1.connection import Exchange
from sidecar.http1.message import Headers
from sidecar.http1.pool import Pool
from sidecar.http1.proxy import Proxy, refuse
from sidecar.rules.safe import Repeat, may_repeat


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """How long an attempt's parts may take, and what names the upstream."""

    authority: str
    """The `Host` to send."""
    connect_s: float = 2.0
    attempt_s: float = 10.0
    idle_s: float = 60.0
    proxy: Proxy | None = None
    """What takes the requests for an `http://` upstream, in absolute form."""


def transport(pool: Pool, settings: TransportSettings, clock: Clock, via: bytes) -> Handler:
    """A handler that sends each call through `pool`. `via` is this daemon's own `Via` entry."""
    host = b"Host: " + settings.authority.encode("ascii")
    proxy = settings.proxy
    first, prefix = (host, b"") if proxy is None else _to_proxy(host, settings.authority, proxy)
    via_line = b"Via: " + via
    connect_s, attempt_s, idle_s = settings.connect_s, settings.attempt_s, settings.idle_s

    async def transport(call: Call) -> Outcome:
        headers, body, upgrade = call.headers, call.body, call.upgrade
        deadline_s = call.attempt_deadline_s = min(call.deadline_s, call.now_s + attempt_s)
        chunked = not body.empty and b"content-length" not in headers
        target = call.target if proxy is None else absolute_form(prefix, call.target)
        lines = [b"%b %b HTTP/1.1" % (call.method.encode(), target), first]
        for name, value in headers.fields:
            lines.append(b"%b: %b" % (name, value))
        for name, value in call.attempt_fields:
            lines.append(b"%b: %b" % (name, value))
        lines.append(via_line)
        if chunked:
            lines.append(b"Transfer-Encoding: chunked")
        if call.expects_continue and call.attempt <= 1:
            lines.append(b"Expect: 100-continue")
        if upgrade is not None:
            lines.append(b"Upgrade: %b\r\nConnection: Upgrade" % upgrade)
        lines.append(END)
        exchange = Exchange(
            b"\r\n".join(lines),
            body,
            chunked,
            credential_key(headers),
            deadline_s,
            connect_s,
            idle_s,
            call.method == "HEAD",
            upgrade is not None,
            may_repeat(Repeat.SAFE, call.method, headers),
            call.on_interim,
        )
        hint = _bound_patience(call, clock) if call.expects_continue else None
        try:
            response, connection = await pool.exchange(exchange)
            if proxy is not None and response.status == 407:
                response.body.discard()
                refuse(proxy, settings.authority, 407)
        except WireError as error:
            return failure(error, call)
        finally:
            if hint is not None:
                hint.cancel()
        reply = Reply(response.status, response.phrase, response.headers, response.body)
        if response.upgrade is not None:
            reply.upgrade = response.upgrade
            if response.status == 101:
                reply.tunnel = connection
        return reply

    return transport


def _to_proxy(host: bytes, authority: str, proxy: Proxy) -> tuple[bytes, bytes]:
    """The lines that every request begins with, and what makes its target absolute."""
    own = b"\r\nProxy-Authorization: " + proxy.authorization if proxy.authorization else b""
    return host + own, b"http://" + authority.encode("ascii")


def absolute_form(prefix: bytes, target: bytes) -> bytes:
    """`*` is told by having no path (RFC 9112 3.2.4)."""
    return prefix if target == b"*" else prefix + target


END: Final = b"\r\n"
"""The last line's own end, and the empty line."""
CONTINUE_AFTER_S: Final = 1.0


def _bound_patience(call: Call, clock: Clock) -> Alarm:
    """Tell the application to send its body if the provider, which was asked, says nothing (RFC 9110 10.1.1)."""

    def go_on() -> None:
        if call.on_interim is not None:
            call.on_interim(100, b"Continue", Headers())

    return clock.at(clock.now() + CONTINUE_AFTER_S, go_on)


def credential_key(headers: Headers) -> int:
    """Tells callers apart so that they share no connection. A hash within this process, never shown or stored."""
    authorization, api_key = headers.get(b"authorization"), headers.get(b"x-api-key")
    if api_key is None:
        return 0 if authorization is None else hash(authorization)
    return hash((authorization, api_key))


LOCAL: Final = frozenset((Reason.ADDRESS_DENIED, Reason.POOL_EXHAUSTED, Reason.PROXY_DENIED))
"""Failures to connect that say nothing about the provider."""


def failure(error: WireError, call: Call) -> Failure:
    """What a failed exchange means to the steps above."""
    reason, detail = error.reason, error.detail
    if reason in LOCAL:
        return Failure(reason, detail, Verdict.LOCAL)
    if reason is Reason.ATTEMPT_TIMEOUT and call.attempt_deadline_s >= call.deadline_s:
        reason, detail = Reason.TOTAL_TIMEOUT, "the provider had not replied when the call's deadline passed"
    return Failure(reason, detail, Verdict.TRANSIENT if error.sent else Verdict.UNREACHABLE)
