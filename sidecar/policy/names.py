"""The names a policy may contain: providers, hosts, origins, header fields, methods, pointers into JSON.

What may live here: whether a text is such a name, and its one normal form. No files, no lookups.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from sidecar.policy.units import NotUnderstood

DEFAULT_PORTS = {"http": 80, "https": 443}

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_POINTER = re.compile(r"(/([^~/]|~0|~1)*)*")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where bytes go: scheme, host (lower case; IPv6 without brackets) and port."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if DEFAULT_PORTS[self.scheme] == self.port else f":{self.port}")


def parse_name(value: object) -> str:
    """A provider's or a route's name, as it stands in URLs, metrics and spans."""
    if isinstance(value, str) and _NAME.fullmatch(value):
        return value
    expected = "a name of lower-case letters, digits, - and _, at most 63, beginning with a letter or digit"
    raise NotUnderstood(expected, _meant_name(value))


def _meant_name(value: object) -> str:
    if not isinstance(value, str):
        return f'quote it: "{value}"' if isinstance(value, int) and not isinstance(value, bool) else ""
    suggestion = re.sub(r"[^a-z0-9_-]+", "-", value.lower()).strip("-_")[:63]
    return f"did you mean {suggestion}?" if suggestion else ""


def parse_host(value: object) -> str:
    """A host as a Host field has it, in lower case; without a port it stands for any, `*.x.com` for all below x.com."""
    expected = "a host such as api.example.com, or *.example.com for all below it"
    if not isinstance(value, str):
        raise NotUnderstood(expected)
    if "://" in value or "/" in value:
        bare = urlsplit(value if "://" in value else f"//{value}").netloc
        raise NotUnderstood(expected, f"did you mean {bare}?" if bare else "leave the path out")
    name, port = _split_port(value.lower(), expected)
    if not _is_host(name.removeprefix("*.").removesuffix(".")):
        hint = "a * may only stand for the first labels, as in *.example.com" if "*" in name else ""
        raise NotUnderstood(expected, hint)
    name = f"[{name}]" if ":" in name else name.removesuffix(".")
    return name if port is None else f"{name}:{port}"


def parse_origin(value: object) -> Origin:
    """An upstream: scheme, host and perhaps a port, and nothing behind them."""
    expected = "an upstream such as https://api.example.com or https://10.0.0.7:8443"
    if not isinstance(value, str):
        raise NotUnderstood(expected)
    parts = _split_url(value, expected)
    scheme = parts.scheme.lower()
    if scheme not in DEFAULT_PORTS or not parts.netloc:
        raise NotUnderstood(expected, f"did you mean https://{value}?" if "://" not in value else "use https://")
    if parts.username is not None or parts.password is not None:
        raise NotUnderstood(expected, "leave user and password out")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise NotUnderstood(expected, "leave the path out: calls bring their own")
    host = (parts.hostname or "").removesuffix(".")
    if not _is_host(host):
        raise NotUnderstood(expected)
    port = parts.port
    return Origin(scheme, host, DEFAULT_PORTS[scheme] if port is None else _checked_port(port, expected))


def parse_header_name(value: object) -> str:
    """A field name as written (RFC 9110 5.1); compare it without regard to case."""
    if isinstance(value, str) and _TOKEN.fullmatch(value):
        return value
    raise NotUnderstood("a header name such as Retry-After")


def parse_method(value: object) -> str:
    """A method, which is case-sensitive (RFC 9110 9.1)."""
    if isinstance(value, str) and _TOKEN.fullmatch(value) and value == value.upper():
        return value
    hint = f"did you mean {value.upper()}?" if isinstance(value, str) and _TOKEN.fullmatch(value) else ""
    raise NotUnderstood("a method in capitals such as GET", hint)


def parse_pointer(value: object) -> str:
    """A JSON pointer (RFC 6901): `/error/code`, `/0/errorCode`, or empty for the whole document."""
    if isinstance(value, str) and _POINTER.fullmatch(value):
        return value
    hint = f"did you mean /{value.replace('.', '/')}?" if isinstance(value, str) and "~" not in value else ""
    raise NotUnderstood("a JSON pointer such as /error/code", hint)


def _split_url(text: str, expected: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        _ = parts.port, parts.hostname
    except ValueError as error:
        raise NotUnderstood(expected) from error
    return parts


def _split_port(text: str, expected: str) -> tuple[str, int | None]:
    if text.startswith("["):
        inside, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise NotUnderstood(expected)
        return inside, _checked_port(rest[1:], expected) if rest else None
    name, colon, port = text.partition(":")
    if ":" in port:
        return text, None
    return name, _checked_port(port, expected) if colon else None


def _checked_port(port: str | int, expected: str) -> int:
    if isinstance(port, str) and not (port.isascii() and port.isdigit() and len(port) <= 5):
        raise NotUnderstood(expected, "a port is a number from 1 to 65535")
    if not 0 < int(port) < 65536:
        raise NotUnderstood(expected, "a port is a number from 1 to 65535")
    return int(port)


def _is_host(text: str) -> bool:
    if not text or len(text) > 253:
        return False
    if ":" in text or text.replace(".", "").isdigit():
        try:
            ip_address(text)
        except ValueError:
            return False
        return True
    return all(_LABEL.fullmatch(label) for label in text.split("."))
