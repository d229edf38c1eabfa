"""`sidecar`: finds the command, and ends every error in one line on stderr and an exit code.

Commands are imported when they are called: `sidecar --help` and `sidecar check` need neither the loop nor the server.
"""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module
from typing import Any

import click

from sidecar import __version__
from sidecar.errors import SettingsError

COMMANDS = {
    "run": ("sidecar.cli.run:run", "Run the daemon."),
    "check": ("sidecar.cli.check:check", "Validate policies: every error at once, with its line."),
    "explain": ("sidecar.cli.explain:explain", "Show which policy a call meets, and what it amounts to."),
    "call": ("sidecar.cli.call:call", "Make one call without a daemon, and show what each step decided."),
    "cache": ("sidecar.cli.cache:cache", "List, show and purge what a running daemon keeps."),
    "env": ("sidecar.cli.env:env", "Print the variables that lead a program's calls through the sidecar."),
    "probe": ("sidecar.cli.probe:probe", "Ask a running daemon whether it has started, is ready, or is alive."),
    "doctor": ("sidecar.cli.doctor:doctor", "Run a command, and tell which of its calls went through."),
    "ca": ("sidecar.cli.ca:ca", "Show what applications must trust, or export it for Java."),
    "firewall": ("sidecar.cli.firewall:firewall", "Redirect the application's connections to the daemon."),
    "inject": ("sidecar.cli.inject:inject", "Add the sidecar to Kubernetes manifests."),
    "injector": (
        "sidecar.cli.injector:injector",
        "Serve the webhook that puts the sidecar into pods as they are made.",
    ),
    "demo": ("sidecar.cli.demo:demo", "Watch what the sidecar does on a provider's bad day."),
    "schema": ("sidecar.cli.schema:schema", "Print the JSON Schema of the policy format."),
}
"""Where each command lives, and its line in `sidecar --help`, which imports none of them."""

USAGE_ERROR = 2
INTERRUPTED = 128 + 2
"""What a shell expects of a command that SIGINT ended."""


class Program(click.Group):
    """The command group: lazy, and with one-line errors."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run and exit. `standalone_mode` is off inside: click's own prints usage before each error."""
        sys.exit(self._outcome(*args, **{"prog_name": "sidecar", **extra, "standalone_mode": False}))

    def _outcome(self, *args: Any, **extra: Any) -> int:
        try:
            done = super().main(*args, **extra)
        except SettingsError as error:
            return _say(str(error), USAGE_ERROR)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            return error.exit_code
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "sidecar"
            return _say(f"{_one_line(error)} See `{command} --help`.", error.exit_code)
        except click.ClickException as error:
            return _say(_one_line(error), error.exit_code)
        except (click.Abort, KeyboardInterrupt):
            return INTERRUPTED
        except BrokenPipeError:
            # Whoever read our output left, as `| head` does. Python would complain again when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except Exception as error:
            return _say(_fault(error), 1)
        return done if isinstance(done, int) else 0


def _fault(error: Exception) -> str:
    """A bug, as its user may see it: enough to report it, no traceback and no values."""
    *_, frame = traceback.extract_tb(error.__traceback__)
    where = f"{os.path.basename(frame.filename)}:{frame.lineno}"
    return f"this is a fault of the sidecar's own ({type(error).__name__} at {where}); please report it"


def _one_line(error: click.ClickException) -> str:
    return " ".join(error.format_message().split())


def _say(message: str, exit_code: int) -> int:
    click.echo(f"sidecar: {message}", err=True)
    return exit_code


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, "-V", "--version", prog_name="sidecar", message="%(prog)s %(version)s")
def main() -> None:
    """A resilience proxy that runs beside an application and protects its calls to providers."""
