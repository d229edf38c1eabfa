"""What an annotation's text may be, and what it means. Pure; each reader raises `NotUnderstood`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, TypeAlias

from sidecar.errors import SettingsError
from sidecar.firewall.rules import HIGHEST_UID, parse_networks, parse_ports
from sidecar.policy.units import NotUnderstood
from sidecar.settings import SETTINGS, read_settings

Pairs: TypeAlias = tuple[tuple[str, str], ...]

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_QUANTITY = re.compile(r"[0-9]{1,9}(\.[0-9]{1,3})?(m|[kMGTP]|[KMGTP]i)?")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]*")
_PATH = re.compile(r"[A-Za-z0-9._~!$&'()*+;=:@%/-]+")
_NEXT_VARIABLE = re.compile(r",\s*(?=[A-Z][A-Z0-9_]*=)")
_SCALES = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
_SCALES |= {f"{prefix}i": 1024.0**power for power, prefix in enumerate("KMGTP", start=1)}

SECRET_REFERENCE: Final = "secret:"
ELSEWHERE: Final = {
    "SIDECAR_POLICIES": "sidecar/policies",
    "SIDECAR_STATE": "sidecar/state",
    "SIDECAR_DRAIN": "sidecar/drain",
    "SIDECAR_LOG_LEVEL": "sidecar/log-level",
    "SIDECAR_TRANSPARENT": "sidecar/mode: transparent",
}
"""Settings that an annotation of their own sets."""
FIXED: Final = ("SIDECAR_LISTEN", "SIDECAR_ADMIN", "SIDECAR_CA_DIR", "SIDECAR_PROXY_AUTH")
"""Settings that the rest of the pod relies on."""


@dataclass(frozen=True, slots=True)
class Range:
    """What is asked for, and the most that may be had, as Kubernetes writes quantities; None: no limit."""

    request: str
    limit: str | None = None


def quantity(text: str) -> float:
    """The number that `96Mi` or `50m` stands for; the text is known to be one."""
    digits = text.rstrip("mkMGTPi")
    return float(digits) * _SCALES[text[len(digits) :]]


def meant(word: str, known: tuple[str, ...]) -> str:
    near = get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else ""


def parse_choice(*choices: str) -> Callable[[str], str]:
    expected = f"{', '.join(choices[:-1])} or {choices[-1]}"

    def parse(text: str) -> str:
        if text not in choices:
            raise NotUnderstood(expected, meant(text, choices))
        return text

    return parse


def parse_switch(text: str) -> bool:
    if text in ("true", "false"):
        return text == "true"
    hint = {"yes": "true", "on": "true", "enabled": "true", "1": "true", "no": "false", "off": "false", "0": "false"}
    near = hint.get(text.lower(), "")
    raise NotUnderstood("true or false", f"did you mean {near}?" if near else meant(text, ("true", "false")))


def parse_name(text: str) -> str:
    if len(text) <= 253 and _NAME.fullmatch(text) and ".." not in text:
        return text
    lower = re.sub(r"[^a-z0-9.-]+", "-", text.lower()).strip("-.")
    raise NotUnderstood("a name of lower-case letters, digits and dashes", f"did you mean {lower}?" if lower else "")


def parse_names(text: str) -> tuple[str, ...]:
    """Names with commas between them, in order, each once."""
    return tuple(dict.fromkeys(parse_name(part) for part in _parts(text)))


def parse_state(text: str) -> str | None:
    """None for a directory that goes with the pod, else a claim's name."""
    if text.lower() == "emptydir":
        return None
    return parse_name(text)


def parse_image(text: str) -> str:
    if not _IMAGE.fullmatch(text):
        raise NotUnderstood("an image such as sidecar:0.1.0")
    return text


def parse_range(*, without_limit: str | None, example: str) -> Callable[[str], Range]:
    """`96Mi`, or `96Mi/256Mi` with a limit. A request alone gets the limit `without_limit`, or is its own if larger."""

    def parse(text: str) -> Range:
        request, slash, limit = text.partition("/")
        if not _QUANTITY.fullmatch(request) or (slash and not _QUANTITY.fullmatch(limit)):
            hint = re.sub(r"(?<=\d)\s*([KMGT]i?)B\b", r"\1", text.strip())
            raise NotUnderstood(f"a quantity such as {example}", f"did you mean {hint}?" if hint != text else "")
        if quantity(request) == 0 or (slash and quantity(limit) < quantity(request)):
            raise NotUnderstood(f"a quantity such as {example}", "a limit is no less than the request, which is not 0")
        if slash:
            return Range(request, limit)
        if without_limit is None:
            return Range(request)
        return Range(request, max(without_limit, request, key=quantity))

    return parse


