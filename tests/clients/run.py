"""Every client in every mode, in a network namespace, and whether what comes of it proves what the cells say."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.clients.clients import CLIENTS, Cannot, Cell, Client, Mode, Works
from tests.clients.field import Field, addresses
from tests.clients.install import KEPT, Installed, install
from tests.clients.namespace import enter, firewall, in_namespace
from tests.providers import Stage
from tests.wire.client import eventually
from tests.wire.daemon import ROOT

WAIT_S: Final = 30.0
"""For one program. All have time-outs of their own, of 10 s."""
LACKING_WAIT_S: Final = 5.0
"""For one that lacks what it needs. Some try again and again."""
AT_ONCE: Final = 3
FULL: Final = "full"
"""All that `sidecar env` prints, and without the cell's option (but for a base URL)."""
CELL: Final = "cell"
"""The cell's variables and its option."""


@dataclass(frozen=True)
class Result:
    """What came of one program's run."""

    client: str
    mode: Mode
    trial: str
    """`FULL`, `CELL`, or the one variable of the cell's that was left out."""
    answered: bool
    """The program got the provider's reply."""
    seen: tuple[str, ...]
    """The modes of the calls that the daemon counted for its provider."""
    around: int
    """Connections that went to the provider's address instead."""
    said: str
    """The last line of its stderr, where it failed."""


class Runs:
    """Runs programs, as many at once as there are different providers, and tells what came of each."""

    def __init__(self, field: Field, installed: Installed) -> None:
        self._field = field
        self._installed = installed
        self._addresses = addresses()
        self._slots = asyncio.Semaphore(AT_ONCE)
        # What the daemon counts for a provider in the meantime is then this run's.
        self._alone = {client.called: asyncio.Lock() for client in CLIENTS}

    async def all(self, modes: Sequence[Mode], clients: Sequence[Client]) -> list[Result]:
        runs = [
            self._one(client, mode, trial)
            for mode in modes
            for client in clients
            for trial in trials(client.cell(mode))
        ]
        return await asyncio.gather(*runs)

    async def _one(self, client: Client, mode: Mode, trial: str) -> Result:
        async with self._alone[client.called], self._slots:
            before, address = self._field.calls(client.called), self._addresses[client.host]
            around = self._field.direct.called.count(address)
            within_s = WAIT_S if trial in (FULL, CELL) else LACKING_WAIT_S
            answered, said = await self._program(client, self._environ(client, mode, trial), within_s)
            after = await asyncio.to_thread(self._calls_after, client, before, answered)
            seen = tuple(sorted({mode for id_, mode in after.items() if id_ not in before}))
            around = self._field.direct.called.count(address) - around
            return Result(client.name, mode, trial, answered, seen, around, said)

    def _calls_after(self, client: Client, before: dict[str, str], answered: bool) -> dict[str, str]:
        """A call is counted when its end is known, which may be after the program's."""
        if not answered:
            return self._field.calls(client.called)

        def counted() -> dict[str, str]:
            calls = self._field.calls(client.called)
            return calls if calls.keys() - before.keys() else {}

        try:
            return dict(eventually(counted, within_s=1))
        except AssertionError:
            return before

    def _environ(self, client: Client, mode: Mode, trial: str) -> dict[str, str]:
        environ = {"PATH": os.environ["PATH"], "HOME": str(self._field.home), "LANG": "C.UTF-8"}
        environ["URL"] = f"https://{client.host}/v1/ping"
        if mode is Mode.BASE:
            base = f"http://{self._field.sidecar.authority}/{client.called}"
            environ |= {"URL": f"{base}/v1/ping", client.base_variable: base + client.base_suffix}
        full = self._field.redirected if mode is Mode.TRANSPARENT else self._field.proxied
        cell = client.cell(mode)
        if trial == FULL or not isinstance(cell, Works):
            return environ | full
        wanted = {name for known in (*cell.variables, *cell.fills) if known != trial for name in (known, known.lower())}
        option = {"OPTION": "1"} if cell.option and mode is not Mode.BASE else {}
        return environ | {name: value for name, value in full.items() if name in wanted} | option

    async def _program(self, client: Client, environ: dict[str, str], within_s: float) -> tuple[bool, str]:
        """Whether it printed the reply, and what it said if not."""
        process = await asyncio.create_subprocess_exec(
            *self._installed.command(client.program, client.node),
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(), within_s)
        except TimeoutError:
            process.kill()
            await process.wait()
            return False, f"no end within {within_s:g} s"
        if process.returncode == 0 and _is_reply(out):
            return True, ""
        lines = [line for line in err.decode(errors="replace").splitlines() if line.strip()]
        return False, next((line for line in lines if "rror" in line), lines[-1] if lines else "")[:300]


def _is_reply(out: bytes) -> bool:
    try:
        document = json.loads(out)
    except ValueError:
        return False
    return isinstance(document, dict) and bool(document) and None not in document.values() and "error" not in document


def run_all() -> list[Result]:
    """Install what is missing, and run everything."""
    install()
    done = subprocess.run(
        in_namespace(sys.executable, "-m", "tests.clients.run"), cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    return [Result(**row | {"mode": Mode(row["mode"]), "seen": tuple(row["seen"])}) for row in json.loads(done.stdout)]


def trials(cell: Cell) -> tuple[str, ...]:
    """What proves a cell."""
    return (FULL, CELL, *cell.variables) if isinstance(cell, Works) else (FULL,)


SEEN: Final = {Mode.BASE: "reverse", Mode.CONNECT: "connect", Mode.TRANSPARENT: "transparent"}


def doubts(results: Sequence[Result]) -> list[str]:
    """Where what happened is not what the cells say."""
    cells = {(client.name, mode): client.cell(mode) for client in CLIENTS for mode in Mode}
    return [str(result) for result in results if not _proves(cells[result.client, result.mode], result)]


def _proves(cell: Cell, result: Result) -> bool:
    answered, seen = _expected(cell, result)
    if not answered:
        return not result.answered
    return result.answered and result.seen == seen and not result.around


def _expected(cell: Cell, result: Result) -> tuple[bool, tuple[str, ...]]:
    """Whether the program is answered, and the mode that the daemon counts."""
    if isinstance(cell, Cannot) or result.trial in cell.variables:
        return False, ()
    unmodified = cell.beside if result.mode is Mode.BASE else not cell.option
    if result.trial == FULL and not unmodified:
        return False, ()
    return True, (cell.sees or SEEN[result.mode],)


def main() -> None:
    """Print the results of all, or of the modes and clients that are named."""
    modes = [mode for mode in Mode if mode.value in sys.argv[1:]] or list(Mode)
    clients = [client for client in CLIENTS if client.name in sys.argv[1:]] or list(CLIENTS)
    stage = Stage()
    with TemporaryDirectory(prefix="clients-") as directory:
        home = Path(directory)
        enter(addresses(), home / "hosts")
        field = Field(home, stage)
        try:
            results = asyncio.run(_all(Runs(field, Installed(KEPT)), modes, clients))
        finally:
            field.sidecar.stop()
    json.dump([asdict(result) for result in results], sys.stdout)


async def _all(runs: Runs, modes: Sequence[Mode], clients: Sequence[Client]) -> list[Result]:
    results = await runs.all([mode for mode in modes if mode is not Mode.TRANSPARENT], clients)
    if Mode.TRANSPARENT in modes:
        with firewall():
            results += await runs.all([Mode.TRANSPARENT], clients)
    return results


if __name__ == "__main__":
    main()
