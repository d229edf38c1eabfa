"""The certificate files that a policy names: where they are, and whether they can be used.

What may live here: looking at those files once, while policies load. Connections read them for themselves.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from sidecar.policy.problem import PolicyProblem, show
from sidecar.policy.tree import Node
from sidecar.policy.volume import beside

FILES = ("ca_file", "client_cert", "client_key")

Signature: TypeAlias = tuple[int, int, int]
Look: TypeAlias = Callable[[tuple[str, ...], tuple[Signature, ...]], str]


def resolve_files(tree: Node) -> Node:
    """The tree with `tls` paths made absolute, each from the directory of the file in which it was written."""
    tls = tree.get("tls")
    if tls is None or not isinstance(tls.value, dict) or not isinstance(tree.value, dict):
        return tree
    resolved = {key: _resolved(node) if key in FILES else node for key, node in tls.value.items()}
    return Node({**tree.value, "tls": Node(resolved, tls.place, tls.key_place)}, tree.place, tree.key_place)


def tls_problems(tree: Node) -> Iterator[PolicyProblem]:
    """Files that do not exist or hold something else, and halves of a pair; `tree` has been resolved."""
    tls = tree.get("tls")
    if tls is None or not isinstance(tls.value, dict):
        return
    ca, cert, key = (tls.get(name) for name in FILES)
    if ca is not None and isinstance(ca.value, str):
        fault = _fault(_no_roots, ca.value)
        if fault:
            yield _problem(ca, "ca_file", "a file of PEM certificates", fault)
    if cert is not None and key is None:
        yield _problem(cert, "client_cert", "client_key beside it", "none")
    if key is not None and cert is None:
        yield _problem(key, "client_key", "client_cert beside it", "none")
    if cert is not None and key is not None and isinstance(cert.value, str) and isinstance(key.value, str):
        fault = _fault(_no_pair, cert.value, key.value)
        if fault:
            yield _problem(cert, "client_cert", "a PEM certificate, and its unencrypted key in client_key", fault)


def _resolved(node: Node) -> Node:
    if not isinstance(node.value, str):
        return node
    return Node(beside(Path(node.place.file), node.value), node.place, node.key_place)


def _fault(look: Look, *files: str) -> str:
    """What is wrong with some files, empty if nothing is; looked at again only when one of them has changed."""
    signatures: list[Signature] = []
    for file in files:
        try:
            status = os.stat(file)
        except OSError as error:
            return f"{show(file)}: {(error.strerror or 'an error').lower()}"
        signatures.append((status.st_ino, status.st_mtime_ns, status.st_size))
    return look(files, tuple(signatures))


@lru_cache(maxsize=256)
def _no_roots(files: tuple[str, ...], _: tuple[Signature, ...]) -> str:
    import ssl  # noqa: PLC0415 - most policies name no certificates

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=files[0])
    except OSError as error:
        return _said(files[0], error)
    return ""


@lru_cache(maxsize=256)
def _no_pair(files: tuple[str, ...], _: tuple[Signature, ...]) -> str:
    import ssl  # noqa: PLC0415

    try:
        # Without a password, OpenSSL would ask for one on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(files[0], files[1], password=_no_password)
    except (OSError, ValueError) as error:
        return _said(" and ".join(files), error)
    return ""


def _no_password() -> str:
    raise ValueError("the key is encrypted")


def _said(file: str, error: Exception) -> str:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    return f"{show(file)}: {str(reason).replace('_', ' ').lower()}"


def _problem(node: Node, key: str, expected: str, got: str) -> PolicyProblem:
    return PolicyProblem(*node.place, f"tls.{key}", expected, got)
