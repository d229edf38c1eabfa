"""`sidecar inject`: manifests in, the same with the sidecar in their pods out."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import click

from sidecar.cli.options import read
from sidecar.kube.annotations import INJECT, VOCABULARY, Annotation, Defaults

STDIN = "-"
EPILOG = """Exits with 0; with 1 and everything that is in the way, on stderr, and nothing on stdout, when a pod
cannot get the sidecar or a text is no YAML; with 2 when an option is not fit."""


def of_pods(annotation: Annotation) -> click.Option:
    """The flag that says what counts where a pod has no such annotation."""

    def checked(value: str) -> str:
        if value:
            annotation.parse(value)
        return value

    default = annotation.shown.replace("`", "") or annotation.default
    return click.Option(
        [annotation.flag, annotation.field],
        callback=read(checked),
        default="",
        metavar=annotation.form.replace("`", "").replace(", ", "|"),
        help=annotation.help.replace("`", "") + (f"  [default: {default}]" if default else ""),
    )


@dataclass
class _Output:
    """What came of all documents."""

    texts: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    """Places of documents that are not as they were."""


@click.command(short_help="Add the sidecar to Kubernetes manifests.", epilog=EPILOG)
@click.argument("files", metavar="[FILE]...", nargs=-1)
@click.option(
    "--annotated-only", is_flag=True, help='Only into pods that are annotated sidecar/inject: "true", not into all.'
)
@click.option("--check", is_flag=True, help="Print the places of what would change instead, and exit with 1 if any.")
def inject(*, files: tuple[str, ...], annotated_only: bool, check: bool, **defaults: str) -> int:
    """Read Kubernetes manifests from stdin (or FILEs), and write them to stdout with the sidecar in their pods.

    Every Pod, Deployment, StatefulSet, DaemonSet, ReplicaSet, Job and CronJob gets it, unless it is annotated
    sidecar/inject: "false", which also takes it out again. All else passes through as it is, byte by byte. Doing it
    twice is doing it once. The flags below count for pods that do not say otherwise by an annotation.
    """
    output = _run(files, Defaults(**defaults), asked=not annotated_only)
    for warning in output.warnings:
        click.echo(f"warning: {warning}", err=True)
    if output.problems:
        for problem in output.problems:
            click.echo(problem, err=True)
        return 1
    if check:
        for place in output.changed:
            click.echo(place)
        return 1 if output.changed else 0
    # Bytes: a terminal's encoding and line ends are none of a manifest's.
    sys.stdout.buffer.write("".join(output.texts).encode())
    return 0


inject.params.extend(of_pods(annotation) for annotation in VOCABULARY if annotation.name != INJECT)


def _run(files: tuple[str, ...], defaults: Defaults, *, asked: bool) -> _Output:
    from sidecar.kube.stream import inject_stream

    output = _Output()
    for name in files or (STDIN,):
        source = "stdin" if name == STDIN else name
        try:
            text = _read(name, source)
        except ValueError as error:
            output.problems.append(str(error))
            continue
        found = inject_stream(text, source, defaults, asked=asked)
        output.problems += found.problems
        output.warnings += found.warnings
        output.changed += found.changed
        output.texts.append(_joint(output.texts, found.text) + found.text)
    return output


def _read(name: str, source: str) -> str:
    """Raises `ValueError` with a line for the user."""
    try:
        raw = sys.stdin.buffer.read() if name == STDIN else Path(name).read_bytes()
        return raw.decode()
    except OSError as error:
        raise ValueError(f"{source}: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ValueError(f"{source}:{line}: no YAML: expected UTF-8") from None


def _joint(texts: list[str], following: str) -> str:
    """What keeps one file's documents apart from the next one's."""
    before = next((text for text in reversed(texts) if text), "")
    if not before or not following:
        return ""
    end = "" if before.endswith("\n") else "\n"
    return end if following.startswith("---") else f"{end}---\n"
