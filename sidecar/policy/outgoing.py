"""What a policy says of the way out: `upstream_proxy`, its credentials, and what goes without it.

What may live here: shapes, and values with their JSON Schema, as in `model.py`. Secrets are read while policies load,
and are in no repr and no error.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Self, TypeAlias

from pydantic import BeforeValidator, Field, PlainValidator, model_validator

from sidecar.policy.attached import read_attached
from sidecar.policy.fields import OrOff, Several, text_schema
from sidecar.policy.names import Origin, parse_host, parse_origin
from sidecar.policy.shape import Model
from sidecar.policy.units import NotUnderstood
from sidecar.rules.no_proxy import NoProxy, no_proxy, read_network

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SEPARATORS = re.compile(r"[,\s]+")
_USER_AND_PASSWORD = "user:password on one line"


def _proxy_url(value: object) -> Origin:
    expected = "a forward proxy such as http://proxy.corp:3128"
    text = value if isinstance(value, str) and "://" in value else f"http://{value}"
    if isinstance(value, Origin):
        return value
    if not isinstance(value, str):
        raise NotUnderstood(expected)
    if "@" in value:
        raise NotUnderstood(expected, "user and password go into credentials, by file or env")
    if text.lower().startswith("https:"):
        raise NotUnderstood(expected, "use http://: TLS to the proxy itself is not supported")
    try:
        origin = parse_origin(text)
    except NotUnderstood as error:
        raise NotUnderstood(expected, error.hint.replace(": calls bring their own", "")) from None
    if text is not value:
        raise NotUnderstood(expected, f"did you mean {text}?")
    return origin


@dataclass(frozen=True, slots=True)
class Secret:
    """Something that is used and never shown."""

    value: bytes = field(repr=False)


def _secret_file(value: object) -> Secret:
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str):
        raise NotUnderstood("a path, relative to the policy file")
    return _basic(read_attached(value), f"a file with {_USER_AND_PASSWORD}")


def _secret_variable(value: object) -> Secret:
    if isinstance(value, Secret):
        return value
    expected = f"the name of an environment variable that holds {_USER_AND_PASSWORD}"
    if not isinstance(value, str) or _VARIABLE.fullmatch(value) is None:
        raise NotUnderstood(expected)
    found = os.environ.get(value)
    if found is None:
        raise NotUnderstood(expected, "it is not set")
    return _basic(found.encode(errors="surrogateescape"), expected)


def _basic(said: bytes, expected: str) -> Secret:
    """The value of `Proxy-Authorization` (RFC 7617)."""
    pair = said.removesuffix(b"\n").removesuffix(b"\r")
    if not pair.partition(b":")[1] or pair.startswith(b":") or any(one < 32 or one == 127 for one in pair):
        raise NotUnderstood(expected)
    return Secret(b"Basic " + b64encode(pair))


SecretFile: TypeAlias = Annotated[Secret, PlainValidator(_secret_file), text_schema("^.+$", "/var/run/secrets/proxy")]
SecretVariable: TypeAlias = Annotated[
    Secret, PlainValidator(_secret_variable), text_schema("^[A-Za-z_][A-Za-z0-9_]*$", "PROXY_CREDENTIALS")
]


def _no_proxy_entries(value: object) -> object:
    """A lone text is what NO_PROXY holds."""
    return tuple(part for part in _SEPARATORS.split(value) if part) if isinstance(value, str) else value


def _no_proxy_entry(value: object) -> str:
    expected = "a host such as example.com, which stands for all below it too, an address, a range or *"
    if not isinstance(value, str):
        raise NotUnderstood(expected)
    if value == "*" or read_network(value) is not None:
        return value
    if value.startswith("*."):
        raise NotUnderstood(expected, f"did you mean {value[1:]}?")
    try:
        host = parse_host(value.removeprefix("."))
    except NotUnderstood as error:
        raise NotUnderstood(expected, error.hint) from None
    if ":" in host or host.startswith("*"):
        raise NotUnderstood(expected, "leave the port out")
    return host


NoProxyEntry: TypeAlias = Annotated[
    str, PlainValidator(_no_proxy_entry), text_schema("^[^ ,]+$", ".svc.cluster.local", "10.0.0.0/8")
]


class ProxyCredentials(Model):
    """User and password for the proxy (RFC 7617), by one of two ways; read when the policies are."""

    file: SecretFile | None = Field(
        None, description="A file with user:password on one line, relative to the policy file."
    )
    env: SecretVariable | None = Field(None, description="An environment variable of the sidecar's with user:password.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.file is None) == (self.env is None):
            raise NotUnderstood("one of file and env")
        return self

    @property
    def authorization(self) -> bytes:
        """The value of `Proxy-Authorization`."""
        secret = self.file or self.env
        return b"" if secret is None else secret.value


class UpstreamProxy(Model):
    """The forward proxy through which the sidecar's own connections leave."""

    url: Annotated[Origin, PlainValidator(_proxy_url), text_schema("^http://[^/@]+/?$", "http://proxy.corp:3128")] = (
        Field(description="Where it is, such as http://proxy.corp:3128.")
    )
    credentials: OrOff[ProxyCredentials] = Field(None, description="User and password for it, or off.")
    no_proxy: Annotated[
        Several[NoProxyEntry], BeforeValidator(_no_proxy_entries, json_schema_input_type=str | tuple[str, ...])
    ] = Field((), description="Hosts that are called without it: names, addresses, ranges, or *.")

    @cached_property
    def _spared(self) -> NoProxy:
        return no_proxy(self.no_proxy)

    def spares(self, host: str) -> bool:
        """Whether a host is called without it."""
        return self._spared.covers(host)

    @property
    def authorization(self) -> bytes:
        """The value of `Proxy-Authorization`; empty for none."""
        return b"" if self.credentials is None else self.credentials.authorization


def _url_alone(value: object) -> object:
    return {"url": value} if isinstance(value, str) else value


OutgoingProxy: TypeAlias = Annotated[
    UpstreamProxy, BeforeValidator(_url_alone, json_schema_input_type=str | UpstreamProxy)
]
"""A lone text is its URL."""
