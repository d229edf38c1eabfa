"""A call as it was written on a command line, read by the listener's own parser, which refuses what it would refuse."""

from __future__ import annotations

from collections.abc import Sequence
from string import printable
from urllib.parse import quote, urlsplit

import click

from sidecar import __version__
from sidecar.errors import ClientError
from sidecar.http1.limits import HeadLimits
from sidecar.http1.reading import CONNECTION_FIELDS, NOBODY
from sidecar.http1.request import Request, RequestReader
from sidecar.rules.egress import is_own_address

FRAMING = CONNECTION_FIELDS | {b"content-length", b"trailer"}
"""Fields that follow from the URL and the data, and so cannot be given."""
PLAIN = printable[: printable.index(" ")]
"""What goes into a request target as it is; everything else is percent-encoded."""


def read_request(method: str, url: str, lines: Sequence[str], data: bytes | None, limits: HeadLimits) -> Request:
    """The request that the listener would have read. Raises `click.UsageError`."""
    target, host = _target(url)
    fields = _fields(lines, data)
    head = [b"%b %b HTTP/1.1" % (_ascii(method, "METHOD"), target), b"Host: " + host, *fields, b"", b""]
    found: list[Request] = []
    reader = RequestReader(NOBODY, limits, None, found.append)
    try:
        reader.feed(b"\r\n".join(head) + (data or b""))
    except ClientError as error:
        raise click.UsageError(f"This cannot be sent: {error.detail}.") from None
    if not found:
        raise click.UsageError("This cannot be sent: it is not one request.")
    return found[0]


def _target(url: str) -> tuple[bytes, bytes]:
    """Request target and `Host`: absolute form for a provider's own URL, origin form for the listener's and for
    `provider/path`."""
    if "://" not in url:
        return _quoted("/" + url.lstrip("/")), b""
    try:
        parts = urlsplit(url)
        authority = parts.netloc.encode("ascii" if parts.netloc.isascii() else "idna")
        own = is_own_address(parts.hostname or "")
    except ValueError:
        raise click.BadParameter("this is no URL.", param_hint="URL") from None
    if parts.scheme not in ("http", "https") or not authority:
        raise click.BadParameter("expected http://…, https://… or provider/path.", param_hint="URL")
    target = _quoted((parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
    if own:
        return target, authority
    return b"%b://%b%b" % (parts.scheme.encode(), authority, target), authority


def _quoted(target: str) -> bytes:
    return quote(target.partition("#")[0], safe=PLAIN).encode("ascii")


def _fields(lines: Sequence[str], data: bytes | None) -> list[bytes]:
    """Field lines, those of every call included unless they are given; `Name:` leaves one out."""
    given = [_field(line) for line in lines]
    usual = [(b"User-Agent", b"sidecar/" + __version__.encode()), (b"Accept", b"*/*")]
    if data is not None:
        usual.append((b"Content-Type", b"application/x-www-form-urlencoded"))
    names = {name.lower() for name, _ in given}
    fields = [field for field in usual if field[0].lower() not in names] + [field for field in given if field[1]]
    if data is not None:
        fields.append((b"Content-Length", b"%d" % len(data)))
    return [b"%b: %b" % field for field in fields]


def _field(line: str) -> tuple[bytes, bytes]:
    name, colon, value = line.partition(":")
    # The value may be a secret, so no message repeats it.
    if not colon or not name.strip():
        raise click.BadParameter("expected 'Name: value'.", param_hint="-H")
    key = _ascii(name, "-H")
    if key.lower() in FRAMING:
        raise click.BadParameter(f"{name} follows from the URL and the data.", param_hint="-H")
    if any(char in value for char in "\r\n\0"):
        raise click.BadParameter(f"the value of {name} has a line end in it.", param_hint="-H")
    return key, value.strip(" \t").encode("utf-8", "surrogateescape")


def _ascii(text: str, hint: str) -> bytes:
    if not text.isascii() or not text.isprintable() or " " in text:
        raise click.BadParameter("expected ASCII characters without spaces.", param_hint=hint)
    return text.encode("ascii")
