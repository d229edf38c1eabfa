"""Replies made of what is kept."""

from __future__ import annotations

from sidecar.call import Call, Reply, Served
from sidecar.errors import Verdict
from sidecar.http1.message import COMPLETE, Body, Headers
from sidecar.rules.cache.entry import Entry
from sidecar.rules.cache.validation import is_conditional, is_not_modified, not_modified_fields


def wants_no_body(call: Call, entry: Entry) -> bool:
    """The application has this very reply already, and said so (RFC 9111 4.3.2)."""
    return is_conditional(call.headers) and is_not_modified(entry, call.headers)


def kept_reply(  # noqa: PLR0917
    call: Call,
    entry: Entry,
    age_s: float,
    status: bytes,
    served: Served | None,
    unchanged: bool,
    body: Body | None = None,
) -> Reply:
    """What is kept as the application gets it. `status` is the `Cache-Status`, `unchanged` makes it a 304, `body` is
    for an entry whose own is still arriving."""
    extra = [(b"Age", b"%d" % int(age_s)), (b"Cache-Status", status)]
    if unchanged:
        fields = Headers(not_modified_fields(entry))
        return Reply(304, b"Not Modified", fields, COMPLETE, Verdict.OK, None, None, None, served, extra)
    if body is None:
        body = Body.of(entry.body) if entry.body_bytes and call.method != "HEAD" else COMPLETE
    headers = entry.headers
    if headers is None:
        headers = _headers(entry)
        if served is not None:
            # One that comes from the store, which knows what it weighs now; another call's has never been read there.
            entry.headers = headers
    verdict = Verdict.OK if entry.status < 400 else _verdict(entry.status)
    return Reply(entry.status, entry.phrase, headers, body, verdict, None, None, None, served, extra)


def _verdict(status: int) -> Verdict:
    """A failure that is kept, because it says for how long, is still one: a fallback may be better."""
    return Verdict.TRANSIENT if status >= 500 else Verdict.REJECTED


def _headers(entry: Entry) -> Headers:
    """With the length, which a reply that came in chunks did not say."""
    headers = Headers(entry.fields)
    headers.packed = entry.packed
    if b"content-length" not in headers and entry.body_bytes:
        headers.add(b"Content-Length", b"%d" % entry.body_bytes)
    return headers


def add_status(reply: Reply, status: bytes) -> None:
    """Say in `Cache-Status` what the cache made of a reply of the provider's."""
    if reply.status >= 200:
        if reply.extra is None:
            reply.extra = []
        reply.extra.append((b"Cache-Status", status))
