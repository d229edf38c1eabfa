"""`sidecar ca`: the authority that applications trust, shown, and in the form that a client wants."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from sidecar.cli.env import read_ca_dir
from sidecar.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

CA_FILE: Final = "ca.crt"
BUNDLE_FILE: Final = "bundle.crt"
LEAST_PASSWORD: Final = 6
"""Characters; `keytool` takes no fewer."""

ca_dir_option = click.option(
    "--ca-dir",
    callback=read_ca_dir,
    metavar="DIR",
    envvar="SIDECAR_CA_DIR",
    default="/run/sidecar/ca",
    help="Where the daemon publishes its certificates.  [SIDECAR_CA_DIR; default: /run/sidecar/ca]",
)


@click.group(short_help="Show what applications must trust, or export it for Java.")
def ca() -> None:
    """The authority that a daemon intercepts HTTPS with: what it is, and its certificates in other forms.

    Reads what the daemon publishes in --ca-dir, which holds certificates and never a key.
    """


@ca.command(short_help="Write the trusted certificates as PEM or a Java trust store.")
@ca_dir_option
@click.option(
    "--format", "form", type=click.Choice(["pem", "p12", "jks"]), required=True, help="p12 for Java; jks for old ones."
)
@click.option("--password", metavar="TEXT", help="The trust store's; nothing in it is secret.  [default: changeit]")
@click.option("--alone", is_flag=True, help="Only the authority, without the system's roots.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Replaced at once, or not at all."
)
def export(*, ca_dir: Path | None, form: str, password: str | None, alone: bool, output: Path | None) -> None:
    """Write the certificates that an application must trust: the system's roots and the authority.

    \b
    sidecar ca export --format p12 -o /run/sidecar/ca/truststore.p12
    java -Djavax.net.ssl.trustStore=/run/sidecar/ca/truststore.p12 -Djavax.net.ssl.trustStorePassword=changeit …
    """
    if password is not None and form == "pem":
        raise click.UsageError("PEM has no password: leave --password out.")
    if password is not None and len(password) < LEAST_PASSWORD:
        raise click.UsageError(f"Java wants a --password of at least {LEAST_PASSWORD} characters.")
    if output is None and form != "pem" and at_terminal():
        raise click.UsageError("A trust store is binary: name a file with -o, or pipe it.")
    own, bundle = (_read(ca_dir, name) for name in (CA_FILE, BUNDLE_FILE))
    data = _formed(form, own, "" if alone else bundle, password)
    if output is None:
        click.echo(data, nl=False)
    else:
        _write(output, data)


@ca.command(short_help="Show the authority's certificate.")
@ca_dir_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def show(*, ca_dir: Path | None, as_json: bool) -> None:
    """Show the authority that applications must trust: what it may sign, and until when."""
    from cryptography import x509

    from sidecar.authority.ca import shown

    text = _read(ca_dir, CA_FILE)
    try:
        rows = [shown(certificate) for certificate in x509.load_pem_x509_certificates(text.encode())]
    except ValueError:
        raise _broken(CA_FILE) from None
    if as_json:
        click.echo(json.dumps({"certificates": rows}, indent=2, ensure_ascii=False))
    else:
        click.echo("\n\n".join(map(_described, rows)))


def at_terminal() -> bool:
    return sys.stdout.isatty()


def _read(ca_dir: Path | None, name: str) -> str:
    if ca_dir is None:
        raise SettingsError("--ca-dir / SIDECAR_CA_DIR: it is off, so there is no authority")
    try:
        return (ca_dir / name).read_text("ascii")
    except UnicodeDecodeError:
        raise _broken(name) from None
    except OSError as error:
        reason = (error.strerror or "an error").lower()
        raise SettingsError(
            f"--ca-dir / SIDECAR_CA_DIR: {str(ca_dir / name)!r}: {reason};"
            " a running daemon with this --ca-dir puts it there"
        ) from None


def _broken(name: str) -> SettingsError:
    return SettingsError(f"--ca-dir / SIDECAR_CA_DIR: {name} is damaged; a running daemon mends it within a minute")


def _formed(form: str, own: str, bundle: str, password: str | None) -> bytes:
    if form == "pem":
        return (bundle or own).encode("ascii")
    from sidecar.authority.truststore import PASSWORD, as_jks, as_p12, entries

    try:
        found = entries(own, bundle)
        if form == "jks":
            return as_jks(found, password or PASSWORD, time.time())
        return as_p12(found, password or PASSWORD)
    except ValueError:
        raise _broken(BUNDLE_FILE) from None


def _write(output: Path, data: bytes) -> None:
    from sidecar.files import PUBLIC, replace

    try:
        replace(output, data, PUBLIC)
    except OSError as error:
        reason = (error.strerror or "an error").lower()
        raise click.UsageError(f"{str(output)!r} cannot be written: {reason}.") from None


def _described(row: Mapping[str, Any]) -> str:
    permitted = row["permitted"]
    lines = {
        "subject": row["subject"],
        "issuer": row["issuer"],
        "serial": row["serial"],
        "valid": f"{row['not_before']} to {row['not_after']}",
        "permits": "any name" if permitted is None else ", ".join(permitted),
        "excludes": ", ".join(row["excluded"]) or "-",
        "sha256": row["sha256"],
    }
    return "\n".join(f"{name:<9} {text}" for name, text in lines.items())
