"""What one process is told by its command line and environment: flag before variable before default.

Each setting stands once, below, with its default as a user would write it, how it is read, and its meaning. The flag,
the variable, the help page and `docs/running.md` follow from that.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias, get_type_hints
from urllib.parse import urlsplit

from sidecar.address import Address, parse_address
from sidecar.errors import SettingsError
from sidecar.policy.units import NotUnderstood, parse_duration, parse_size

Written: TypeAlias = str | tuple[str, ...] | None
"""What a flag was given: nothing, a text, or, for a repeatable one, several."""

UNITS: Final = ("_bytes_per_s", "_bytes", "_s")
"""What a field's name says of its number, and a flag leaves to its value."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How one field of `Settings` is read and explained. `default` is written as a user would; empty for none."""

    default: str
    parse: Callable[[str], Any]
    metavar: str
    help: str
    repeatable: bool = False
    secret: bool = False
    """From the environment only, since everybody on a machine can read its command lines; never shown."""
    credentials: bool = False
    """A URL that may hold a password: shown without it."""
    name: str = ""

    @property
    def word(self) -> str:
        """The field's name without its unit."""
        return next((self.name.removesuffix(unit) for unit in UNITS if self.name.endswith(unit)), self.name)

    @property
    def flag(self) -> str:
        return f"--{self.word.replace('_', '-')}"

    @property
    def variable(self) -> str:
        return f"SIDECAR_{self.word.upper()}"

    @property
    def title(self) -> str:
        return self.variable if self.secret else f"{self.flag} / {self.variable}"


def parse_count(text: str, most: int = 1_000_000) -> int:
    if text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most:
        return int(text)
    raise NotUnderstood(f"a whole number from 1 to {most}")


