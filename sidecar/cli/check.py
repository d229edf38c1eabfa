"""`sidecar check`: every problem of some policies at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sidecar.policy.sources import LoadedPolicies


@click.command(short_help="Validate policies.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    show_default=True,
    help="text: file:line:col: key: …; json: one object; github: annotations of a workflow run.",
)
def check(paths: tuple[Path, ...], form: str) -> int:
    """Validate policy files, and directories of them, as a daemon would load them together.

    Every problem is shown, with file, line and column. Exits with 0 when there is none, else with 1.
    """
    from sidecar.policy.sources import load_policies

    loaded = load_policies(paths)
    if form == "json":
        click.echo(_json(loaded))
    else:
        for problem in loaded.problems:
            click.echo(problem.github() if form == "github" else problem.text())
        click.echo(_summary(loaded), err=bool(loaded.problems))
    return 1 if loaded.problems else 0


def _summary(loaded: LoadedPolicies) -> str:
    files = _count(len(loaded.files), "file")
    if not loaded.problems:
        return f"{files}, {_count(len(loaded.providers), 'provider')}: no problems"
    bad = len({problem.file for problem in loaded.problems})
    return f"{_count(len(loaded.problems), 'problem')} in {_count(bad, 'file')}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _json(loaded: LoadedPolicies) -> str:
    import orjson

    shown = {
        "ok": not loaded.problems,
        "digest": loaded.digest,
        "files": [{"path": str(file.path), "digest": file.digest} for file in loaded.files],
        "providers": [policy.provider for policy in loaded.providers],
        "problems": [problem.json() for problem in loaded.problems],
    }
    return orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode()
