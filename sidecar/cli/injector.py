"""`sidecar injector`: the admission webhook that gives pods their sidecar when they are made."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import click

from sidecar.address import Address, parse_address
from sidecar.errors import SettingsError
from sidecar.kube.annotations import INJECT, VOCABULARY, Annotation, Defaults, read_annotations
from sidecar.policy.units import NotUnderstood, parse_duration

PREFIX: Final = "SIDECAR_INJECTOR_"
DEFAULT: Final = "default_"
EXCLUDED: Final = "kube-system,kube-public,kube-node-lease"
BACKLOG: Final = 1024
Decorator: TypeAlias = Callable[[Callable[..., int]], Callable[..., int]]
EPILOG = """\b
Paths:
  POST /inject      pods that are annotated sidecar/inject: "true"
  POST /inject/all  all but those annotated "false": for namespaces that are labelled
  POST /check       says what injection would say, and changes nothing: for workloads
  GET  /livez /readyz /metrics

A flag wins over its variable, and a variable over the default. The certificate is looked at every second, and taken up
without a restart. SIGTERM drains and stops, SIGINT stops at once. Exits with 0 after a signal, and with 2 and one line
when a setting or the certificate is not fit. It calls nobody, and needs no access to the API server."""


def _read_by(parse: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, str | None], Any]:
    def read(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
        try:
            return None if value is None else parse(value)
        except NotUnderstood as error:
            text = f"expected {error.expected}, got {value!r}{f'; {error.hint}' if error.hint else ''}"
            raise click.BadParameter(text if text.endswith("?") else f"{text}.", ctx, param) from None

    return read


def _parse_namespaces(text: str) -> frozenset[str]:
    return frozenset(filter(None, (part.strip() for part in text.split(","))))


def _option(flag: str, parse: Callable[[str], Any], metavar: str, text: str, default: str | None = None) -> Decorator:
    variable = PREFIX + flag.removeprefix("--").replace("-", "_").upper()
    shown = f"{text}  [{variable}; default: {default or 'none'}]"
    return click.option(flag, callback=_read_by(parse), metavar=metavar, envvar=variable, default=default, help=shown)


def _choice(flag: str, choices: tuple[str, ...], text: str, default: str) -> Decorator:
    variable = PREFIX + flag.removeprefix("--").replace("-", "_").upper()
    shown = f"{text}  [{variable}; default: {default}]"
    return click.option(flag, type=click.Choice(choices), envvar=variable, default=default, help=shown)


def _of_pods(annotation: Annotation) -> click.Option:
    """What a pod gets that does not say otherwise by the annotation of that name."""
    flag = _default_flag(annotation)
    variable = PREFIX + flag.removeprefix("--").replace("-", "_").upper()
    return click.Option(
        [flag, DEFAULT + annotation.field],
        envvar=variable,
        metavar=annotation.form.replace("`", "").replace(", ", "|"),
        help=f"{annotation.help}  [{variable}; default: {annotation.shown or annotation.default or 'none'}]".replace(
            "`", ""
        ),
    )


def _default_flag(annotation: Annotation) -> str:
    return annotation.flag if annotation.field == "image" else f"--default-{annotation.flag.removeprefix('--')}"


@click.command(epilog=EPILOG)
@_option("--listen", parse_address, "HOST:PORT", "Where the API server's calls come in.", ":8443")
@_option("--tls-dir", Path, "DIR", "A mounted Secret with tls.crt and tls.key.", "/etc/sidecar/injector/tls")
@_option("--client-ca", Path, "FILE", "Answer reviews only for clients whose certificate this authority vouches for.")
@_choice(
    "--fail",
    ("open", "closed"),
    "What becomes of a pod that asks for a sidecar and cannot get it: open lets it in and warns, closed keeps it out. "
    "When the injector itself is down, failurePolicy of the webhook decides.",
    "open",
)
@_option("--namespaces", _parse_namespaces, "NAME[,NAME…]", "Look at pods of these only; none: of all.")
@_option("--exclude-namespaces", _parse_namespaces, "NAME[,NAME…]", "Look at all but those of these.", EXCLUDED)
@_option("--drain", parse_duration, "DURATION", "How long to serve on, unready, after SIGTERM.", "10s")
@_option("--grace", parse_duration, "DURATION", "How long reviews in flight may take after that.", "5s")
@_choice("--log-level", ("debug", "info", "warning", "error"), "The least to log; debug has every review.", "info")
@_choice("--log-format", ("auto", "json", "text"), "auto: text on a terminal, json elsewhere.", "auto")
def injector(
    *,
    listen: Address,
    tls_dir: Path,
    client_ca: Path | None,
    fail: str,
    namespaces: frozenset[str] | None,
    exclude_namespaces: frozenset[str],
    drain: float,
    grace: float,
    log_level: str,
    log_format: str,
    **of_pods: str | None,
) -> int:
    """Serve the admission webhook that puts the sidecar into pods as they are made.

    Which pods, and how, is said by their annotations; --image and --default-… are for what they do not say.
    """
    defaults = _defaults(of_pods)
    # Imported for this command only: the server, and what makes patches.
    try:
        from sidecar.kube.certificate import ServingCertificate, UnusableCertificate
        from sidecar.kube.review import Fail, Rules
        from sidecar.kube.webhook import Webhook, WebhookSettings
    except ModuleNotFoundError as error:
        raise SettingsError(f"{error.name} is missing: pip install 'resilience-sidecar[kube]'") from None
    import uvloop

    from sidecar.telemetry.logs import start_logging, stop_logging

    try:
        certificate = ServingCertificate(tls_dir, client_ca)
    except UnusableCertificate as error:
        raise SettingsError(str(error)) from None
    rules = Rules(defaults, Fail(fail), namespaces or frozenset(), exclude_namespaces or frozenset())
    settings = WebhookSettings(client_ca is not None, drain, grace)
    listener = _bind(listen)
    json = None if log_format == "auto" else log_format == "json"
    writer = start_logging(json=json, level=logging.getLevelName(log_level.upper()))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            gc.freeze()
            runner.run(Webhook(rules, certificate, settings).serve(listener))
    finally:
        stop_logging(writer)
    return 0


injector.params.extend(_of_pods(annotation) for annotation in VOCABULARY if annotation.name != INJECT)


def _defaults(given: dict[str, str | None]) -> Defaults:
    """Raises `SettingsError`: what would be wrong with every pod is said at the start."""
    defaults = Defaults(**{name.removeprefix(DEFAULT): text or "" for name, text in given.items()})
    problems: list[str] = []
    read_annotations({}, defaults, problems)
    if problems:
        raise SettingsError(_with_our_flags("; ".join(problems)))
    return defaults


def _with_our_flags(text: str) -> str:
    for annotation in VOCABULARY:
        text = text.replace(f"from {annotation.flag})", f"from {_default_flag(annotation)})")
    return text


def _bind(address: Address) -> socket.socket:
    every = not address.host and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if every or ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=family, backlog=BACKLOG, dualstack_ipv6=every)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
        raise SettingsError(
            f"--listen / {PREFIX}LISTEN: expected an address that is free to listen on, got '{address}' "
            f"({reason.lower()})"
        ) from None
