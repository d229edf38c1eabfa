"""What a program must find in its environment so that its calls go through the sidecar, and how shells write it.

Pure. A variable is here because a client that people use reads it; docs/clients.md has which.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from sidecar.address import Address

LOCAL: Final = ("localhost", "127.0.0.1", "::1")
CLUSTER: Final = (".svc", ".cluster.local", "$(KUBERNETES_SERVICE_HOST)")
"""A cluster's own services are no providers. The kubelet puts the API server's address in place of the reference."""

CERTIFICATE: Final = "ca.crt"
BUNDLE: Final = "bundle.crt"
TRUST_STORE: Final = "truststore.p12"
"""The names in `--ca-dir`; the last is what `sidecar ca export --format p12` makes for Java."""
TRUST_STORE_PASSWORD: Final = "changeit"
"""Java's own convention. It keeps nothing secret: certificates are public."""

REPLACES: Final = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "AWS_CA_BUNDLE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "HTTPLIB2_CA_CERTS",
)
"""Name the only roots that a client then knows, so they get the system's with ours."""
ADDS: Final = ("NODE_EXTRA_CA_CERTS", "DENO_CERT")
"""Name roots besides a client's own, so ours is enough."""


def exports(
    listen: Address | None,
    ca_dir: Path | None,
    *,
    no_proxy: tuple[str, ...] = (),
    userinfo: str = "",
    trust_store: Path | None = None,
) -> dict[str, str]:
    """Names and values. Without `listen`, nothing about proxies, and without `ca_dir` about certificates; `userinfo` is
    a URL's, as it is written there.
    """
    variables: dict[str, str] = {}
    properties: dict[str, str] = {}
    if listen is not None:
        to = Address(listen.near, listen.port)
        direct = tuple(dict.fromkeys((*LOCAL, *no_proxy)))
        variables |= _proxies(f"http://{userinfo}{'@' if userinfo else ''}{to}", direct)
        properties |= _java_proxies(to, direct)
    if ca_dir is not None:
        variables |= dict.fromkeys(REPLACES, str(ca_dir / BUNDLE))
        variables |= dict.fromkeys(ADDS, str(ca_dir / CERTIFICATE))
    if trust_store is not None:
        properties |= {
            "javax.net.ssl.trustStore": str(trust_store),
            "javax.net.ssl.trustStorePassword": TRUST_STORE_PASSWORD,
        }
    if properties:
        variables["JAVA_TOOL_OPTIONS"] = " ".join(_java_word(f"-D{name}={text}") for name, text in properties.items())
    return variables


def _proxies(url: str, direct: tuple[str, ...]) -> dict[str, str]:
    """In both cases, since clients differ in which they read."""
    variables: dict[str, str] = {}
    for name, value in (("HTTP_PROXY", url), ("HTTPS_PROXY", url), ("NO_PROXY", ",".join(direct))):
        variables[name] = variables[name.lower()] = value
    return variables | {"NODE_USE_ENV_PROXY": "1"}


def _java_proxies(to: Address, direct: tuple[str, ...]) -> dict[str, str]:
    """A JVM's properties: it reads no proxy variables."""
    properties: dict[str, str] = {}
    for scheme in ("http", "https"):
        properties |= {f"{scheme}.proxyHost": to.host, f"{scheme}.proxyPort": str(to.port)}
    return properties | {"http.nonProxyHosts": "|".join(filter(None, map(_java_pattern, direct)))}


def _java_pattern(entry: str) -> str:
    """A NO_PROXY entry in Java's terms, where a `*` stands for the rest and networks cannot be said."""
    if "/" in entry:
        return ""
    if ":" in entry:
        return f"[{entry}]"
    return f"*{entry}" if entry.startswith(".") else "127.*" if entry == "127.0.0.1" else entry


def _java_word(text: str) -> str:
    """The JVM splits at blanks, and knows quotes but no escapes."""
    return f'"{text}"' if any(char.isspace() for char in text) else text


def _sh(name: str, value: str) -> str:
    return f"export {name}={shlex.quote(value)}"


def _fish(name: str, value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"set -gx {name} '{escaped}'"


def _dotenv(name: str, value: str) -> str:
    return f"{name}={shlex.quote(value)}"


SHELLS: Final[Mapping[str, Callable[[str, str], str]]] = {"sh": _sh, "fish": _fish, "dotenv": _dotenv}


def for_shell(shell: str, variables: Mapping[str, str]) -> str:
    return "\n".join(SHELLS[shell](name, value) for name, value in variables.items())


def for_container(variables: Mapping[str, str]) -> str:
    """Entries of a container's `env`, in YAML."""
    return "\n".join(f"- name: {name}\n  value: {json.dumps(value)}" for name, value in variables.items())