def parse_choice(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in choices:
            raise NotUnderstood(f"{', '.join(choices[:-1])} or {choices[-1]}")
        return text.lower()

    return parse


def parse_some_time(text: str) -> float:
    """A duration that is not zero."""
    seconds = 0.0 if text == "0" else parse_duration(text)
    if seconds == 0:
        raise NotUnderstood("a duration longer than zero")
    return seconds


def parse_some_bytes(text: str) -> int:
    """A size that is not zero."""
    size = parse_size(text)
    if size == 0:
        raise NotUnderstood("a size larger than zero")
    return size


def parse_size_or_none(text: str) -> int | None:
    return None if text == "none" else parse_size(text)


def parse_size_per_s(text: str) -> int:
    """Bytes per second."""
    size, slash, per = text.partition("/")
    if text == "0":
        return 0
    if not slash or per != "s":
        raise NotUnderstood("a size per second such as 64B/s, or 0 for none")
    return parse_size(size)


def parse_size_or_off(text: str) -> int | None:
    return None if text.lower() == "off" else parse_some_bytes(text)


def parse_size_or_auto(text: str) -> int | None:
    if text.lower() == "auto":
        return None
    try:
        return parse_some_bytes(text)
    except NotUnderstood as error:
        raise NotUnderstood(f"{error.expected}, or auto", "" if text == "0" else error.hint) from None


def parse_redis(text: str) -> str:
    """A URL as the Redis client takes it, unchanged."""
    expected = "a URL such as redis://10.0.0.5:6379/0, rediss://cache.example:6380 or unix:///run/redis.sock"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise NotUnderstood(expected) from None
    if parts.scheme not in ("redis", "rediss", "unix") or not text.isprintable() or " " in text:
        raise NotUnderstood(expected, "" if "://" in text else "it begins with redis://")
    if parts.scheme == "unix" and (not parts.path.strip("/") or host):
        raise NotUnderstood(expected, "a socket's path begins with a slash, so that there are three of them")
    if parts.scheme != "unix" and (not host or port == 0):
        raise NotUnderstood(expected, "the host is missing" if not host else "a port is a number from 1 to 65535")
    if parts.scheme != "unix" and not re.fullmatch(r"(/([0-9]{1,4})?)?", parts.path):
        raise NotUnderstood(expected, "behind the host comes a slash and the number of the database")
    return text


def without_credentials(url: str) -> str:
    """A URL as it may be shown: without user, password and query."""
    plain, question, _ = url.partition("?")
    scheme, slashes, rest = plain.rpartition("://")
    _, at, rest = rest.rpartition("@")
    return f"{scheme}{slashes}{'…@' if at else ''}{rest}{'?…' if question else ''}"


def parse_path(text: str) -> Path:
    if not text.strip() or "\0" in text:
        raise NotUnderstood("a path")
    return Path(text)


def parse_path_or_off(text: str) -> Path | None:
    return None if text.lower() == "off" else parse_path(text)


def parse_paths(text: str) -> tuple[Path, ...]:
    """Paths with `:` between them, as in PATH."""
    return tuple(parse_path(part) for part in text.split(os.pathsep))


def parse_token(text: str) -> str:
    if len(text) < 8 or not text.isascii() or not text.isprintable() or " " in text:
        raise NotUnderstood("at least 8 ASCII characters without spaces")
    return text


def parse_proxy_auth(text: str) -> str:
    user, colon, password = text.partition(":")
    if not (user and colon and password and text.isascii() and text.isprintable()):
        raise NotUnderstood("a user and a password with a colon between them, in ASCII")
    return text


def parse_cache_secret(text: str) -> str:
    if len(text) < 16 or not text.isascii() or not text.isprintable():
        raise NotUnderstood("at least 16 ASCII characters")
    return text


_address = partial(Setting, parse=parse_address, metavar="HOST:PORT")
_count = partial(Setting, parse=parse_count, metavar="COUNT")
_duration = partial(Setting, parse=parse_duration, metavar="DURATION")
_some_time = partial(Setting, parse=parse_some_time, metavar="DURATION")
_some_bytes = partial(Setting, parse=parse_some_bytes, metavar="SIZE")


@dataclass(frozen=True)
class Settings:
    """Every setting of the process; `read_settings` makes them. Durations in seconds, sizes in bytes."""

    listen: Annotated[Address, _address("127.0.0.1:7600", help="Where the application's calls come in.")]
    admin: Annotated[Address, _address("127.0.0.1:7601", help="Where health, metrics and state are served.")]
    policies: Annotated[
        tuple[Path, ...],
        Setting(
            "",
            parse_paths,
            "PATH",
            "A policy file, or a directory of them; none: the packs that are shipped. Repeatable; "
            "in the variable, `:` stands between paths.",
            repeatable=True,
        ),
    ]
    unfit_policies: Annotated[
        str,
        Setting(
            "exit",
            parse_choice("exit", "wait"),
            "exit|wait",
            "What a start does whose policies are broken or missing; wait: refuse calls until they are mended.",
        ),
    ]
    state: Annotated[Path, Setting(".sidecar", parse_path, "DIR", "Where what must survive a restart is kept.")]

    ca_dir: Annotated[
        Path | None,
        Setting(
            "/run/sidecar/ca",
            parse_path_or_off,
            "DIR",
            "Where the application finds the certificates of interception, `ca.crt` and `bundle.crt`; off: HTTPS is "
            "tunnelled.",
        ),
    ]
    ca_cert: Annotated[
        Path | None, Setting("", parse_path, "FILE", "An authority of yours in place of our own: its certificate, PEM.")
    ]
    ca_key: Annotated[Path | None, Setting("", parse_path, "FILE", "Its key, PEM, without a passphrase.")]
    transparent: Annotated[
        Address | None,
        Setting("", parse_address, "HOST:PORT", "Where redirected connections come in, such as `0.0.0.0:7603`."),
    ]
    proxy_auth: Annotated[
        str | None,
        Setting(
            "",
            parse_proxy_auth,
            "USER:PASSWORD",
            "What clients must show that use the sidecar as a proxy.",
            secret=True,
        ),
    ] = field(repr=False)

    drain_s: Annotated[float, _duration("25s", help="How long to serve on, unready, after SIGTERM.")]
    grace_s: Annotated[float, _duration("4s", help="How long calls in flight may take when that is over.")]

    max_request_line_bytes: Annotated[int, _some_bytes("8KiB", help="The longest request target.")]
    max_header_count: Annotated[int, _count("100", help="The most fields in a request's head.")]
    max_header_bytes: Annotated[int, _some_bytes("64KiB", help="The largest request head.")]
    max_body_bytes: Annotated[
        int | None,
        Setting("none", parse_size_or_none, "SIZE", "The largest request body; none: any, as bodies stream."),
    ]
    replay_bytes: Annotated[
        int, Setting("64KiB", parse_size, "SIZE", "The largest request body that is kept, and so may be retried.")
    ]
    max_connections: Annotated[int, _count("20000", help="The most connections of applications at once.")]
    backlog: Annotated[int, _count("1024", help="The most connections that wait to be accepted.")]
    idle_timeout_s: Annotated[float, _some_time("300s", help="How long a connection may stay without a request.")]
    header_timeout_s: Annotated[float, _some_time("10s", help="How long a request's head may take to arrive.")]
    min_body_rate_bytes_per_s: Annotated[
        int, Setting("64B/s", parse_size_per_s, "SIZE/s", "The slowest that a request body may arrive; 0: any.")
    ]
    body_rate_grace_s: Annotated[float, _duration("10s", help="How long a request body may be slower than that.")]

    pool_size: Annotated[int, _count("256", help="The most connections to one provider.")]
    pool_idle_s: Annotated[float, _some_time("30s", help="How long an unused connection to a provider is kept.")]
    dns_ttl_s: Annotated[float, _duration("30s", help="How long a provider's resolved address is kept.")]

    cache_memory_bytes: Annotated[
        int | None,
        Setting(
            "auto",
            parse_size_or_auto,
            "SIZE",
            "How much of providers' replies may be kept in memory; auto: 64MiB, and less in a small container.",
        ),
    ]
    cache_disk_bytes: Annotated[
        int | None,
        Setting(
            "256MiB",
            parse_size_or_off,
            "SIZE",
            "How much of them may be kept in `--state` for a warm start; off: none.",
        ),
    ]
    redis: Annotated[
        str | None,
        Setting(
            "",
            parse_redis,
            "URL",
            "A Redis that sidecars share: `redis://`, `rediss://` (TLS) or `unix://`.",
            credentials=True,
        ),
    ] = field(repr=False)
    redis_timeout_s: Annotated[float, _some_time("5ms", help="How long a call waits for what `--redis` has kept.")]
    cache_secret: Annotated[
        str | None,
        Setting(
            "",
            parse_cache_secret,
            "SECRET",
            "Signs what is kept in `--redis`: the same for every sidecar that shares it.",
            secret=True,
        ),
    ] = field(repr=False)

    log_level: Annotated[
        str,
        Setting("info", parse_choice("debug", "info", "warning", "error"), "LEVEL", "The least to log, up from debug."),
    ]
    log_format: Annotated[
        str,
        Setting("auto", parse_choice("auto", "json", "text"), "FORMAT", "auto: text on a terminal, json elsewhere."),
    ]
    admin_token: Annotated[
        str | None,
        Setting("", parse_token, "TOKEN", "The bearer token that allows changes through `--admin`.", secret=True),
    ] = field(repr=False)


def _declared() -> tuple[Setting, ...]:
    hints = get_type_hints(Settings, include_extras=True)
    return tuple(replace(hint.__metadata__[0], name=name) for name, hint in hints.items())


SETTINGS: Final = _declared()
"""Each field's `Setting`, in order."""


def read_settings(flags: Mapping[str, Written], environ: Mapping[str, str]) -> Settings:
    """Settings from flags, by field name, and variables. Raises `SettingsError`.

    An empty variable counts as absent: that is what a manifest leaves behind where a value was not set.
    """
    settings = Settings(**{setting.name: _value(setting, flags.get(setting.name), environ) for setting in SETTINGS})
    if settings.listen == settings.admin and settings.listen.port:
        raise SettingsError(
            "--listen / SIDECAR_LISTEN and --admin / SIDECAR_ADMIN: expected different addresses, "
            f"got {settings.listen} for both"
        )
    return settings


def _value(setting: Setting, flag: Written, environ: Mapping[str, str]) -> Any:
    if isinstance(flag, str):
        return _read(setting, setting.parse, flag, setting.flag)
    if flag:
        return tuple(_read(setting, parse_path, part, setting.flag) for part in flag)
    if written := environ.get(setting.variable):
        return _read(setting, setting.parse, written, setting.variable)
    if setting.default:
        return setting.parse(setting.default)
    return () if setting.repeatable else None


def _read(setting: Setting, parse: Callable[[str], Any], text: str, source: str) -> Any:
    try:
        return parse(text)
    except NotUnderstood as error:
        got = "another text" if setting.secret else _shown(without_credentials(text) if setting.credentials else text)
        hint = f"; {error.hint}" if error.hint else ""
        raise SettingsError(f"{setting.title}: expected {error.expected}, got {got} (from {source}){hint}") from None


def _shown(text: str, most: int = 80) -> str:
    """A value quoted on one line, and cut where it would fill the screen."""
    return repr(text if len(text) <= most else f"{text[:most]}…")
