"""`sidecar explain`: which policy a call meets, what it amounts to, and who said so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from sidecar.policy.effective import Found, Setting
    from sidecar.policy.sources import LoadedPolicies


@click.command(short_help="Show which policy a call meets.")
@click.argument("method", metavar="METHOD")
@click.argument("url", metavar="URL")
@click.option(
    "--policies",
    "paths",
    multiple=True,
    envvar="SIDECAR_POLICIES",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="A policy file, or a directory of them; repeatable.  [SIDECAR_POLICIES; default: the shipped packs]",
)
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def explain(method: str, url: str, paths: tuple[Path, ...], as_json: bool) -> int:
    """Show which provider and route a call meets, the settings in force with the line each came from, and its steps.

    URL may be the provider's own, one of the listener's, or only its path: https://api.stripe.com/v1/charges,
    http://127.0.0.1:7600/stripe/v1/charges and /stripe/v1/charges are the same call.
    """
    from sidecar.policy.effective import effective_settings, find_call
    from sidecar.policy.files import shipped_policies
    from sidecar.policy.problem import short
    from sidecar.policy.sources import load_policies

    loaded = load_policies(paths or (shipped_policies(),))
    if loaded.problems:
        for problem in loaded.problems:
            click.echo(problem.text(), err=True)
        return 1
    try:
        found = find_call(loaded, method.upper(), url)
    except ValueError:
        raise click.BadParameter(f"{short(url)} is no URL.", param_hint="URL") from None
    if found is None:
        _no_policy(loaded, url)
    settings = effective_settings(loaded, found)
    click.echo(_json(loaded, found, settings) if as_json else _text(loaded, found, settings))
    return 0


def _no_policy(loaded: LoadedPolicies, url: str) -> NoReturn:
    from urllib.parse import urlsplit

    from sidecar.policy.problem import short

    known = ", ".join(policy.provider for policy in loaded.providers)
    unknown = loaded.egress.unknown
    host = short(urlsplit(url).netloc or url)
    raise click.ClickException(f"no policy is for {host}; unknown hosts: {unknown}; there are policies for {known}")


def _text(loaded: LoadedPolicies, found: Found, settings: list[Setting]) -> str:
    values = [(s.key, _value(s.value), str(s.place) if s.place else "default") for s in settings]
    steps = [(str(place), name, _mark(found, name), reason) for place, name, reason in _steps(found)]
    parts = [*_rows(_head(loaded, found)), "", "settings", *_rows(values, "  ")]
    return "\n".join([*parts, "", "steps, outer to inner", *_rows(steps, "  ")])


def _head(loaded: LoadedPolicies, found: Found) -> list[tuple[str, str, str]]:
    policy, route = found.policy, found.route
    tree = loaded.tree(policy.provider)
    provider = tree.get("provider")
    rows = [("provider", policy.provider, str((provider or tree).place))]
    if route is None:
        rows.append(("route", "- (none matches: the provider's own settings hold)", ""))
    else:
        node, _ = tree.find(("routes", policy.routes.index(route)))
        methods = " ".join(route.match.method) or "any method"
        rows.append(("route", f"{route.name} ({methods} {route.match.path})", str(node.place)))
    origin = policy.origin
    rows.append(("upstream", str(origin) if origin else "the host that the call names, by https", ""))
    return rows


def _steps(found: Found) -> list[tuple[int, str, str]]:
    from sidecar.policy.compile import step_names
    from sidecar.policy.order import ORDER

    reasons = {row.step: row.reason for row in ORDER}
    return [(place, name, reasons[name]) for place, name in enumerate(step_names(found.policy, found.route), 1)]


def _mark(found: Found, step: str) -> str:
    return "dry run" if step in found.settings.dry_run else ""


def _rows(rows: Sequence[tuple[str, ...]], indent: str = "") -> list[str]:
    """Columns as wide as their widest cell, up to a limit past which a cell pushes its own line only."""
    widths = [min(40, max(len(row[column]) for row in rows)) for column in range(len(rows[0]))]
    return [
        (indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]


def _value(value: object) -> str:
    import orjson

    return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()


def _json(loaded: LoadedPolicies, found: Found, settings: list[Setting]) -> str:
    import orjson

    policy, route = found.policy, found.route
    shown: dict[str, Any] = {
        "provider": policy.provider,
        "route": None if route is None else route.name,
        "upstream": str(policy.origin) if policy.origin else None,
        "target_path": found.target.partition("?")[0],
        "digest": loaded.digest,
        "settings": {
            s.key: {"value": s.value, "from": None if s.place is None else s.place._asdict()} for s in settings
        },
        "steps": [
            {"name": name, "reason": reason, "dry_run": name in found.settings.dry_run}
            for _, name, reason in _steps(found)
        ],
    }
    return orjson.dumps(shown, option=orjson.OPT_INDENT_2, default=str).decode()
