"""`sidecar call`: one call through the daemon's own parts, without its listeners, and what each step decided."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sidecar.cli.outcome import Answered
    from sidecar.daemon import Daemon
    from sidecar.http1.entry import Entry
    from sidecar.http1.message import Headers
    from sidecar.http1.request import Request
    from sidecar.settings import Settings


@click.command(short_help="Make one call, and show what each step decided.")
@click.argument("method", metavar="METHOD")
@click.argument("url", metavar="URL")
@click.option("-H", "--header", "lines", multiple=True, metavar="'NAME: VALUE'", help="A field to send; repeatable.")
@click.option("-d", "--data", metavar="DATA|@FILE|@-", help="The body: this text, a file's bytes, or stdin's.")
@click.option("-i", "--include", is_flag=True, help="Status line and fields before the body.")
@click.option("-o", "--output", metavar="FILE", type=click.Path(dir_okay=False), help="Where the body goes.")
@click.option(
    "--policies",
    "paths",
    multiple=True,
    metavar="PATH",
    help="A policy file, or a directory of them; repeatable.  [SIDECAR_POLICIES; default: the shipped packs]",
)
@click.option("--json", "as_json", is_flag=True, help="Reply and decisions as one JSON document.")
@click.option("--trace", "ids", is_flag=True, help="Show the ids of the call and of its trace.")
def call(
    *,
    method: str,
    url: str,
    lines: tuple[str, ...],
    data: str | None,
    include: bool,
    output: str | None,
    paths: tuple[str, ...],
    as_json: bool,
    ids: bool,
) -> int:
    """Make one call as the daemon would, without a daemon: the reply on stdout, what each step decided on stderr.

    URL is the provider's own (https://api.stripe.com/v1/charges) or provider/path (stripe/v1/charges). Each run begins
    with closed breakers, full buckets and an empty cache. Exits with 0 for a reply below 400, 22 for one of 400 or
    more, 1 when there was no whole reply to pass on, 2 when the call could not be made as written, 130 after Ctrl-C.
    """
    from sidecar.cli.request import read_request
    from sidecar.serving.terms import server_limits
    from sidecar.settings import read_settings

    # Nothing is kept, so that a call leaves no trace in the state of a daemon that runs here.
    settings = replace(read_settings({"policies": paths}, os.environ), cache_disk_bytes=None, redis=None)
    request = read_request(method.upper(), url, lines, _body(data), server_limits(settings).head)
    kept: list[bytes] | None = [] if as_json and output is None else None
    with _sink(output) as write, TemporaryDirectory(prefix="sidecar-call-") as state:
        take = write if kept is None else kept.append
        answered = _run(replace(settings, state=Path(state)), request, take, include and not as_json)
    if as_json:
        click.echo(answered.json(None if kept is None else b"".join(kept)))
    else:
        # On a terminal, a body without a line end would run into what is said about it.
        click.echo("\n" * (answered.ends_within_a_line and sys.stdout.isatty() and output is None), nl=False, err=True)
        click.echo(answered.text(ids=ids), err=True)
    if answered.failure:
        raise click.ClickException(answered.failure)
    return answered.exit_code


def _body(data: str | None) -> bytes | None:
    if data is None or not data.startswith("@"):
        return None if data is None else data.encode("utf-8", "surrogateescape")
    if data == "@-":
        return sys.stdin.buffer.read()
    try:
        return Path(data[1:]).read_bytes()
    except OSError as error:
        raise click.BadParameter(f"{data[1:]} cannot be read ({error.strerror}).", param_hint="-d") from None


@contextmanager
def _sink(output: str | None) -> Iterator[Callable[[bytes], object]]:
    """Where the body's bytes go as they come. Opened before the call, which may not be repeatable."""
    if output is None:
        out = sys.stdout.buffer

        def write(piece: bytes) -> None:
            out.write(piece)
            out.flush()

        yield write
        return
    try:
        file = open(output, "wb")  # noqa: SIM115 - an error of its own, apart from those within
    except OSError as error:
        raise click.BadParameter(f"{output} cannot be written ({error.strerror}).", param_hint="-o") from None
    with file:
        yield file.write


def _run(settings: Settings, request: Request, write: Callable[[bytes], object], include: bool) -> Answered:
    import asyncio

    import uvloop

    from sidecar import __version__, daemon
    from sidecar.errors import SettingsError
    from sidecar.policy.files import shipped_policies
    from sidecar.serving.ground import check_paths
    from sidecar.serving.reload import UnfitPolicies
    from sidecar.telemetry.logs import start_logging, stop_logging
    from sidecar.telemetry.settings import read_settings as read_telemetry_settings

    telemetry_settings = read_telemetry_settings(os.environ, version=__version__)
    paths = settings.policies or (shipped_policies(),)
    check_paths(paths)
    # What goes wrong with the call is told at its end; only faults of ours are logged.
    writer = start_logging(sys.stderr, json=False, level=logging.ERROR)

    async def ask() -> Answered:
        one = daemon.Daemon(settings, telemetry_settings, paths, writer)
        one.policies.load()
        one.telemetry.start()
        try:
            return await _ask(one, request, write, include)
        finally:
            await one.caching.close()
            await one.telemetry.shutdown(daemon.FLUSH_S)
            one.upstreams.close()

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(ask())
    except UnfitPolicies as unfit:
        for problem in unfit.problems:
            click.echo(problem.text(), err=True)
        raise SettingsError("the policies are not fit, so nothing was called") from None
    finally:
        stop_logging(writer)


async def _ask(daemon: Daemon, request: Request, write: Callable[[bytes], object], include: bool) -> Answered:
    from sidecar.cli.outcome import Answered
    from sidecar.errors import WireError

    answer = await daemon.router.handle(_Nobody(), request)
    answered = Answered(answer)
    if include:
        write(answered.head())
    try:
        while piece := await answer.body.read():
            answered.took(piece)
            write(piece)
    except WireError as lost:
        answered.failure = f"{lost.reason}: {lost.detail}"
    except BaseException:
        answer.body.discard()
        raise
    answered.complete(daemon)
    return answered


class _Nobody:
    """Whoever made the call, to whom interim replies mean nothing."""

    entry: Entry | None = None

    def interim(self, status: int, phrase: bytes, headers: Headers) -> None: ...
