"""The real daemon, as a process of its own: `python -m sidecar run` on free ports of loopback."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import deque
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson

from sidecar.demo.story import Breaker
from sidecar.errors import SettingsError

START_S: Final = 20.0
STOP_S: Final = 5.0
LISTENERS: Final = frozenset(("calls", "admin"))


class Daemon:
    """Between `start` and `stop` it serves the policy in `home`."""

    def __init__(self, home: Path, policy: str) -> None:
        self._policies = home / "policies"
        self._policies.mkdir()
        (self._policies / "acme.yaml").write_text(policy)
        self._state = home / "state"
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None
        self._last_lines: deque[str] = deque(maxlen=3)
        self._addresses: dict[str, str] = {}
        self._ready = asyncio.Event()

    @property
    def calls(self) -> str:
        """The URL that the application's calls go to."""
        return self._addresses["calls"]

    @property
    def admin(self) -> str:
        return self._addresses["admin"]

    async def start(self) -> None:
        """Raises `SettingsError` with the daemon's own last words if it does not come up."""
        # A session of its own, so that a Ctrl-C on the terminal reaches it only through us.
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sidecar", "run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"),
            *("--policies", str(self._policies), "--state", str(self._state), "--ca-dir", "off"),
            *("--log-format", "json"),
            env={name: value for name, value in os.environ.items() if not name.startswith("SIDECAR_")},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1.0))
        self._reading = asyncio.create_task(self._read(self._process))
        try:
            async with asyncio.timeout(START_S):
                await self._ready.wait()
        except TimeoutError:
            raise SettingsError(f"the daemon was not ready within {START_S:.0f} s") from None
        if self._addresses.keys() != LISTENERS:
            raise SettingsError(f"the daemon did not start: {' '.join(self._last_lines) or 'it said nothing'}")

    def check(self) -> None:
        """Raises `SettingsError` if it has ended by itself."""
        if self._process is not None and self._process.returncode is not None:
            raise SettingsError(f"the daemon ended: {' '.join(self._last_lines) or 'it said nothing'}")

    async def breakers(self) -> list[Breaker]:
        """The provider's breakers by route; empty while the admin port does not answer."""
        assert self._session is not None
        try:
            async with self._session.get(f"{self.admin}/breakers") as reply:
                rows = (await reply.json())["breakers"]
        except (aiohttp.ClientError, TimeoutError, OSError):
            return []
        return [Breaker(row["scope"], row["state"], row["left_s"]) for row in rows if row["scope"] not in "-*"]

    async def stop(self) -> None:
        """End the process, whatever state it is in."""
        if self._session is not None:
            await self._session.close()
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            # It ends calls without a drain.
            process.send_signal(signal.SIGINT)
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        finally:
            # Also when a second Ctrl-C cuts this short.
            if process.returncode is None:
                process.kill()
        if self._reading is not None:
            await self._reading

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        """Read its log to the end, since a full pipe would hold it up."""
        assert process.stdout is not None
        async for line in process.stdout:
            self._take(line)
        self._ready.set()

    def _take(self, line: bytes) -> None:
        try:
            said: Any = orjson.loads(line)
        except ValueError:
            self._last_lines.append(line.decode(errors="replace").strip())
            return
        if said.get("message") == "listening":
            self._addresses[said["listener"]] = said["address"]
            if self._addresses.keys() == LISTENERS:
                self._ready.set()
