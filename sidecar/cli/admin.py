"""How commands talk to a running daemon: its admin listener, asked once, with every failure in one line."""

from __future__ import annotations

import json
import os
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any, Final
from urllib.parse import urlencode

import click

from sidecar.address import Address
from sidecar.errors import SettingsError
from sidecar.policy.units import NotUnderstood
from sidecar.settings import parse_token

TIMEOUT_S: Final = 10.0
TOKEN: Final = "SIDECAR_ADMIN_TOKEN"


def ask(admin: Address, path: str, **query: object) -> Any:
    """The answer to a GET of a path as it goes on the wire; what is None in `query` is left out. Raises
    `ClickException`."""
    given = {name: value for name, value in query.items() if value is not None}
    return _answer(admin, "GET", f"{path}?{urlencode(given)}" if given else path, None)


def change(admin: Address, path: str, document: object) -> Any:
    """The answer to a POST, made with the token of the environment. Raises `ClickException`."""
    return _answer(admin, "POST", path, json.dumps(document).encode())


def _answer(admin: Address, method: str, target: str, body: bytes | None) -> Any:
    fields = {"Accept": "application/json"}
    if body is not None:
        # Whoever only reads does not show the token around.
        fields |= {"Content-Type": "application/json", **_authorization()}
    connection = HTTPConnection(admin.near, admin.port, timeout=TIMEOUT_S)
    try:
        connection.request(method, target, body, fields)
        response = connection.getresponse()
        return _document(admin, response, response.read())
    except OSError as error:
        reason = (error.strerror or str(error) or type(error).__name__).lower()
        hint = "is it running? --admin or SIDECAR_ADMIN says where to ask"
        raise click.ClickException(f"no daemon answers at {admin} ({reason}): {hint}") from None
    except HTTPException:
        raise _stranger(admin) from None
    finally:
        connection.close()


def _authorization() -> dict[str, str]:
    token = os.environ.get(TOKEN)
    if not token:
        return {}
    try:
        return {"Authorization": f"Bearer {parse_token(token)}"}
    except NotUnderstood as error:
        raise SettingsError(f"{TOKEN}: expected {error.expected}, got another text") from None


def _document(admin: Address, response: HTTPResponse, body: bytes) -> Any:
    try:
        document = json.loads(body)
    except ValueError:
        raise _stranger(admin) from None
    if not isinstance(document, dict):
        raise _stranger(admin)
    if response.status >= 400:
        raise click.ClickException(str(document.get("detail") or f"the daemon at {admin} said {response.status}"))
    return document


def _stranger(admin: Address) -> click.ClickException:
    return click.ClickException(f"what answers at {admin} is no sidecar's admin listener: see --admin, SIDECAR_ADMIN")
