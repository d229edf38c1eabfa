"""`sidecar doctor`: runs a command under the variables of `sidecar env`, and tells which of its calls went through."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import Any, Final

import click

from sidecar.address import Address, parse_address
from sidecar.cli.admin import ask
from sidecar.cli.diagnosis import Diagnosis, Seen, diagnose
from sidecar.cli.env import own_userinfo, variables_of, way_options
from sidecar.cli.options import admin_option, read
from sidecar.cli.processes import Processes, closed
from sidecar.cli.report import lines
from sidecar.exports import BUNDLE

TICK_S: Final = 0.01
"""Between two looks at the command's connections; five times as long as a look takes, where that is more."""
NAMES_S: Final = 2.0
"""How long the addresses of the providers' hosts may take to find."""
CANNOT_RUN: Final = 126
NOT_FOUND: Final = 127

Calls = dict[str, Mapping[str, Any]]


@click.command(
    short_help="Run a command, and tell which of its calls went through.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@way_options
@admin_option
@click.option(
    "--redirected",
    callback=read(parse_address),
    metavar="HOST:PORT",
    envvar="SIDECAR_TRANSPARENT",
    default="0.0.0.0:7603",
    help="Where redirected connections go.  [SIDECAR_TRANSPARENT; default: 0.0.0.0:7603]",
)
@click.option(
    "-o", "--output", metavar="FILE", type=click.Path(dir_okay=False), help="Where the report goes, not stderr."
)
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
def doctor(
    *,
    command: tuple[str, ...],
    listen: Address,
    ca_dir: Path | None,
    no_proxy: tuple[str, ...],
    transparent: bool,
    trust_store: Path | None,
    admin: Address,
    redirected: Address,
    output: str | None,
    as_json: bool,
) -> int:
    """Run COMMAND under the variables of `sidecar env`, and tell which of its calls went through the running daemon and
    which got around it.

    The command keeps its terminal and its exit code; the report goes to stderr.
    """
    calls, unknown, gone = _calls(admin), _unknown(admin), closed()
    if ca_dir is not None and not (ca_dir / BUNDLE).is_file():
        _say(
            f"{ca_dir / BUNDLE} is not there, so certificates are left out: does --ca-dir say where the daemon put it?"
        )
        ca_dir = None
    variables = variables_of(None if transparent else listen, ca_dir, no_proxy, trust_store, own_userinfo())
    began_s = time.monotonic()
    exit_code, processes = _run(command, os.environ | variables)
    duration_s = time.monotonic() - began_s
    hosts = {row["provider"]: row["hosts"] for row in ask(admin, "/catalog")["providers"]}
    seen = Seen(
        exit_code,
        duration_s,
        [call for id_, call in _calls(admin).items() if id_ not in calls],
        [
            row | {"calls": row["calls"] - unknown.get(key, {"calls": 0})["calls"]}
            for key, row in _unknown(admin).items()
        ],
        hosts,
        processes.programs,
        processes.connections,
        frozenset(processes.accepted),
        closed() - gone,
        _names([host for some in hosts.values() for host in some]),
        transparent,
        ask(admin, "/policies"),
    )
    _report(diagnose(seen, listen, redirected), command, output, as_json)
    return exit_code


def _calls(admin: Address) -> Calls:
    return {call["id"]: call for call in ask(admin, "/calls")["calls"]}


def _unknown(admin: Address) -> dict[tuple[str, int], dict[str, Any]]:
    return {(row["host"], row["port"]): row for row in ask(admin, "/unknown")["unknown"]}


def _run(command: Sequence[str], environ: Mapping[str, str]) -> tuple[int, Processes]:
    """Its exit code as a shell would give it, and what it was seen to do."""
    with _signals_passed_on() as started:
        try:
            process = subprocess.Popen(command, env=environ)
        except FileNotFoundError:
            _say(f"{command[0]}: there is no such command")
            raise SystemExit(NOT_FOUND) from None
        except OSError as error:
            _say(f"{command[0]}: it cannot be run ({error.strerror})")
            raise SystemExit(CANNOT_RUN) from None
        started.append(process)
        processes = Processes(process.pid)
        _watch(process, processes)
        code = process.wait()
    return (128 - code if code < 0 else code), processes


def _watch(process: subprocess.Popen[bytes], processes: Processes) -> None:
    ended = os.pidfd_open(process.pid)
    try:
        pause_s = 0.0
        while not select.select([ended], [], [], pause_s)[0]:
            began_s = time.monotonic()
            processes.look()
            pause_s = max(TICK_S, 5 * (time.monotonic() - began_s))
    finally:
        os.close(ended)


@contextmanager
def _signals_passed_on() -> Iterator[list[subprocess.Popen[bytes]]]:
    """The process that is put into the list decides what signals mean; we stay to report. A terminal sends its own
    to the command as well.
    """
    started: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, _frame: FrameType | None) -> None:
        if not started:
            raise SystemExit(128 + number)
        started[0].send_signal(number)

    def leave(_number: int, _frame: FrameType | None) -> None: ...

    before = [(number, signal.signal(number, leave)) for number in (signal.SIGINT, signal.SIGQUIT)]
    before += [(number, signal.signal(number, pass_on)) for number in (signal.SIGTERM, signal.SIGHUP)]
    try:
        yield started
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _names(hosts: Sequence[str]) -> dict[str, str]:
    """The hosts by their addresses, as far as these can be found in time."""
    found: dict[str, str] = {}

    def resolve(host: str) -> None:
        try:
            for *_, address in socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM):
                found[str(address[0])] = host
        except OSError:
            return

    threads = [Thread(target=resolve, args=(host,), daemon=True) for host in hosts if not host.startswith("*")]
    until_s = time.monotonic() + NAMES_S
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until_s - time.monotonic()))
    return dict(found)


def _report(diagnosis: Diagnosis, command: Sequence[str], output: str | None, as_json: bool) -> None:
    if as_json:
        text = json.dumps({"command": command, **asdict(diagnosis)}, indent=2)
    else:
        text = "\n".join(lines(diagnosis, command, TICK_S))
    if output is None:
        click.echo(text, err=True)
        return
    try:
        Path(output).write_text(f"{text}\n")
    except OSError as error:
        _say(f"-o: {output} cannot be written ({error.strerror})")


def _say(message: str) -> None:
    click.echo(f"sidecar: {message}", err=True)
