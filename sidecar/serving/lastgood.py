"""The policies in force, kept in the state directory: so that a restart is no first start, and has a last good version.

What may live here: that file. What a last good version is for is `policy/sources.py`'s.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson

from sidecar.files import PRIVATE, replace_if_other, sweep
from sidecar.policy.files import read_policy
from sidecar.policy.sources import LoadedPolicies, PolicyFile, restore_policies

log = logging.getLogger(__name__)

POLICIES_FILE: Final = "policies.json"
VERSION: Final = 1
MOST_BYTES: Final = 64 * 1024 * 1024


class LastGood:
    """`<state>/policies.json`. Blocks; calls do not wait for it.

    It holds for one list of paths: a pod that mounts other ConfigMaps starts for the first time.
    """

    def __init__(self, state: Path, paths: Sequence[Path]) -> None:
        self._path = state / POLICIES_FILE
        self._paths = [str(path) for path in paths]
        self.trouble = ""
        """Why it cannot be written just now; empty while it can."""

    def recall(self) -> LoadedPolicies | None:
        """What was in force before the restart; None where that is unknown, or of no use any more."""
        files = self._read()
        restored = restore_policies({Path(path): text.encode() for path, text in files.items()}) if files else None
        return None if restored is None or restored.problems else restored

    def keep(self, loaded: LoadedPolicies) -> None:
        """Have it hold what is in force. What cannot be kept is said once, and done without."""
        before = {_digest(text): text for text in self._read().values()}
        texts = {str(file.path): _text(file, before) for file in loaded.files if file.digest}
        if None in texts.values():
            return  # Changed again since it was loaded: the next reload comes soon.
        kept = {"version": VERSION, "paths": self._paths, "files": texts}
        try:
            sweep(self._path)
            replace_if_other(self._path, orjson.dumps(kept), PRIVATE)
        except OSError as error:
            self._say(os.strerror(error.errno or 0).lower())
        else:
            self.trouble = ""

    def _read(self) -> Mapping[str, str]:
        """The texts by their paths; none where the file is missing, foreign or damaged."""
        try:
            with self._path.open("rb") as file:
                kept = orjson.loads(file.read(MOST_BYTES))
        except (OSError, orjson.JSONDecodeError):
            return {}
        return kept["files"] if self._is_ours(kept) else {}

    def _is_ours(self, kept: Any) -> bool:
        return (
            isinstance(kept, dict)
            and kept.get("version") == VERSION
            and kept.get("paths") == self._paths
            and isinstance(files := kept.get("files"), dict)
            and all(isinstance(text, str) for text in files.values())
        )

    def _say(self, reason: str) -> None:
        if not self.trouble:
            message = "the policies in force cannot be kept: after a restart only what is mounted counts"
            log.warning(message, extra={"file": POLICIES_FILE, "reason": reason})
        self.trouble = reason


def _text(file: PolicyFile, before: Mapping[str, str]) -> str | None:
    """What is in force of a file: what it holds, or, where that is broken by now, what was kept of it."""
    data = read_policy(file.path)
    if isinstance(data, bytes) and sha256(data).hexdigest() == file.digest:
        return data.decode()
    return before.get(file.digest)


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
