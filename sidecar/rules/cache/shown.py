"""What people and slower stores get to see of what was asked for."""

from __future__ import annotations

from typing import Final

_LONGEST: Final = 512


def shown_url(origin: str, target: bytes) -> str:
    """Without query values, which may be secrets, and cut if it is very long."""
    return origin + shown_target(target, _LONGEST - len(origin))


def shown_target(target: bytes, longest: int = _LONGEST) -> str:
    """The same of a target alone. What is shown already is shown as it is."""
    path, mark, query = target.decode("utf-8", "replace").partition("?")
    shown = path + mark
    if query:
        shown += "&".join([_without_value(pair) for pair in query.split("&") if pair])
    return shown if len(shown) <= longest else shown[: max(0, longest - 1)] + "…"


def _without_value(pair: str) -> str:
    name, equals, _ = pair.partition("=")
    # What stands alone may be a value as well as a name.
    return f"{name}=…" if equals else "…"
