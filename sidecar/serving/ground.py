"""What a process needs of its machine before it can serve, and one line for each thing that it cannot have."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sidecar.address import Address
from sidecar.errors import SettingsError
from sidecar.settings import SETTINGS


def check_paths(paths: Sequence[Path]) -> None:
    """Raises `SettingsError` for the first that does not exist."""
    for path in paths:
        try:
            path.stat()
        except OSError as error:
            raise _unusable("policies", "a file or a directory of policies", path, error) from None


def prepare_state(state: Path) -> None:
    """Make the directory, and see that it can be written. Raises `SettingsError`."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=state):
            pass
    except OSError as error:
        raise _unusable("state", "a directory that can be written", state, error) from None


def raise_file_limit() -> None:
    """Every connection is a file, and soft limits are usually set for select(2), which is not used here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def bind(address: Address, setting: str, backlog: int) -> socket.socket:
    """A listening socket. Raises `SettingsError`."""
    every = not address.host and socket.has_dualstack_ipv6()
    try:
        return socket.create_server(
            (_resolved(address), address.port),
            family=socket.AF_INET6 if every or ":" in _resolved(address) else socket.AF_INET,
            backlog=backlog,
            dualstack_ipv6=every,
        )
    except OSError as error:
        raise cannot_listen(address, setting, error) from None


def _resolved(address: Address) -> str:
    if not address.host:
        return ""
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # `localhost` is the IPv4 one to whoever types a URL.
    return str(min(found, key=lambda row: row[0] != socket.AF_INET)[4][0])


def is_loopback(listener: socket.socket) -> bool:
    return Address(listener.getsockname()[0], 0).loopback


def cannot_listen(address: Address, setting: str, error: OSError) -> SettingsError:
    return _unusable(setting, "an address that is free to listen on", address, error)


def _unusable(name: str, expected: str, got: object, error: OSError) -> SettingsError:
    title = next(setting.title for setting in SETTINGS if setting.name == name)
    reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
    return SettingsError(f"{title}: expected {expected}, got {str(got)!r} ({reason.lower()})")