def parse_user(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 11 and 1 <= int(text) <= HIGHEST_UID:
        return int(text)
    hint = "the sidecar does not run as root" if text in ("0", "root") else ""
    raise NotUnderstood("a user's number such as 65532", hint)


def parse_spared_ports(text: str) -> str:
    """As `sidecar firewall up --exclude-port` takes them; `none` is empty."""
    if text == "none":
        return ""
    try:
        parse_ports(text)
    except ValueError:
        raise NotUnderstood("ports such as 5432,6379 or 8000-8100, or none") from None
    return text.replace(" ", "")


def parse_spared_networks(text: str) -> str:
    """As `sidecar firewall up --exclude` takes them; `none` is empty."""
    if text == "none":
        return ""
    try:
        parse_networks(text)
    except ValueError as error:
        _, _, hint = str(error).partition("; ")
        raise NotUnderstood("networks such as 10.0.0.0/8,fd00::/8, or none", hint) from None
    return text.replace(" ", "")


def parse_base_urls(text: str) -> Pairs:
    """`STRIPE_API_BASE=stripe,OPENAI_BASE_URL=openai/v1`: a variable, and the path below the sidecar's own URL."""
    pairs = []
    for part in _parts(text):
        name, equals, path = part.partition("=")
        if not (equals and _VARIABLE.fullmatch(name) and _PATH.fullmatch(path)):
            raise NotUnderstood("variables and providers such as STRIPE_API_BASE=stripe,OPENAI_BASE_URL=openai/v1")
        if "://" in path:
            raise NotUnderstood(f"a provider behind {name}=, as it is called in the policies", "no URL")
        pairs.append((name, path.strip("/")))
    return _once(pairs)


def parse_env(text: str) -> Pairs:
    """`SIDECAR_GRACE=10s,OTEL_TRACES_SAMPLER=…`: a comma ends a value where a further `NAME=` follows."""
    pairs = []
    for part in _NEXT_VARIABLE.split(text.strip().rstrip(",")):
        name, equals, value = part.strip().partition("=")
        if not equals:
            raise NotUnderstood("settings of the sidecar such as SIDECAR_GRACE=10s,OTEL_TRACES_SAMPLER=always_on")
        _check_variable(name, value.strip())
        pairs.append((name, value.strip()))
    return _once(pairs)


def secret_reference(value: str) -> tuple[str, str] | None:
    """Secret and key of `secret:NAME/KEY`."""
    if not value.startswith(SECRET_REFERENCE):
        return None
    name, _, key = value.removeprefix(SECRET_REFERENCE).partition("/")
    return name, key


def _check_variable(name: str, value: str) -> None:
    if name in ELSEWHERE:
        raise NotUnderstood("other settings", f"{name} is set by {ELSEWHERE[name]}")
    if name in FIXED:
        raise NotUnderstood("other settings", f"{name} is fixed in a pod, where other containers rely on it")
    setting = next((one for one in SETTINGS if one.variable == name), None)
    if setting is None and not name.startswith("OTEL_"):
        known = tuple(one.variable.lower() for one in SETTINGS)
        hint = meant(name, known).upper().replace("DID YOU MEAN", "did you mean")
        raise NotUnderstood("variables SIDECAR_… (docs/running.md) or OTEL_…", hint or f"{name} is neither")
    if reference := secret_reference(value):
        secret, key = reference
        if not (_NAME.fullmatch(secret) and re.fullmatch(r"[-._A-Za-z0-9]+", key)):
            raise NotUnderstood(f"{name}=secret:NAME/KEY", "the Secret's name, a slash, and the key in it")
        return
    if setting is None:
        return
    if setting.secret:
        raise NotUnderstood(f"{name}=secret:NAME/KEY", "a secret's value is taken from a Secret, never from a manifest")
    try:
        read_settings({}, {name: value})
    except SettingsError as error:
        raise NotUnderstood("a value that the setting takes", str(error).removesuffix(f" (from {name})")) from None


def _parts(text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise NotUnderstood("names with single commas between them", "something is missing beside a comma")
    return parts


def _once(pairs: list[tuple[str, str]]) -> Pairs:
    for name, _ in pairs:
        if sum(name == other for other, _ in pairs) > 1:
            raise NotUnderstood("each variable once", f"{name} is there twice")
    return tuple(pairs)
