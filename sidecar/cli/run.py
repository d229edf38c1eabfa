"""`sidecar run`: the daemon. Its options are the process's settings, one a row of `SETTINGS`."""

from __future__ import annotations

import gc
import os
import signal

import click

from sidecar.settings import SETTINGS, Setting, Written, read_settings

EPILOG = """A flag wins over its variable, and a variable over the default; an empty variable counts as absent.
Telemetry is configured by the standard OTEL_* variables. SIGTERM drains and stops, SIGINT stops without the drain, a
second one of either stops at once; SIGHUP reads the policies again; SIGUSR1 writes the state to the log."""


def _option(setting: Setting) -> click.Option:
    default = setting.default or ("the shipped packs" if setting.repeatable else "none")
    return click.Option(
        [setting.flag, setting.name],
        metavar=setting.metavar,
        multiple=setting.repeatable,
        help=f"{setting.help}  [{setting.variable}; default: {default}]",
    )


def _secrets() -> str:
    rows = [f"{setting.variable}  {setting.help}" for setting in SETTINGS if setting.secret]
    return "\b\nFrom the environment only:\n" + "\n".join(rows)


@click.command(
    params=[_option(setting) for setting in SETTINGS if not setting.secret], epilog=f"{_secrets()}\n\n{EPILOG}"
)
def run(**flags: Written) -> int:
    """Run the daemon: serve the application's calls until a signal ends it.

    Exits with 0 after a signal, and with 2 and one line when a setting or a policy is not fit.
    """
    _heed_sigterm()
    settings = read_settings(flags, os.environ)
    # Next to nothing dies while everything is imported and made; the daemon turns it on again when it is ready.
    gc.disable()
    from sidecar.daemon import run as run_daemon

    return run_daemon(settings)


def _heed_sigterm() -> None:
    """Until the daemon does. The kernel keeps every signal that has no handler from a container's first process, and so
    a pod that is deleted while it starts would last until it is killed."""
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
