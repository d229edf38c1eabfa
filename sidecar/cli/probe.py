"""`sidecar probe`: what a container's exec probe runs, and a postStart hook that holds the application back.

It is a process each time, on the CPU of the pod: hence a bare socket, and nothing imported that could be left out.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Iterator
from typing import Any, Final

import click

from sidecar.address import Address
from sidecar.cli.options import admin_option, read
from sidecar.policy.units import parse_duration

TRY_S: Final = 0.8
"""Less than the second that kubelet gives a probe by default, so that the reason is told before it is killed."""
PAUSE_S: Final = 0.1
LARGEST_BYTES: Final = 64 * 1024
PATHS: Final = {"startup": "/startupz?verbose", "ready": "/readyz?verbose", "live": "/livez"}
YES: Final = {"startup": "started", "ready": "ready", "live": "alive"}


class No(Exception):  # noqa: N818 - an answer, as YES is
    """Why not."""


@click.command(short_help="Ask a running daemon whether it has started, is ready, or is alive.")
@click.argument("question", type=click.Choice(list(PATHS)))
@admin_option
@click.option(
    "--wait",
    "wait_s",
    callback=read(parse_duration),
    metavar="DURATION",
    default="0s",
    help="Ask again for so long.  [0s]",
)
def probe(*, question: str, admin: Address, wait_s: float) -> None:
    """Ask a running daemon whether it has started, is ready, or is alive.

    Exits with 0 if so; with 1 and one line that says why not; with 2 when a setting is not fit.
    """
    if not admin.port:
        raise click.UsageError("--admin / SIDECAR_ADMIN: port 0 is any free one, so there is no telling which to ask.")
    deadline_s = time.monotonic() + wait_s
    while True:
        try:
            _ask(admin, PATHS[question])
        except No as no:
            if time.monotonic() + PAUSE_S > deadline_s:
                raise click.ClickException(f"not {YES[question]}: {no}") from None
            select.select((), (), (), PAUSE_S)
        else:
            click.echo(YES[question])
            return


def _ask(admin: Address, path: str) -> None:
    """Raises `No`."""
    try:
        reply = _exchange(admin, path)
    except TimeoutError:
        raise No(f"{admin} does not answer within {TRY_S:g}s") from None
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
        raise No(f"no daemon answers at {admin} ({reason.lower()})") from None
    head, _, body = reply.partition(b"\r\n\r\n")
    version, _, status = head.partition(b"\r\n")[0].partition(b" ")
    if not version.startswith(b"HTTP/1.") or status[:3] not in (b"200", b"503"):
        raise No(f"what answers at {admin} is no sidecar's admin listener: see --admin, SIDECAR_ADMIN")
    if status[:3] == b"503":
        raise No("; ".join(_reasons(body)) or "it is still starting")


def _exchange(admin: Address, path: str) -> bytes:
    """One request, and all that comes until the end. HTTP/1.0, so that the end is the connection's."""
    deadline_s = time.monotonic() + TRY_S
    request = f"GET {path} HTTP/1.0\r\nHost: {Address(admin.near, admin.port)}\r\nAccept: application/json\r\n\r\n"
    with socket.create_connection((admin.near, admin.port), TRY_S) as connection:
        connection.sendall(request.encode())
        reply = bytearray()
        while len(reply) < LARGEST_BYTES:
            connection.settimeout(max(0.001, deadline_s - time.monotonic()))
            piece = connection.recv(LARGEST_BYTES)
            if not piece:
                break
            reply += piece
        return bytes(reply)


def _reasons(body: bytes) -> Iterator[str]:
    """What does not hold, of a verbose answer."""
    import json

    try:
        checks: Any = json.loads(body)["checks"]
        for check in checks:
            if not check["ok"]:
                yield f"{check['name']}: {' '.join(str(check['detail']).split())}"
    except (ValueError, TypeError, KeyError):
        yield "it does not say why"
