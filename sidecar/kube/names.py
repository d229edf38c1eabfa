"""What our parts of a pod are called, and where they stand: paths, ports, names."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

SIDECAR: Final = "sidecar"
FIREWALL: Final = "sidecar-firewall"

CA_VOLUME: Final = "sidecar-ca"
STATE_VOLUME: Final = "sidecar-state"
CA_DIR: Final = "/run/sidecar/ca"
STATE_DIR: Final = "/var/lib/sidecar"
POLICIES_DIR: Final = "/etc/sidecar/policies"
SECRETS_DIR: Final = "/etc/sidecar/secrets"

CALLS_PORT: Final = 7600
ADMIN_PORT: Final = 7601
WEBHOOKS_PORT: Final = 7602
TRANSPARENT_PORT: Final = 7603
ADMIN_PORT_NAME: Final = "sidecar-admin"
"""Fifteen characters are the most that a port's name may have."""

LONGEST_NAME: Final = 63


def policies_volume(config_map: str) -> str:
    return _volume("sidecar-policies-", config_map)


def secret_volume(secret: str) -> str:
    return _volume("sidecar-secret-", secret)


def _volume(prefix: str, name: str) -> str:
    """A volume's name is a label: no dots, and short. What does not fit gets a digest, so that names stay apart."""
    if "." not in name and len(prefix) + len(name) <= LONGEST_NAME:
        return prefix + name
    digest = sha256(name.encode()).hexdigest()[:8]
    return f"{prefix}{name.replace('.', '-')[: LONGEST_NAME - len(prefix) - 9].rstrip('-')}-{digest}"
