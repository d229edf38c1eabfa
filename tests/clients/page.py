"""docs/clients.md: the cells as people read them. A run of `tests.clients.run` has proved what stands in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.clients.clients import GROUPS, Cannot, Cell, Client, Mode
from tests.clients.install import versions

PAGE: Final = Path(__file__).parents[2] / "docs" / "clients.md"
HEAD: Final = """# Clients

Which programs get through the sidecar, how, and what they need for it. Nothing here is from memory: `tests/clients`
runs each client in each mode against the daemon and a fake provider, in a network namespace, and this page is what
came of it (`python -m tests.clients --write`).

- **base URL**: the client calls `http://127.0.0.1:7600/<provider>`, `URL` below, in place of the provider's own
  address; no TLS, no certificate.
- **HTTPS_PROXY**: the client asks the sidecar for a tunnel, and finds there a certificate of the sidecar's own
  authority.
- **transparent**: the client notices nothing; its connections are [redirected](transparent.md). It must trust that
  authority all the same.

The variables are those that [`sidecar env`](env.md) prints. Where a cell has nothing else, the program is unmodified:
it gets through with all of them set and with these alone, and does not with any of these missing. What stands behind
*with* the program has to say itself; no variable can. `FILE` is `bundle.crt` in `--ca-dir`.
"""
FOOT: Final = """
## Where there is no way

- **A client that pins its roots** (stripe for Python), or asks no variable for them (wget), can be given ours where
  it has its own: in an image, `ca.crt` appended to that file.
- **Node before 22.21** reads no proxy variable. Base URLs work, and so does redirection.
- **HTTP/2 only** (gRPC): a connection that offers nothing else is tunnelled, not opened. **QUIC** is UDP, and not
  touched.

`sidecar doctor -- COMMAND` tells for any program which of its calls went through and which got around: see
[env](env.md).
"""


def page() -> str:
    return "".join([HEAD, *(line for title, clients in GROUPS.items() for line in _table(title, clients)), FOOT])


def _table(title: str, clients: tuple[Client, ...]) -> Iterator[str]:
    yield f"\n## {title}\n\n| client | base URL | HTTPS_PROXY | transparent |\n| --- | --- | --- | --- |\n"
    locked = versions()
    for client in clients:
        version = (
            locked[f"{'node:' if client.program.endswith('.mjs') else ''}{client.package}"] if client.package else ""
        )
        cells = (_text(client.cell(mode), mode) for mode in Mode)
        yield f"| {' '.join(filter(None, (client.title, version)))} | {' | '.join(cells)} |\n"


def _text(cell: Cell, mode: Mode) -> str:
    if isinstance(cell, Cannot):
        return f"no: {cell.why}"
    variables = ", ".join(f"`{name}`" for name in cell.variables)
    option = f"{'' if mode is Mode.BASE else 'with '}{cell.option}" if cell.option else ""
    return "; ".join(filter(None, (f"{variables} {option}".strip(), cell.note)))
