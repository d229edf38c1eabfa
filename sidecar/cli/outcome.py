"""What became of one call, for a reader or a script: the reply's head, each step's decision, and how to exit."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

import orjson

from sidecar.http1.answer import Answer
from sidecar.http1.message import Headers
from sidecar.policy.compile import step_names

if TYPE_CHECKING:
    from sidecar.daemon import Daemon

FAILED = 1
REFUSED = 22
"""What curl exits with when it was told that 400 and more is a failure."""
OWN_FIELDS = (b"sidecar", b"cache-status", b"proxy-status", b"age", b"retry-after")
"""By these the sidecar says what it did."""


class Answered:
    """One answer, first while its body comes, then complete."""

    def __init__(self, answer: Answer) -> None:
        self.status = answer.status
        self.phrase = answer.phrase
        self.fields = Headers((*answer.headers.fields, *answer.extra))
        self.body_bytes = 0
        self.failure = ""
        """Why there was no whole reply to pass on, in one line; empty when there was."""
        self.ends_within_a_line = False
        self._first = b""
        self._entry: dict[str, Any] = {}
        """The call as `/calls` would show it; empty if it was refused before any policy was asked."""
        self._steps: tuple[str, ...] = ()

    def head(self) -> bytes:
        """Status line and fields as the application would have got them."""
        lines = [b"HTTP/1.1 %d %b" % (self.status, self.phrase)]
        lines += [b"%b: %b" % field for field in self.fields.fields]
        return b"\r\n".join([*lines, b"", b""])

    def took(self, piece: bytes) -> None:
        """A piece of the body has come."""
        self._first = self._first or piece
        self.body_bytes += len(piece)
        self.ends_within_a_line = not piece.endswith(b"\n")

    def complete(self, daemon: Daemon) -> None:
        """The last of the body has come, and so the books are closed."""
        calls = daemon.telemetry.calls.as_json()
        if calls:
            self._entry = calls[0]
            self._steps = _steps(daemon, calls[0]["provider"], calls[0]["route"])
        if not self.failure and self._entry.get("status") is None:
            problem = orjson.loads(self._first)
            self.failure = f"{problem['reason']}: {problem['detail']}"

    @property
    def exit_code(self) -> int:
        if self.failure:
            return FAILED
        return REFUSED if self.status >= 400 else 0

    def text(self, *, ids: bool) -> str:
        """What happened, in the order in which it did."""
        entry = self._entry
        lines = []
        if entry:
            lines.append(f"{entry['provider']} · {entry['route']} · {entry['mode']}")
            lines += _columns([(f"+{row['at_s'] * 1e3:.1f} ms", row["step"], row["decision"]) for row in self._noted])
            lines.append(f"  {self._silent()}")
        lines.append(self._result())
        lines += self._own_fields()
        if ids:
            lines += [f"call {entry.get('id', '-')}", f"trace {entry.get('trace_id') or '-'}"]
        return "\n".join(lines)

    def json(self, body: bytes | None) -> str:
        """The same for a script; the body as text where it is UTF-8, and left out if it went elsewhere (None)."""
        entry = self._entry
        shown: dict[str, Any] = {
            "status": self.status,
            "phrase": _text(self.phrase),
            "headers": [[_text(name), _text(value)] for name, value in self.fields.fields],
            "body_bytes": self.body_bytes,
            **_body(body),
            "failure": self.failure or None,
            **{key: entry.get(key) for key in ENTRY_KEYS},
            "steps": self._steps,
            "decisions": self._noted,
        }
        return orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode()

    @property
    def _noted(self) -> list[dict[str, Any]]:
        noted: list[dict[str, Any]] = self._entry.get("decisions", [])
        return noted

    def _silent(self) -> str:
        if not self._steps:
            return "no policy has this host, so the call went as it came"
        noted = {row["step"] for row in self._noted}
        return f"let it pass: {', '.join(step for step in self._steps if step not in noted)}"

    def _result(self) -> str:
        entry, parts = self._entry, [f"{self.status} {_text(self.phrase)}"]
        if entry:
            attempts = entry["attempts"]
            parts.append(f"{entry['duration_s'] * 1e3:.1f} ms")
            parts.append(f"{attempts} attempt{'' if attempts == 1 else 's'}, {entry['outcome']}")
        parts.append(f"{self.body_bytes} bytes")
        return " · ".join(parts)

    def _own_fields(self) -> list[str]:
        return [f"{_text(name)}: {_text(value)}" for name, value in self.fields.fields if name.lower() in OWN_FIELDS]


ENTRY_KEYS = (
    "provider", "route", "mode", "outcome", "reason", "attempts", "duration_s", "waited_s", "id", "trace_id",
)  # fmt: skip
"""What of the call's entry stands in the JSON document under the same name."""


def _steps(daemon: Daemon, provider: str, route: str) -> tuple[str, ...]:
    """What is on for a route; nothing for a host without a policy."""
    loaded = daemon.policies.loaded
    policy = next((one for one in loaded.providers if one.provider == provider), None) if loaded else None
    if policy is None:
        return ()
    return step_names(policy, next((one for one in policy.routes if one.name == route), None))


def _body(body: bytes | None) -> dict[str, str]:
    if body is None:
        return {}
    try:
        return {"body": body.decode("utf-8")}
    except UnicodeDecodeError:
        return {"body_base64": b64encode(body).decode("ascii")}


def _columns(rows: list[tuple[str, str, str]]) -> list[str]:
    if not rows:
        return []
    when, step = (max(len(row[column]) for row in rows) for column in (0, 1))
    return [f"  {row[0]:>{when}}  {row[1]:<{step}}  {row[2]}" for row in rows]


def _text(value: bytes) -> str:
    return value.decode("latin-1")
