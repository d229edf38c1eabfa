"""`sidecar cache`: what a running daemon keeps, and how to be rid of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias
from urllib.parse import quote

import click

from sidecar.address import Address
from sidecar.cli.admin import ask, change
from sidecar.cli.options import admin_option, json_option

Row: TypeAlias = Mapping[str, Any]

COLUMNS: Final = ("KEY", "AGE", "LEFT", "SIZE", "STATUS", "ROUTE", "TAGS", "URL")
RIGHT: Final = ("AGE", "LEFT", "SIZE")
KEY_DIGITS: Final = 8
URI_DIGITS: Final = 32
SELECTORS: Final = ("provider", "url", "tag", "key")


@click.group(short_help="List, show and purge what is kept.")
def cache() -> None:
    """What a running daemon keeps of providers' replies: list it, look at one, purge.

    Asks the daemon's admin listener. A purge beyond loopback needs the token in SIDECAR_ADMIN_TOKEN.
    """


@cache.command(short_help="List kept replies.")
@admin_option
@click.option("--provider", help="Only this provider's.")
@click.option("--route", help="Only this route's.")
@click.option("--tag", help="Only with this tag.")
@click.option("--limit", type=click.IntRange(min=0), default=100, show_default=True, help="At most so many.")
@json_option
def ls(*, admin: Address, provider: str | None, route: str | None, tag: str | None, limit: int, as_json: bool) -> None:
    """List kept replies, the most recent first.

    LEFT is how long a reply is fresh yet; for one that is not any more, `stale` and how long it may stand in while the
    provider fails.
    """
    listing = ask(admin, "/cache", provider=provider, route=route, tag=tag, limit=limit)
    if as_json:
        click.echo(json.dumps(listing, indent=2, ensure_ascii=False))
        return
    entries = listing.get("entries", [])
    if entries:
        for line in _table([_cells(entry) for entry in entries]):
            click.echo(line)
    click.echo(_summary(listing.get("stores", []), len(entries)), err=True)


@cache.command(short_help="Show one kept reply.")
@click.argument("key")
@admin_option
@json_option
def show(key: str, admin: Address, as_json: bool) -> None:
    """Show the reply that is kept under KEY, as `ls` shows it or in whole; all of them, if there are several.

    Never its body, and of its fields' values only those that cannot be secret.
    """
    found = ask(admin, f"/cache/{quote(key, safe='')}")
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    click.echo("\n\n".join("\n".join(_described(entry)) for entry in found.get("entries", [])))


@cache.command(short_help="Forget kept replies.")
@admin_option
@click.option("--provider", help="All of this provider's.")
@click.option("--route", help="With --provider: only this route's.")
@click.option("--url", help="All of this URL, whoever asked; with * at its end, all that begin so.")
@click.option("--tag", help="All with this tag.")
@click.option("--key", help="One, as `ls` shows its key or in whole.")
@click.option("--all", "everything", is_flag=True, help="Everything.")
@click.option(
    "--soft", is_flag=True, help="Only take them for stale: asked for anew, but at hand if the provider fails."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def purge(
    *,
    admin: Address,
    route: str | None,
    everything: bool,
    soft: bool,
    yes: bool,
    as_json: bool,
    **selectors: str | None,
) -> None:
    """Forget kept replies: of a provider or one of its routes, a URL, a tag, a key, or all.

    Asks first where it would leave a whole provider without stale replies to stand in.
    """
    document = _selection(selectors, route, everything)
    if not soft and not yes and ("all" in document or ("provider" in document and route is None)):
        _confirm("everything" if everything else f"all of {selectors['provider']}'s replies")
    answer = change(admin, "/cache/purge", {**document, "soft": soft})
    purged = _count(answer.get("purged", 0))
    said = f"took {purged} for stale" if soft else f"purged {purged}"
    click.echo(json.dumps(answer) if as_json else said)


def _selection(selectors: Mapping[str, str | None], route: str | None, everything: bool) -> dict[str, str | bool]:
    document: dict[str, str | bool] = {name: value for name in SELECTORS if (value := selectors[name]) is not None}
    if everything:
        document["all"] = True
    if len(document) != 1:
        raise click.UsageError("Give one of --provider, --url, --tag, --key or --all.")
    if route is not None:
        if "provider" not in document:
            raise click.UsageError("--route wants its --provider, too.")
        document["route"] = route
    return document


def at_terminal() -> bool:
    return sys.stdin.isatty()


def _confirm(what: str) -> None:
    if not at_terminal():
        raise click.UsageError(f"Purging {what} leaves nothing to stand in: say --yes, or --soft.")
    click.confirm(f"Purge {what}? Nothing will stand in if a provider fails; --soft would keep it at hand.", abort=True)


# What people read.


def _cells(entry: Row) -> tuple[str, ...]:
    return (
        _short_key(str(entry["key"])),
        _time(entry["age_s"]),
        _left(entry),
        _size(entry["size_bytes"]),
        str(entry["status"]),
        _plain(f"{entry['provider']}/{entry['route']}"),
        _plain(",".join(entry["tags"])) or "-",
        _plain(entry["url"]),
    )


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        aligned = [
            cell.rjust(width) if name in RIGHT else cell.ljust(width)
            for name, cell, width in zip(COLUMNS, cells, widths, strict=True)
        ]
        return "  ".join(aligned).rstrip()

    return [line(COLUMNS), *map(line, rows)]


def _described(entry: Row) -> list[str]:
    lines = [
        ("key", str(entry["key"])),
        ("url", entry["url"]),
        ("status", str(entry["status"])),
        ("route", f"{entry['provider']}/{entry['route']}"),
        ("age", _time(entry["age_s"])),
        ("left", _left(entry)),
        ("size", f"{_size(entry['size_bytes'])}, of it {_volume(entry['body_bytes'])} body"),
        ("tags", ", ".join(entry["tags"]) or "-"),
        ("varies by", ", ".join(entry["varies_by"]) or "-"),
    ]
    fields = [f"  {field['name']}: {field['value']}" for field in entry["fields"]]
    return [_plain(line) for line in (*(f"{name:<10} {text}" for name, text in lines), "fields", *fields)]


def _short_key(key: str) -> str:
    """Digits enough to tell replies apart: the URL's, and behind a dash the credential's."""
    return f"{key[:KEY_DIGITS]}-{key[URI_DIGITS:][:KEY_DIGITS] or 'none'}"


def _left(entry: Row) -> str:
    ttl_s, stale_left_s = entry["ttl_s"], entry["stale_left_s"]
    if ttl_s is None:
        return "?"
    if ttl_s > 0:
        return _time(ttl_s)
    return f"stale {_time(stale_left_s)}" if stale_left_s else "stale -"


def _time(seconds: float) -> str:
    for unit, length_s in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.0f}{unit}"
    return f"{seconds:.0f}s"


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1024:.1f} KiB"


def _volume(size_bytes: int) -> str:
    if size_bytes < 1024:
        return f"{size_bytes} B"
    return _size(size_bytes) if size_bytes < 1024**2 else f"{size_bytes / 1024**2:.1f} MiB"


def _summary(stores: Sequence[Row], shown: int) -> str:
    bounded = [store for store in stores if store.get("limit_bytes")]
    return "; ".join([f"{shown} shown", *map(_fill, bounded)])


def _fill(store: Row) -> str:
    kept, most = _volume(store["size_bytes"]), _volume(store["limit_bytes"])
    return f"{store['tier']}: {_count(store['entries'])}, {kept} of {most}"


def _count(number: int) -> str:
    return "1 reply" if number == 1 else f"{number} replies"


def _plain(text: str) -> str:
    """Without what could move a terminal's cursor: tags and field values are the provider's."""
    return "".join(char if char.isprintable() else "?" for char in text)
