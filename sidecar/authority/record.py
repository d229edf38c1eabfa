"""What is in force, in a file beside it: enough to start with, to refuse with and to tell of, without the key.

Reading a key and certificates takes a library of a dozen megabytes and a tenth of a second. A process that finds
everything as the record says it was needs neither until the first connection is to be opened.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from sidecar.authority.names import Constraint, Hosts
from sidecar.files import PRIVATE, replace_if_other, stamp

RECORD_FILE: Final = "authority.json"
KEY_FILE: Final = "ca.key"
CERT_FILE: Final = "ca.crt"
ROOT_FILE: Final = "ca.crt"
"""Beside a supplied certificate, in which cert-manager puts the root."""
VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Places:
    """Where the authority's files are; without `cert_file` and `key_file` it is our own, and in `state`."""

    state: Path
    ca_dir: Path
    cert_file: Path | None = None
    key_file: Path | None = None

    def stamps(self) -> dict[str, str]:
        """One for each file that the authority is read from; another as soon as the file is."""
        given = [path for path in (self.cert_file, self.key_file) if path is not None]
        if self.cert_file is not None:
            given.append(self.cert_file.with_name(ROOT_FILE))
        return stamps(given or [self.state / KEY_FILE, self.state / CERT_FILE])


def stamps(paths: Sequence[Path]) -> dict[str, str]:
    return {str(path): stamp(path) for path in paths}


@dataclass(frozen=True, slots=True)
class Record:
    """The authority as it was when last read."""

    supplied: bool
    stamps: Mapping[str, str]
    begins_s: float
    ends_s: float
    """Unix times between which the issuer is in force."""
    renew_at_s: float | None
    """When the next is made; None for one that others renew."""
    constraints: Sequence[Mapping[str, Sequence[str] | None]]
    """`permitted` (None: any name) and `excluded`; all of them hold."""
    anchors: str
    """What is published, PEM."""
    certificates: Sequence[Mapping[str, Any]]
    """What may be shown of them."""

    @classmethod
    def read(cls, state: Path) -> Record | None:
        """None where there is none, or one that is damaged or of another version."""
        try:
            found = json.loads((state / RECORD_FILE).read_bytes())
            record = found["record"]
            if found["version"] != VERSION or found["sha256"] != _digest(record):
                return None
            return cls(**record)
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None

    def write(self, state: Path) -> None:
        """Raises OSError."""
        record = json.loads(json.dumps(asdict(self)))
        document = {"version": VERSION, "sha256": _digest(record), "record": record}
        replace_if_other(state / RECORD_FILE, json.dumps(document, indent=1).encode(), PRIVATE)

    def serves(self, places: Places, hosts: Hosts, now_s: float) -> bool:
        """Whether nothing has to be read or made for these hosts now."""
        return self.in_force(now_s) and not self.due(places, hosts, now_s)

    def due(self, places: Places, hosts: Hosts, now_s: float) -> bool:
        """Whether a file was replaced, or the certificate must be: past its time, or too narrow."""
        if self.stamps != places.stamps():
            return True
        if self.renew_at_s is None:
            return False
        return not self.begins_s <= now_s < self.renew_at_s or not all(map(self.permits, hosts.bases))

    def in_force(self, now_s: float) -> bool:
        return self.begins_s <= now_s < self.ends_s

    def permits(self, name: str) -> bool:
        return all(_constraint(each).permits(name) for each in self.constraints)

    def late(self, name: str) -> bool:
        """Whether a certificate that some application may have read does not permit `name`."""
        older = (row for row in self.certificates if not row["published"])
        return any(not _constraint(row).permits(name) for row in older)


def constraint_row(constraint: Constraint) -> dict[str, Sequence[str] | None]:
    permitted = constraint.permitted
    return {"permitted": None if permitted is None else sorted(permitted), "excluded": sorted(constraint.excluded)}


def _constraint(row: Mapping[str, Any]) -> Constraint:
    permitted = row["permitted"]
    return Constraint(None if permitted is None else frozenset(permitted), frozenset(row["excluded"]))


def _digest(record: Mapping[str, Any]) -> str:
    return sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
