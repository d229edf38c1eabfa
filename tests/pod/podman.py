"""podman's command line. Whatever a run makes carries its process's number, so that nothing is left behind: it goes at
the end, or, where the run was killed, when the next one begins."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from tests.real import lacking, need

LABEL: Final = "sidecar.tests.pod"
PREFIX: Final = "sidecar-test"
TIMEOUT_S: Final = 120
BASE_IMAGE: Final = "python:3.13-slim"

_numbers = itertools.count(1)


def podman(*args: str, check: bool = True, errors_too: bool = False, timeout_s: float = TIMEOUT_S) -> str:
    """What it printed, with `errors_too` on stderr as well. A failure raises with what podman said."""
    words = [need("podman"), *args]
    done = subprocess.run(words, capture_output=True, text=True, timeout=timeout_s, check=False, errors="replace")
    if check and done.returncode:
        raise RuntimeError(f"podman {' '.join(args)}: exit code {done.returncode}: {done.stderr.strip()}")
    return (done.stdout + done.stderr if errors_too else done.stdout).strip()


def inspect(name: str) -> dict[str, Any]:
    """What podman knows of a container."""
    (document,) = json.loads(podman("container", "inspect", name))
    return dict(document)


@cache
def why_not() -> str:
    """Why no Pod can be run here; empty where one can."""
    need("podman")
    if os.geteuid() != 0:
        return "Pods on a bridge of their own need root"
    try:
        podman("run", "--rm", "--network=none", *mark(), BASE_IMAGE, "true")
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        return f"podman runs no container here: {error}"
    return ""


def need_pods() -> None:
    """Skips where this machine runs no Pods, with the reason; in CI that is a failure."""
    if reason := why_not():
        lacking(reason)


def mark() -> Sequence[str]:
    return ("--label", f"{LABEL}={os.getpid()}")


def unique(word: str) -> str:
    """A name that no other run uses."""
    return f"{PREFIX}-{os.getpid()}-{next(_numbers)}-{word}"


@contextmanager
def network() -> Iterator[tuple[str, str]]:
    """A bridge without a way out, for as long as the context lasts: its name, and the first three bytes of its
    addresses. They are of the range for tests of networks (RFC 2544), and each run has 256 of its own."""
    name = unique("net")
    for slot in range(256):
        bytes_ = f"198.18.{slot}"
        try:
            podman("network", "create", "--internal", "--disable-dns", "--subnet", f"{bytes_}.0/24", *mark(), name)
        except RuntimeError as error:
            if "already used" not in str(error):
                raise
            continue
        break
    else:
        pytest.fail("all of 198.18.0.0/16 is in use on this machine")
    try:
        yield name, bytes_
    finally:
        podman("network", "rm", "--force", "--time", "0", name, check=False)


def sweep(*, mine: bool) -> None:
    """Remove what ended runs left, and with `mine` what this one has made."""
    for remove, listing in (
        (("pod", "rm"), ("pod", "ps")),
        (("rm", "--volumes"), ("ps", "--all")),
        (("network", "rm"), ("network", "ls")),
        (("volume", "rm"), ("volume", "ls")),
    ):
        for row in json.loads(podman(*listing, "--format", "json", check=False) or "[]"):
            # podman's lists do not agree about case, and volumes made by `kube play` have names of ours but no label.
            entry = {key.lower(): value for key, value in row.items()}
            if _may_go(_owner(entry), mine):
                podman(*remove, "--force", "--time", "0", entry.get("id") or entry["name"], check=False)
    for line in reversed(Path("/proc/mounts").read_text().splitlines()):
        source, target = line.split()[:2]
        if source.startswith(f"{PREFIX}-") and _may_go(source.split("-")[2], mine):
            subprocess.run([need("umount"), "--lazy", target], check=False)


def _owner(entry: dict[str, Any]) -> str:
    name = str(entry.get("name") or "")
    return str((entry.get("labels") or {}).get(LABEL, "")) or (name.split("-")[2] if name.startswith(PREFIX) else "")


def _may_go(owner: str, mine: bool) -> bool:
    if owner == str(os.getpid()):
        return mine
    return owner.isdigit() and not Path(f"/proc/{owner}").exists()
